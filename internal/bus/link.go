package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// link is an ordinary connection to NATS, which nats.go keeps and makes again, unless it gives it up: nothing is published
// on it that must not be lost.
type link struct {
	what   string // for the log
	logger *slog.Logger
	nc     *nats.Conn
	dialer *dialer
	ended  chan struct{} // nats.go has
	ending atomic.Bool   // because we want it to
	onLost func(error)   // is told when we do not; may be nil
	// onSlow, if not nil, is told the subscription that lost messages.
	onSlow func(*nats.Subscription)
	// onReconnect, if not nil, is told when the connection is back.
	onReconnect func()

	// What nats.go knows too, and cannot be asked: it holds its lock while it connects again, for seconds when a
	// server does not answer.
	up         atomic.Bool
	reconnects atomic.Uint64

	slow   atomic.Uint64 // times messages were lost because they came too fast
	denied atomic.Uint64
}

// connect is called once, after the publisher has shown that there is a server.
func (l *link) connect(c Config, what string, more ...nats.Option) error {
	l.what, l.logger, l.onLost = what, c.Logger, c.OnLost
	l.dialer, l.ended = newDialer(context.Background(), dialTimeout), make(chan struct{})
	opts, err := c.options(l.dialer)
	if err != nil {
		return err
	}
	opts = append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(firstWait), nats.ReconnectJitter(firstWait, firstWait),
		nats.ReconnectBufSize(-1), // what waits for a server helps nobody
		nats.IgnoreAuthErrorAbort(),
		nats.ClosedHandler(l.closed),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { l.up.Store(false) }),
		nats.ReconnectHandler(func(*nats.Conn) { l.back() }),
		nats.ErrorHandler(l.asyncError))
	l.up.Store(true) // before it could be lost again
	if l.nc, err = nats.Connect(c.servers(), append(opts, more...)...); err != nil {
		return fmt.Errorf("nats: cannot connect to %s: %w", c.shown(), err)
	}
	return nil
}

// closed is told when nats.go has given the connection up for good: it does so when the server has ended it with an error that
// is none of those that it knows.
func (l *link) closed(nc *nats.Conn) {
	defer close(l.ended)
	if l.ending.Load() {
		return
	}
	err := fmt.Errorf("nats: connection for %s is lost for good: %w", l.what, nc.LastError())
	l.logger.Error(err.Error())
	if l.onLost != nil {
		l.onLost(err)
	}
}

func (l *link) back() {
	l.up.Store(true)
	l.reconnects.Add(1)
	if l.onReconnect != nil {
		l.onReconnect()
	}
}

func (l *link) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	var n uint64
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		n = l.slow.Add(1)
		if l.onSlow != nil && sub != nil {
			l.onSlow(sub)
		}
	case errors.Is(err, nats.ErrPermissionViolation):
		n = l.denied.Add(1)
	default:
		l.logger.Debug("nats: connection for "+l.what, "error", err)
		return
	}
	if n&(n-1) == 0 { // the 1st, 2nd, 4th, 8th …
		l.logger.Error("nats: connection for "+l.what, "error", err, "times", n)
	}
}

// close ends the connection within about a second, also when its server hangs.
func (l *link) close() {
	l.ending.Store(true)
	hung := time.AfterFunc(time.Second, l.dialer.cut)
	defer hung.Stop()
	l.nc.Close()
	<-l.ended
}

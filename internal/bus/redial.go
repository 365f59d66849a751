package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// The waits between attempts to connect: each twice the one before, give or take half.
const (
	firstWait = 50 * time.Millisecond
	lastWait  = time.Second
	// dialTimeout bounds one attempt: the TCP handshake, and then NATS's own.
	dialTimeout = 2 * time.Second
)

// maxStale is how often StaleAfter is doubled at most: on a link so slow that nothing is confirmed in
// StaleAfter, giving up as often as before would never end.
const maxStale = 8

// run keeps a session until all is confirmed after Close, or Close gives up.
func (p *Publisher) run(s *session) {
	defer close(p.done)
	for s != nil {
		p.connected.Store(true)
		confirmed, cuts := p.confirmedCount(), p.cuts.Load()
		err := s.runUntil(p.ctx)
		p.connected.Store(false)
		p.others = s.others()
		if p.finished() {
			return
		}
		p.config.Logger.Warn("nats: connection for events lost; connecting again", "error", err)
		progress := p.confirmedCount() != confirmed
		p.adaptStale(progress, p.cuts.Load() != cuts)
		s = p.redial()
	}
}

// runUntil is run, ended also by ctx.
func (s *session) runUntil(ctx context.Context) error {
	release := context.AfterFunc(ctx, func() {
		s.dialer.cut()
		s.finish()
	})
	defer release()
	return s.run()
}

func (p *Publisher) finished() bool {
	if p.ctx.Err() != nil {
		return true
	}
	o := p.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stopping && o.leftLocked() == 0
}

func (p *Publisher) confirmedCount() uint64 {
	p.outbox.mu.Lock()
	defer p.outbox.mu.Unlock()
	return p.outbox.counts.confirmed
}

func (p *Publisher) adaptStale(progress, cut bool) {
	switch {
	case progress:
		p.staleAfter = p.config.StaleAfter
	case cut:
		p.staleAfter = min(2*p.staleAfter, maxStale*p.config.StaleAfter)
	}
}

// redial connects again, for ever; nil when Close gave up.
func (p *Publisher) redial() *session {
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		if !sleep(p.ctx, wait/2+rand.N(wait)) {
			return nil
		}
		s, err := p.connect(p.ctx)
		if err == nil {
			p.config.Logger.Info("nats: connection for events is back", "server", s.nc.ConnectedUrlRedacted())
			return s
		}
		p.config.Logger.Debug("nats: still away", "error", err)
	}
}

// firstSession tries for as long as the start may wait. A refusal by the server's authentication is
// final at once.
func (p *Publisher) firstSession(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, p.config.ConnectTimeout)
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		s, err := p.connect(ctx)
		if err == nil {
			return s, nil
		}
		if errors.Is(err, net.ErrClosed) && ctx.Err() != nil {
			err = errors.New("the server accepts connections but does not answer")
		}
		if errors.Is(err, nats.ErrAuthorization) || !sleep(ctx, wait) {
			return nil, fmt.Errorf("nats: cannot connect to %s: %w", p.config.shown(), err)
		}
	}
}

// connect makes one attempt: with the servers of the list, and then with one of the others.
func (p *Publisher) connect(ctx context.Context) (*session, error) {
	s, err := p.connectTo(ctx, p.config.servers())
	if err == nil || len(p.others) == 0 {
		return s, err
	}
	other := p.others[0]
	p.others = append(p.others[1:], other) // the next attempt is with the next one
	if s, otherErr := p.connectTo(ctx, p.config.like(other), p.config.namedLike(other)); otherErr == nil {
		s.other = other
		return s, nil
	}
	return nil, err
}

// others are the servers that are not of the list, and that the cluster's server has named. They serve as well.
func (s *session) others() []string {
	urls := s.nc.DiscoveredServers()
	if s.other != "" {
		urls = append(urls, s.other)
	}
	return urls
}

func (p *Publisher) connectTo(ctx context.Context, servers string, more ...nats.Option) (*session, error) {
	s := &session{p: p, dialer: newDialer(ctx, dialTimeout), stop: make(chan struct{})}
	// nats.Connect waits without regard to ctx for a server that accepts and then says nothing.
	release := context.AfterFunc(ctx, s.dialer.cut)
	defer release()
	opts, err := p.config.options(s.dialer)
	if err != nil {
		return nil, err
	}
	opts = append(opts, nats.NoReconnect(),
		nats.FlusherTimeout(0), // the watchdog is for that, and knows what is confirmed
		nats.ClosedHandler(func(*nats.Conn) { s.finish() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { p.asyncError(err) }))
	if s.nc, err = nats.Connect(servers, append(opts, more...)...); err != nil {
		if dialErr := s.dialer.err(); dialErr != nil && errors.Is(err, nats.ErrNoServers) {
			err = dialErr
		}
		return nil, err
	}
	if !s.nc.HeadersSupported() {
		s.dialer.cut()
		s.nc.Close()
		return nil, errors.New("the server does not support message headers")
	}
	if _, err := s.nc.TLSConnectionState(); err != nil { // it has none
		s.direct = s.dialer.conn()
	}
	p.sessions.Add(1)
	if max := s.nc.MaxPayload(); p.maxPayload.Swap(max) != max && p.sessions.Load() > 1 {
		p.tellMaxPayload(max)
	}
	return s, nil
}

func (p *Publisher) asyncError(err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		if n := p.denied.Add(1); n&(n-1) == 0 { // the 1st, 2nd, 4th, 8th …: each event makes one
			p.config.Logger.Error("nats: the server does not let us publish events; they are lost", "error", err, "times", n)
		}
		return
	}
	p.config.Logger.Debug("nats: connection for events", "error", err)
}

func (p *Publisher) tellRoom(conns []*hub.Conn) {
	if len(conns) > 0 {
		p.notices.add(func() {
			for _, c := range conns {
				c.Room()
			}
		})
	}
}

func (p *Publisher) tellMaxPayload(max int64) {
	p.config.Logger.Warn("nats: the server's max_payload has changed", "bytes", max)
	if f := p.config.OnMaxPayload; f != nil {
		p.notices.add(func() { f(int(max)) })
	}
}

func (p *Publisher) tellUnsendable(en *entry, size int, err error) {
	max := p.MaxPayload()
	p.unsent.Add(1)
	p.config.Logger.Warn("nats: event cannot be published", "kind", en.kind.String(), "connection", en.conn.ID().String(),
		"bytes", size, "max_payload", max, "error", err)
	if f := p.config.OnUnsendable; f != nil {
		conn := en.conn
		p.notices.add(func() { f(conn, size, max) })
	}
}

// sleep waits, or answers false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

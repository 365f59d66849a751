// Package demo is what `broker --demo` shows: a page, and a backend that serves it.
//
// The backend is an example of its kind. It speaks only the public contracts: it hears of connections on
// NATS subjects and acts on them over gRPC. It keeps nothing that it could not ask for again: whom it
// knows is what List answered, kept fresh by the open and close events since. So it may be stopped,
// started, or run many times (each node of a cluster may have one), and no browser notices.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const (
	// eventBuffer is how many events may wait for the backend. When it is full NATS drops events for
	// us, and the backend asks for the list again.
	eventBuffer = 8192
	// maxCalls bounds the actions under way; a person never comes near.
	maxCalls = 64
	// pace is the shortest time between two lists, or two batches of events, to the pages.
	pace = 100 * time.Millisecond
	// retry is the wait after a list that failed.
	retry = time.Second
	// queue is the NATS queue group whose members share the work.
	queue = "holdfast-demo"
)

// Config says where the contracts are spoken.
type Config struct {
	NATSURL   string        // "nats://127.0.0.1:4222"
	NATS      []nats.Option // credentials and TLS, where the server asks for them
	Control   string        // gRPC, "127.0.0.1:7400"
	Namespace string        // empty: "default"
	Logger    *slog.Logger  // nil: no log
}

// Run is the demo backend, until ctx is done; then it returns nil. It returns an error only when the
// configuration makes no sense: servers that are not there yet, or for a while, are waited for.
func Run(ctx context.Context, cfg Config) error {
	conn, err := grpc.NewClient(cfg.Control, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("demo: control: %w", err)
	}
	defer conn.Close()
	b := newBackend(cfg, holdfastv1.NewConnectionServiceClient(conn))
	if b.bus, err = b.subscribe(cfg); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer b.bus.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer b.calls.Wait()
	defer cancel()
	b.loop(ctx)
	return nil
}

// subscribe takes all events of the namespace into one channel, twice: openings and endings as every
// backend of the demo must hear them, and everything once more as a member of the queue group, where
// each event has one member that acts on it. One connection and one channel keep their order.
func (b *backend) subscribe(cfg Config) (*nats.Conn, error) {
	bus, err := nats.Connect(cfg.NATSURL, append(slices.Clip(cfg.NATS),
		nats.Name("holdfast demo"),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(retry/4),
		nats.ConnectHandler(func(*nats.Conn) { b.refresh() }),
		nats.ReconnectHandler(func(*nats.Conn) { b.refresh() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.log.Debug("demo: bus lost", "error", err) }),
		nats.ErrorHandler(b.busError),
	)...)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	prefix := "holdfast." + b.namespace
	_, err = bus.ChanSubscribe(prefix+".open.*", b.inbox)
	if err == nil {
		_, err = bus.ChanSubscribe(prefix+".close.*", b.inbox)
	}
	if err == nil {
		_, err = bus.ChanQueueSubscribe(prefix+".>", queue, b.inbox)
	}
	if err != nil {
		bus.Close()
		return nil, fmt.Errorf("bus: subscribe: %w", err)
	}
	b.refresh()
	return bus, nil
}

// busError hears of events that were dropped because we were too slow.
func (b *backend) busError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) {
		b.refresh()
	}
	b.log.Debug("demo: bus", "error", err)
}

// refresh asks the loop to List again. It may be called from anywhere.
func (b *backend) refresh() {
	select {
	case b.stale <- struct{}{}:
	default:
	}
}

// loop takes events one after the other. What pages are told about others is collected for a moment,
// so that a crowd that arrives costs a few messages instead of one for each pair.
func (b *backend) loop(ctx context.Context) {
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case msg := <-b.inbox:
			b.take(ctx, msg)
		case <-b.stale:
			b.outdated = true
		case <-due:
			due = nil
			if !b.tell(ctx) {
				due = time.After(retry)
			}
		}
		if due == nil && (b.outdated || !b.feed.empty()) {
			due = time.After(pace)
		}
	}
}

// tell brings the pages up to date. It reports false when the broker did not answer.
func (b *backend) tell(ctx context.Context) bool {
	if b.outdated {
		list, err := b.list(ctx)
		if err != nil {
			b.log.Debug("demo: list", "error", err)
			return false
		}
		b.outdated = false
		b.everyone(ctx, list)
		if !b.started && len(b.known) > 0 {
			b.everyone(ctx, notice{"notice", "The demo backend has started. Your connection was open before."})
		}
		b.started = true
	}
	if !b.feed.empty() {
		b.everyone(ctx, b.feed.flush())
	}
	return true
}

package bus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus/life"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Publisher takes events and publishes them in order through one NATS connection of its own, which it
// makes again for ever. Every event is kept until the server has confirmed it, and published again, in
// order and before anything newer, when the connection was lost before: at least once to NATS.
//
// Its goroutines: run publishes; a confirmer and a watchdog live as long as one connection (session);
// notices calls the application back.
type Publisher struct {
	// static after newPublisher
	config   Config
	subjects Subjects
	outbox   *outbox
	notices  *notices
	record   atomic.Pointer[life.Record] // nil: opens and closes are not recorded
	ctx      context.Context             // ends when Close gives up
	giveUp   context.CancelFunc
	done     chan struct{} // closed when run has returned

	connected  atomic.Bool
	maxPayload atomic.Int64
	sessions   atomic.Uint64
	unsent     atomic.Uint64 // unsendable
	denied     atomic.Uint64 // refused by the server's permissions
	cuts       atomic.Uint64

	// owned by run
	staleAfter time.Duration // grows while giving connections up does not help
	others     []string      // servers that are not of the list

	buffers sync.Pool // of *[]byte, for the JSON of open and close
}

// PublisherStats are totals since the start, and the present.
type PublisherStats struct {
	Connected    bool
	OutboxBytes  int
	OutboxEvents int    // not confirmed
	Waiting      int    // connections that wait for room
	Published    uint64 // events, each once
	Republished  uint64 // again, after a reconnect
	Confirmed    uint64
	Refused      uint64 // times the outbox was full
	Dropped      uint64 // published after Close
	Reconnects   uint64
	Stale        uint64 // connections given up because nothing was confirmed
	Unsendable   uint64 // events that did not fit into max_payload
	Denied       uint64 // permission errors of the server
}

// newPublisher connects for the first time, so that a wrong configuration is seen at the start.
func newPublisher(ctx context.Context, c Config, s Subjects) (*Publisher, error) {
	p := &Publisher{
		config: c, subjects: s, outbox: newOutbox(c.OutboxSize), notices: newNotices(),
		done: make(chan struct{}), staleAfter: c.StaleAfter,
	}
	p.buffers.New = func() any { b := make([]byte, 0, 1024); return &b }
	p.ctx, p.giveUp = context.WithCancel(context.Background())
	first, err := p.firstSession(ctx)
	if err != nil {
		p.giveUp()
		p.notices.stop()
		return nil, err
	}
	go p.run(first)
	return p, nil
}

var writablePayload = []byte(`{"buffered_amount":0}`)

// Publish implements hub.Publisher.
func (p *Publisher) Publish(e hub.Event) bool {
	switch e.Kind {
	case hub.KindOpen, hub.KindClose:
		if r := p.record.Load(); r != nil {
			return p.recordFirst(r, e)
		}
		return p.publishJSON(&e)
	case hub.KindWritable:
		return p.outbox.put(&e, writablePayload)
	}
	payload := e.Payload
	if len(payload) > maxInline {
		payload = slices.Clone(payload) // here, because put holds a lock
	}
	return p.outbox.put(&e, payload)
}

func (p *Publisher) publishJSON(e *hub.Event) bool {
	buffer := p.buffers.Get().(*[]byte)
	if e.Kind == hub.KindOpen {
		*buffer = AppendConnection((*buffer)[:0], e.Info)
	} else {
		*buffer = AppendClosed((*buffer)[:0], e.Closed)
	}
	payload := *buffer
	if len(payload) > maxInline {
		payload = slices.Clone(payload)
	}
	taken := p.outbox.put(e, payload)
	p.buffers.Put(buffer)
	return taken
}

// MaxPayload is the server's limit for headers and payload of one message, in bytes.
func (p *Publisher) MaxPayload() int { return int(p.maxPayload.Load()) }

// Connected reports whether there is a connection to a server now.
func (p *Publisher) Connected() bool { return p.connected.Load() }

// Stats answers all counters.
func (p *Publisher) Stats() PublisherStats {
	st := PublisherStats{
		Connected:  p.connected.Load(),
		Reconnects: p.sessions.Load() - 1,
		Stale:      p.cuts.Load(),
		Unsendable: p.unsent.Load(),
		Denied:     p.denied.Load(),
	}
	o := p.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	st.OutboxBytes, st.OutboxEvents, st.Waiting = o.bytes, o.leftLocked(), len(o.waiting)
	st.Published, st.Republished, st.Confirmed = o.counts.published, o.counts.republished, o.counts.confirmed
	st.Refused, st.Dropped = o.counts.refused, o.counts.dropped
	return st
}

// Close takes nothing more, publishes what is left and waits until the server has confirmed it. When
// ctx ends before, the error says how many events could not be confirmed.
func (p *Publisher) Close(ctx context.Context) error {
	p.outbox.stop()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.giveUp()
		<-p.done
	}
	p.giveUp()
	p.notices.stop()
	if n := p.outbox.left(); n > 0 {
		return fmt.Errorf("nats: %d events not confirmed by the server", n)
	}
	return nil
}

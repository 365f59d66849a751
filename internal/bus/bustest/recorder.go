package bustest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// patience is how long a recorder, and whoever starts a server, waits for what a test expects.
const patience = 60 * time.Second

// Recorder keeps every message of a subscription.
type Recorder struct {
	t       testing.TB
	subject string

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every message
	keep    func(*nats.Msg)
	msgs    []*nats.Msg
}

// Record subscribes. When it returns the server knows.
func Record(t testing.TB, url, subject string, opts ...nats.Option) *Recorder {
	t.Helper()
	r := &Recorder{t: t, subject: subject, changed: make(chan struct{})}
	r.keep = func(m *nats.Msg) { r.msgs = append(r.msgs, m) }
	r.Connect(url, opts...)
	return r
}

// RecordFunc is Record with a function that gets each message, one after the other, instead of a list. Until
// waits for what it has made of them.
func RecordFunc(t testing.TB, url, subject string, keep func(*nats.Msg), opts ...nats.Option) *Recorder {
	t.Helper()
	r := &Recorder{t: t, subject: subject, changed: make(chan struct{}), keep: keep}
	r.Connect(url, opts...)
	return r
}

// Connect subscribes through one more connection, for a server that was started again.
func (r *Recorder) Connect(url string, opts ...nats.Option) {
	r.t.Helper()
	nc := Dial(r.t, url, append(opts, nats.NoReconnect())...)
	sub, err := nc.Subscribe(r.subject, func(m *nats.Msg) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.keep(m)
		close(r.changed)
		r.changed = make(chan struct{})
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		r.t.Fatal(err)
	}
	if err := nc.FlushTimeout(patience); err != nil {
		r.t.Fatal(err)
	}
}

// Messages answers what was recorded so far.
func (r *Recorder) Messages() []*nats.Msg {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.msgs)
}

// Wait answers the messages once there are at least n.
func (r *Recorder) Wait(n int) []*nats.Msg {
	r.t.Helper()
	if !r.Until(func() bool { return len(r.msgs) >= n }) {
		r.t.Fatalf("bustest: %d messages on %s, want %d", len(r.Messages()), r.subject, n)
	}
	return r.Messages()
}

// Until waits for a condition of the recorded messages; false when it does not come true. The condition
// runs between two messages.
func (r *Recorder) Until(condition func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		r.mu.Lock()
		met, changed := condition(), r.changed
		r.mu.Unlock()
		if met {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

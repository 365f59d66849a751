package wstest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Recorder is a ws.Handler that writes down what it is told. The zero value is not ready; see
// NewRecorder. Functions that are set before Start are called first; those that answer false refuse
// the event, which is then not written down.
type Recorder struct {
	Message  func(op wire.Opcode, payload []byte) bool
	Ping     func(payload []byte) bool
	Pong     func(payload []byte) bool
	Writable func()
	Close    func(ws.End)

	t       testing.TB
	mu      sync.Mutex
	events  []string
	end     *ws.End
	changed chan struct{} // closed and replaced with each event
}

// NewRecorder makes a recorder that fails t when what it waits for does not come.
func NewRecorder(t testing.TB) *Recorder { return &Recorder{t: t, changed: make(chan struct{})} }

func (r *Recorder) record(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil {
		r.t.Errorf("%s after OnClose", event)
	}
	r.events = append(r.events, event)
	close(r.changed)
	r.changed = make(chan struct{})
}

// OnMessage records "text PAYLOAD" or "binary PAYLOAD".
func (r *Recorder) OnMessage(op wire.Opcode, payload []byte) bool {
	if r.Message != nil && !r.Message(op, payload) {
		return false
	}
	r.record(op.String() + " " + string(payload))
	return true
}

// OnPing records "ping PAYLOAD".
func (r *Recorder) OnPing(payload []byte) bool {
	if r.Ping != nil && !r.Ping(payload) {
		return false
	}
	r.record("ping " + string(payload))
	return true
}

// OnPong records "pong PAYLOAD".
func (r *Recorder) OnPong(payload []byte) bool {
	if r.Pong != nil && !r.Pong(payload) {
		return false
	}
	r.record("pong " + string(payload))
	return true
}

// OnWritable records "writable".
func (r *Recorder) OnWritable() {
	if r.Writable != nil {
		r.Writable()
	}
	r.record("writable")
}

// OnClose records "close".
func (r *Recorder) OnClose(e ws.End) {
	if r.Close != nil {
		r.Close(e)
	}
	r.record("close")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end = &e
	close(r.changed)
	r.changed = make(chan struct{})
}

// Events answers what was recorded so far.
func (r *Recorder) Events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.events...)
}

// Wait waits until that many events are recorded, and answers them.
func (r *Recorder) Wait(n int) []string {
	r.t.Helper()
	r.await(fmt.Sprintf("%d events", n), func() bool { return len(r.events) >= n })
	return r.Events()
}

// WaitFor waits until that event is recorded.
func (r *Recorder) WaitFor(event string) {
	r.t.Helper()
	r.await(event, func() bool {
		return slices.Contains(r.events, event)
	})
}

// End waits for OnClose and answers what it was told.
func (r *Recorder) End() ws.End {
	r.t.Helper()
	r.await("OnClose", func() bool { return r.end != nil })
	return *r.end
}

// Ended reports whether OnClose was called.
func (r *Recorder) Ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end != nil
}

func (r *Recorder) await(what string, ready func() bool) {
	r.t.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	for {
		r.mu.Lock()
		ok, changed := ready(), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			r.t.Fatalf("%s did not come; recorded: %s", what, clip([]byte(strings.Join(r.Events(), ", "))))
		}
	}
}

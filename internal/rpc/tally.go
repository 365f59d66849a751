package rpc

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// tally counts the sends of a batch until each has its confirmation or has failed, and keeps the
// failures. No goroutine waits for a send: the callbacks of the core count down.
type tally struct {
	finished func() // called once, on any goroutine; must not block
	// late is called instead when that is a callback of the core, which a slow bus must not hold up. Nil:
	// finished is.
	late func()

	left    atomic.Int64 // sends without an outcome, and one while the batch is being sent
	failing atomic.Int64 // length of failures, to be read without the lock

	mu       sync.Mutex
	failures []failure // in the order in which they happened
}

// failure is why one send of a batch failed, here or at another node.
type failure struct {
	index int
	class class
	text  string
}

// maxTexts bounds the part of an answer that is for people: a batch can hold 200,000 sends, and a stock
// client accepts no answer of more than 4 MiB.
const maxTexts = 1000

// textOf is the text of the n-th failure of an answer.
func (f *failure) textOf(n int) string {
	if n < maxTexts {
		return f.text
	}
	return ""
}

// begin keeps the tally open until end.
func (t *tally) begin() { t.left.Store(1) }

// end says that all sends have been tried.
func (t *tally) end() {
	if t.left.Add(-1) == 0 {
		t.finished()
	}
}

// settle counts one outcome.
func (t *tally) settle() {
	switch {
	case t.left.Add(-1) > 0:
	case t.late != nil:
		t.late()
	default:
		t.finished()
	}
}

// expect answers what to give to the core with the send at that index. If the core takes the send it
// will call it; if not, the caller must withdraw.
func (t *tally) expect(index int) hub.Done {
	t.left.Add(1)
	return func(o hub.Outcome) {
		if o.Err != nil {
			t.fail(index, o.Err)
		}
		t.settle()
	}
}

// withdraw takes an expect back.
func (t *tally) withdraw() { t.left.Add(-1) }

func (t *tally) fail(index int, err error) {
	cl, text := told(err)
	t.add(failure{index, cl, text})
}

func (t *tally) add(f failure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures = append(t.failures, f)
	t.failing.Add(1)
}

// since answers the failures after the first n.
func (t *tally) since(n int) []failure {
	if t.failing.Load() == int64(n) {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.failures[n:])
}

// byIndex answers all failures, once the tally has finished.
func (t *tally) byIndex() []failure {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.failures, func(a, b failure) int { return cmp.Compare(a.index, b.index) })
	return t.failures
}

// give sends one message as part of the tally.
func (t *tally) give(index int, c *hub.Conn, m *hub.Message, requestID string) (hub.Sent, error) {
	if m.Confirmation == hub.Queued {
		return c.Send(m, requestID, nil)
	}
	sent, err := c.Send(m, requestID, t.expect(index))
	if err != nil {
		t.withdraw() // the tally is still open, so this cannot be the last
	}
	return sent, err
}

package bus

import (
	"sync"

	"github.com/nats-io/nats.go"
)

// Bounds of the group messages that wait for the worker.
const (
	maxGroupMessages = 1 << 16
	maxGroupBytes    = 64 << 20
)

// groupQueue is what waits for the worker. A channel alone would bound messages, not bytes.
type groupQueue struct {
	mu      sync.Mutex
	some    sync.Cond // the queue is not empty, or stopped
	waiting []*nats.Msg
	bytes   int
	stopped bool
}

// put reports whether there was room.
func (q *groupQueue) put(m *nats.Msg) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxGroupMessages || q.bytes+len(m.Data) > maxGroupBytes {
		return false
	}
	q.waiting = append(q.waiting, m)
	q.bytes += len(m.Data)
	q.some.Signal()
	return true
}

// take waits for messages and answers all that wait, in a list that replaces used; false after end.
func (q *groupQueue) take(used []*nats.Msg) ([]*nats.Msg, bool) {
	clear(used)
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.stopped {
		q.some.Wait()
	}
	taken := q.waiting
	q.waiting = used[:0]
	return taken, !q.stopped
}

// done gives the room of a message back.
func (q *groupQueue) done(m *nats.Msg) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= len(m.Data)
}

func (q *groupQueue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.some.Signal()
}

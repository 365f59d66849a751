package rpc

import (
	"context"
	"sync"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Bounds of what other nodes may ask of this one.
const (
	maxGuests       = 4096 // calls under way
	maxGuestWatches = 4096 // of them nobody knows the end
	maxQueued       = 1024 // calls of one node, or of one stream, that wait for their turn
)

var errBusy = &hub.Error{Reason: hub.RateLimited, Text: "too many calls of other nodes are under way on the node"}

// guests are the calls of other nodes that are being served, so that they are bounded and somebody waits
// for them.
type guests struct {
	calls, watches chan struct{}
	running        sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

func newGuests() *guests {
	return &guests{calls: make(chan struct{}, maxGuests), watches: make(chan struct{}, maxGuestWatches)}
}

// enter admits one call of a kind; leave must follow. It fails with errBusy or hub.ErrStopping.
func (g *guests) enter(kind chan struct{}) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return hub.ErrStopping
	}
	select {
	case kind <- struct{}{}:
		g.running.Add(1)
		return nil
	default:
		return errBusy
	}
}

func (g *guests) leave(kind chan struct{}) {
	<-kind
	g.running.Done()
}

// beside does work on a goroutine of its own, or at once when there is no room for it.
func (g *guests) beside(work func()) {
	if g.enter(g.calls) != nil {
		work()
		return
	}
	g.run(func() {
		defer g.leave(g.calls)
		work()
	})
}

// run runs part of a call that has entered and not left.
func (g *guests) run(part func()) { g.running.Go(part) }

// close admits nobody any more and waits for those that are there. A call whose answer another node does
// not take ends only with the bus, so ctx bounds the wait.
func (g *guests) close(ctx context.Context) {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		g.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
	}
}

// lane names a queue of work that must be done in order: what a node asks for in order (stream 0), or
// one of its streams.
type lane struct {
	node   hub.NodeID
	stream uint64
}

// lanes run work in order, each lane on a goroutine that exists only while there is some. Bounded, so
// that a node that asks for too much is refused and not remembered.
type lanes struct {
	mu     sync.Mutex
	queues map[lane][]func() // has a lane while it runs
}

// push queues work behind what the lane has, or answers false when that is too much already. The caller
// has entered, so that whoever waits for guests waits for the lane, too.
func (l *lanes) push(key lane, g *guests, work func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue, runs := l.queues[key]
	if len(queue) >= maxQueued {
		return false
	}
	l.queues[key] = append(queue, work)
	if !runs {
		g.run(func() { l.run(key) })
	}
	return true
}

func (l *lanes) run(key lane) {
	for {
		l.mu.Lock()
		queue := l.queues[key]
		if len(queue) == 0 {
			delete(l.queues, key)
			l.mu.Unlock()
			return
		}
		l.queues[key] = nil
		l.mu.Unlock()
		for _, work := range queue {
			work()
		}
	}
}

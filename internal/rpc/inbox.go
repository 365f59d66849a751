package rpc

import (
	"sync"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// watchPart is what another node collected, or why it collects no more.
type watchPart struct {
	node   hub.NodeID
	events []byte
	err    error
}

// inbox holds what other nodes collected for a watch and its client has not read: as much as the watch on
// one node holds.
type inbox struct {
	ready chan struct{} // has an element while there is something to take

	mu     sync.Mutex
	parts  []watchPart
	bytes  int // of parts, and of the one that was taken last: it is still being sent
	taken  int
	lagged bool
}

// put does not block: the bus reads the answers to all calls with one goroutine.
func (b *inbox) put(p watchPart) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lagged {
		return
	}
	if b.bytes > 0 && b.bytes+len(p.events) > hub.WatchBuffer { // a single part always has room
		b.lagged = true
		p = watchPart{err: hub.ErrWatchLagged}
	}
	b.parts = append(b.parts, p)
	b.bytes += len(p.events)
	signal(b.ready)
}

// take answers the oldest part.
func (b *inbox) take() (p watchPart, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= b.taken
	b.taken = 0
	if len(b.parts) == 0 {
		return p, false
	}
	p, b.parts[0] = b.parts[0], watchPart{}
	b.parts = b.parts[1:]
	b.taken = len(p.events)
	if len(b.parts) > 0 {
		signal(b.ready)
	}
	return p, true
}

// signal puts an element into a channel that has room for one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

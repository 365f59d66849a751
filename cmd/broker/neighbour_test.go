package main_test

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// soon is what a neighbour's round trip must stay below while the broker is under attack.
const soon = 100 * time.Millisecond

// neighbour is a client who minds his own business while others attack: he asks, waits for the answer, and does so
// again, all the while.
type neighbour struct {
	t    testing.TB
	name string
	peer *wstest.Peer
	ask  func(text string) wstest.Frame
	want wire.Opcode // of the answer, whose payload is the question's

	once    sync.Once // for stop
	stop    chan struct{}
	stopped chan struct{}
	mu      sync.Mutex
	trips   []time.Duration
	err     error
	more    chan struct{} // closed and replaced with each round trip, and when there are no more
}

// moveIn connects a neighbour, who stays until the test ends or leaves.
func moveIn(t testing.TB, b *brokertest.Broker, name string, ask func(string) wstest.Frame, want wire.Opcode) *neighbour {
	t.Helper()
	n := &neighbour{
		t: t, name: name, peer: wstest.Dial(t, b.URL("/neighbour"), nil), ask: ask, want: want,
		stop: make(chan struct{}), stopped: make(chan struct{}), more: make(chan struct{}),
	}
	go n.live()
	t.Cleanup(n.leave)
	return n
}

// live asks a hundred times a second at most: a neighbour is no attacker.
func (n *neighbour) live() {
	defer close(n.stopped)
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		begin := time.Now()
		err := n.trip(strconv.Itoa(i))
		n.note(time.Since(begin), err)
		if err != nil {
			return
		}
		select {
		case <-n.stop:
			return
		case <-pace.C:
		}
	}
}

func (n *neighbour) trip(text string) error {
	if err := n.peer.TrySend(n.ask(text)); err != nil {
		return err
	}
	for {
		f, err := n.peer.TryReceive()
		if err != nil || f.Opcode == n.want && string(f.Payload) == text {
			return err
		}
		if f.Opcode == wire.Ping {
			if err := n.peer.TrySend(wstest.Pong(string(f.Payload))); err != nil {
				return err
			}
		}
	}
}

func (n *neighbour) note(trip time.Duration, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err = err; err == nil {
		n.trips = append(n.trips, trip)
	}
	close(n.more)
	n.more = make(chan struct{})
}

// await waits for so many round trips from now on.
func (n *neighbour) await(count int) {
	n.t.Helper()
	for begun := -1; ; {
		n.mu.Lock()
		made, err, more := len(n.trips), n.err, n.more
		n.mu.Unlock()
		if begun < 0 {
			begun = made
		}
		if err != nil {
			n.t.Fatalf("the neighbour's %s fails after %d round trips: %v", n.name, made, err)
		}
		if made-begun >= count {
			return
		}
		<-more // or an error, at the latest when the peer's patience ends
	}
}

func (n *neighbour) leave() {
	n.once.Do(func() { close(n.stop) })
	_ = n.peer.Close() // a round trip that is under way does not count
	<-n.stopped
}

// report tells how long the neighbour's round trips took, and answers their median.
func (n *neighbour) report() (median time.Duration) {
	n.t.Helper()
	n.await(1) // at least
	n.leave()
	trips := slices.Sorted(slices.Values(n.trips))
	median, longest := trips[len(trips)/2], trips[len(trips)-1]
	n.t.Logf("%d round trips by %s: median %v, 99%% %v, longest %v", len(trips), n.name, median, trips[len(trips)*99/100], longest)
	return median
}

// inTime fails the test unless the neighbour was served in time. The median counts: a process that shares its
// processors with the attackers is now and then not run for longer than that, which says nothing of the broker, while
// a broker that lets the attackers pass first is slow at every trip. The slowest is told all the same.
func (n *neighbour) inTime() {
	n.t.Helper()
	if median := n.report(); median >= soon {
		n.t.Errorf("half of the neighbour's round trips by %s took %v and more, want less than %v", n.name, median, soon)
	}
}

// forget forgets the round trips so far: from here on they are made under attack.
func (n *neighbour) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.trips = nil
}

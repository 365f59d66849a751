// Package hub is the core of the broker: connection IDs, the registry, groups, the life of a connection,
// its events and the commands on it. It knows neither sockets nor NATS nor gRPC: it asks a Socket to
// act and a Publisher to tell.
//
// A connection's life: Hub.Expect gives it an ID, Pending.Open registers it and publishes its open event; its socket
// then calls Message, Ping, Pong and Writable as they happen and Closed once, last. Every event of a
// connection goes through its own lock to the Publisher, so events leave in the order of their
// sequence numbers.
package hub

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
)

// Hub holds the connections of one node.
type Hub struct {
	// static after New
	node      NodeID
	publisher Publisher
	watches   watches
	registry  registry
	groups    index
	users     index
	interest  Interest // nil: nobody is told; static before the first connection

	// openMu is held shared while a connection is registered, so that Shutdown misses none.
	openMu   sync.RWMutex
	stopping bool
	live     sync.WaitGroup // connections whose close event is not yet published

	opened       atomic.Uint64
	waitingCalls atomic.Int64 // for connections that are being admitted
	waitingBytes atomic.Int64 // of messages among them
	frozen       atomic.Bool

	endedMu  sync.Mutex
	ended    map[string]Traffic // of connections that have ended, by namespace
	reported map[string]Traffic // the last totals that Stats answered
	causes   [causeEnd]uint64
	faults   map[string]uint64
}

// New makes the hub of one node. The publisher must be ready to take events.
func New(node NodeID, p Publisher) *Hub {
	return &Hub{
		node: node, publisher: p, faults: make(map[string]uint64),
		ended: make(map[string]Traffic), reported: make(map[string]Traffic),
		groups: index{seed: maphash.MakeSeed()}, users: index{seed: maphash.MakeSeed()},
	}
}

// Node is the ID that all connection IDs of this hub begin with.
func (h *Hub) Node() NodeID { return h.node }

// Open makes a connection of a socket of which nothing is known but facts: see Pending.Open.
func (h *Hub) Open(ep *Endpoint, facts *Facts, s Socket) (*Conn, error) {
	return h.Expect(ep).Open(facts, nil, s)
}

func (h *Hub) register(c *Conn) error {
	h.openMu.RLock()
	defer h.openMu.RUnlock()
	if h.stopping {
		return ErrStopping
	}
	h.live.Add(1)
	h.opened.Add(1)
	h.registry.add(c)
	return nil
}

// Lookup finds a connection by the text form of its ID. It fails with InvalidConnectionID, ErrGone or
// ErrNotFound, or with a Pending.
func (h *Hub) Lookup(s string) (*Conn, error) {
	id, err := ParseID(s)
	if err != nil {
		return nil, err
	}
	if id.node != h.node {
		return nil, ErrGone
	}
	if h.frozen.Load() {
		return nil, ErrBusAway
	}
	switch c, pending := h.registry.find(id.key); {
	case c != nil:
		return c, nil
	case pending != nil:
		return nil, pending
	}
	return nil, ErrNotFound
}

// SetFrozen says that the bus cannot be relied on: until that ends Lookup fails with ErrBusAway, because
// another node may be speaking for the connections of this one. Sockets stay as they are.
func (h *Hub) SetFrozen(frozen bool) { h.frozen.Store(frozen) }

// Frozen reports what SetFrozen said last.
func (h *Hub) Frozen() bool { return h.frozen.Load() }

// EachOpen visits every connection whose open event was given to the Publisher and whose close event was
// not. No event of the connection happens during a visit, which must not call the hub.
func (h *Hub) EachOpen(visit func(c *Conn, user string)) {
	h.registry.each(func(c *Conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.seq > 0 && !c.ended {
			visit(c, c.extrasLocked().user)
		}
	})
}

// Len is the number of connections.
func (h *Hub) Len() int { return h.registry.len() }

// Stats are totals since the start, and the present.
type Stats struct {
	Connections uint64 // open now
	Paused      uint64 // of those, kept from being read by a backend
	Buffered    uint64 // bytes in send queues now
	Opened      uint64
	Causes      map[Cause]uint64
	Faults      map[string]uint64
	Traffic     Traffic
	Watches     uint64
	Lagged      uint64 // watches ended because they did not read
	Groups      uint64 // that have members
	Memberships uint64 // of connections in groups
	Waiting     uint64 // calls for connections that are being admitted
	// Namespaces are those that have had a connection.
	Namespaces map[string]*NamespaceStats
}

// NamespaceStats are the part of one namespace.
type NamespaceStats struct {
	Connections uint64
	Traffic     Traffic
}

// Stats visits every connection: meant for a scrape, not for a hot path. Nothing on a message's way
// is counted in a place that connections share.
func (h *Hub) Stats() Stats {
	st := Stats{
		Opened: h.opened.Load(), Causes: make(map[Cause]uint64), Faults: make(map[string]uint64),
		Namespaces: make(map[string]*NamespaceStats),
	}
	h.endedMu.Lock()
	for namespace, ended := range h.ended {
		st.Namespaces[namespace] = &NamespaceStats{Traffic: ended}
	}
	for c, n := range h.causes {
		if c > 0 {
			st.Causes[Cause(c)] = n
		}
	}
	maps.Copy(st.Faults, h.faults)
	h.endedMu.Unlock()
	h.registry.each(func(c *Conn) {
		state, traffic := c.stats()
		st.Connections++
		st.Buffered += state.Buffered
		if state.Paused {
			st.Paused++
		}
		n := st.namespace(c.endpoint.Namespace)
		n.Connections++
		n.Traffic.add(traffic)
	})
	st.Groups, st.Memberships = h.groups.stats()
	st.Watches, st.Lagged = h.watches.stats()
	st.Waiting = uint64(h.waitingCalls.Load())
	for namespace, n := range st.Namespaces {
		n.Traffic = h.report(namespace, n.Traffic)
		st.Traffic.add(n.Traffic)
	}
	return st
}

func (st *Stats) namespace(name string) *NamespaceStats {
	n := st.Namespaces[name]
	if n == nil {
		n = new(NamespaceStats)
		st.Namespaces[name] = n
	}
	return n
}

// report keeps totals from going back: a connection that ends while Stats looks can be missed once.
func (h *Hub) report(namespace string, t Traffic) Traffic {
	h.endedMu.Lock()
	defer h.endedMu.Unlock()
	r := h.reported[namespace]
	r.MessagesIn, r.BytesIn = max(r.MessagesIn, t.MessagesIn), max(r.BytesIn, t.BytesIn)
	r.MessagesOut, r.BytesOut = max(r.MessagesOut, t.MessagesOut), max(r.BytesOut, t.BytesOut)
	h.reported[namespace] = r
	return r
}

func (t *Traffic) add(o Traffic) {
	t.MessagesIn += o.MessagesIn
	t.BytesIn += o.BytesIn
	t.MessagesOut += o.MessagesOut
	t.BytesOut += o.BytesOut
}

// forget removes an ended connection and keeps its totals.
func (h *Hub) forget(c *Conn, closed *Closed) {
	h.registry.remove(c)
	h.endedMu.Lock()
	ended := h.ended[closed.Namespace]
	ended.add(closed.Traffic)
	h.ended[closed.Namespace] = ended
	h.causes[closed.End.Cause]++
	if f := closed.End.Fault; f != "" {
		h.faults[f]++
	}
	h.endedMu.Unlock()
}

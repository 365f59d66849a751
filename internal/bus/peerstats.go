package bus

import "github.com/holdfast-broker/holdfast/internal/hub"

// PeersStats are totals since the start, and the present.
type PeersStats struct {
	Connected   bool
	Nodes       int // others in the table
	SilentNodes int
	Pending     int // calls begun here that have not ended
	Serving     int // calls of others that have not ended

	Begun    uint64 // calls to one node
	BegunAll uint64 // calls to all
	Served   uint64 // calls of others
	// Failed are nodes that did not answer a call of ours, by reason; Ended those that were not waited for
	// until the end, because the caller's context had ended.
	Failed map[hub.Reason]uint64
	Ended  uint64

	ChunksOut, ChunksIn uint64 // messages between nodes, and those of them that belong to a request or an answer
	Unsent              uint64 // messages that could not be published
	Refused             uint64 // requests and nodes that there was no room for, or that came in part
	Full                uint64 // calls not begun because too many were pending
	Lost                uint64 // answers that came in part
	Late                uint64 // answers, or pieces, that nobody waited for
	Garbage             uint64 // messages that are none
	Removed             uint64 // nodes unheard for too long
	SlowConsumer        uint64 // times nats.go had to drop messages because they came too fast
	Denied              uint64 // permission errors of the server
	Reconnects          uint64
}

// Stats answers all counters.
func (p *Peers) Stats() PeersStats {
	n := &p.counts
	st := PeersStats{
		Connected: p.up.Load(), Nodes: len(p.table.others()), SilentNodes: int(p.table.silent.Load()),
		Pending: p.calls.size(),
		Begun:   n.begun.Load(), BegunAll: n.begunAll.Load(), Served: n.served.Load(),
		Failed: map[hub.Reason]uint64{
			hub.NodeUnreachable: n.unreachable.Load(), hub.BusUnavailable: n.away.Load(), hub.ConnectionGone: n.gone.Load(),
		},
		Ended:     n.ended.Load(),
		ChunksOut: n.chunksOut.Load(), ChunksIn: n.chunksIn.Load(), Unsent: n.unsent.Load(), Refused: n.refused.Load(),
		Full: n.full.Load(), Lost: n.lost.Load(), Late: n.late.Load(), Garbage: n.garbage.Load(), Removed: n.removed.Load(),
		SlowConsumer: p.slow.Load(), Denied: p.denied.Load(), Reconnects: p.reconnects.Load(),
	}
	for _, c := range p.callers.all() {
		c.mu.Lock()
		st.Serving += len(c.serving)
		c.mu.Unlock()
	}
	return st
}

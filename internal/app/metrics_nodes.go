package app

import (
	"maps"

	"github.com/holdfast-broker/holdfast/internal/bus"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

var nodeMetrics = []metric{
	gauge("groups", "Groups with members on this node.",
		one(func(s *snapshot) uint64 { return s.hub.Groups })),
	gauge("group_memberships", "Their members, a connection once for each of its groups.",
		one(func(s *snapshot) uint64 { return s.hub.Memberships })),
	counter("group_messages_total", "Messages on NATS subjects of groups that were given to the members.",
		one(func(s *snapshot) uint64 { return s.bus.Groups.Delivered })),
	counter("group_messages_refused_total", "Messages on NATS subjects of groups that were not, by reason.",
		each(func(s *snapshot) map[string]uint64 { return refusedGroupMessages(&s.bus.Groups) }, plain), "reason"),
	gauge("nodes", "Nodes that this one knows, itself included.",
		one(func(s *snapshot) int { return s.bus.Peers.Nodes + 1 })),
	gauge("nodes_silent", "Of those, not heard of for a while.",
		one(func(s *snapshot) int { return s.bus.Peers.SilentNodes })),
	counter("node_calls_total", "Calls passed on to other nodes.",
		one(func(s *snapshot) uint64 { return s.bus.Peers.Begun + s.bus.Peers.BegunAll })),
	counter("node_calls_failed_total", "Calls that another node did not answer, by reason.",
		each(func(s *snapshot) map[hub.Reason]uint64 { return s.bus.Peers.Failed }, hub.Reason.String), "reason"),
	counter("node_calls_served_total", "Calls of other nodes.",
		one(func(s *snapshot) uint64 { return s.bus.Peers.Served })),
}

func refusedGroupMessages(g *bus.GroupStats) map[string]uint64 {
	all := make(map[string]uint64, len(g.Refused)+1)
	for r, n := range maps.All(g.Refused) {
		all[r.String()] = n
	}
	all["overflow"] = g.Overflow + g.SlowConsumer
	return all
}

var lifeMetrics = []metric{
	gauge("life_enabled", "1 when opens and closes are recorded.",
		one(func(s *snapshot) int { return oneIf(s.bus.Life.Enabled) })),
	gauge("life_frozen", "1 while the life record cannot be written.",
		one(func(s *snapshot) int { return oneIf(s.bus.Life.Record.Frozen) })),
	gauge("life_lease_seconds", "What is left of the lease.",
		func(s *snapshot, emit func(float64, ...string)) { emit(max(s.bus.Life.Record.Left, 0).Seconds()) }),
	gauge("life_waiting", "Opens and closes that are not recorded yet.",
		one(func(s *snapshot) int { return s.bus.Life.Record.Waiting })),
	gauge("life_bytes", "Size of this node's record, about.",
		one(func(s *snapshot) uint64 { return s.bus.Life.Record.Bytes })),
	counter("life_appends_total", "Messages written to the record.",
		one(func(s *snapshot) uint64 { return s.bus.Life.Record.Appends })),
	counter("life_retries_total", "Attempts to write it without a clear answer.",
		one(func(s *snapshot) uint64 { return s.bus.Life.Record.Retries })),
	counter("life_freezes_total", "Times that the lease ran out.",
		one(func(s *snapshot) uint64 { return s.bus.Life.Record.Freezes })),
	counter("life_claims_total", "Dead nodes whose closes this one published.",
		one(func(s *snapshot) uint64 { return s.bus.Life.Watcher.Claims })),
	counter("life_lost_total", "Closes with cause NODE_LOST published for them.",
		one(func(s *snapshot) uint64 { return s.bus.Life.Watcher.Lost })),
	counter("life_repeated_total", "Closes that a dead node had recorded, published in its place.",
		one(func(s *snapshot) uint64 { return s.bus.Life.Watcher.Recorded })),
}

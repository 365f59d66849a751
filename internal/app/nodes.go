package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// errClaimed: other nodes held this one dead, and have published the closes of its connections.
var errClaimed = errors.New("claimed by another node")

// groups gives what is published to the subject of a group to its members here.
type groups struct{ *hub.Hub }

// Publish implements bus.Groups.
func (g groups) Publish(namespace, group string, m *hub.Message, except []string) {
	others := make(map[hub.ID]struct{}, len(except))
	for _, e := range except {
		if id, err := hub.ParseID(e); err == nil {
			others[id] = struct{}{}
		}
	}
	g.Broadcast(hub.Target{Namespace: namespace, Group: group}, m, others)
}

// joinNodes makes this node part of the broker: from then on every other node reaches it, before it accepts its
// first client.
func (b *broker) joinNodes(ctx context.Context) error {
	peers := b.bus.Peers()
	peers.Serve(func(ctx context.Context, from hub.NodeID, request []byte, a *bus.Answer) {
		b.control.ServeCall(ctx, from, request, a)
	})
	peers.OnJoin(b.control.NodeJoined)
	peers.OnChange(func(n hub.Node, what bus.NodeChange) {
		if what == bus.NodeLeft {
			b.control.NodeLeft(n.ID)
		}
	})
	// Nobody can have found a server that has just started, unless it belongs to a cluster.
	alone := b.nats != nil && b.cfg.Cluster.Name == ""
	return peers.Join(ctx, b.self, alone)
}

// self describes this node to the others.
func (b *broker) self() hub.Node {
	n := hub.Node{
		ID: b.hub.Node(), Version: BuildVersion().Version, State: hub.NodeReady, StartTime: b.startTime,
		Connections: uint64(b.hub.Len()),
		Control:     shownAddress(b.controlListener.Addr()), Ops: "http://" + shownAddress(b.opsListener.Addr()),
	}
	for i, l := range b.clientListeners {
		n.Listen = append(n.Listen, clientURL(l, b.cfg.Listen[i]))
	}
	if b.data != nil {
		n.ServerName = b.data.serverName
	}
	n.Life = b.lifeFacts()
	switch {
	case b.hub.Frozen():
		n.State = hub.NodeFrozen
	case b.stopping.Load():
		n.State = hub.NodeDraining
	}
	return n
}

func (b *broker) lifeFacts() *hub.Life {
	st := b.bus.LifeStats()
	if !st.Enabled {
		return nil
	}
	return &hub.Life{
		LeaseLeft: max(st.Record.Left, 0), Waiting: uint64(st.Record.Waiting), Freezes: st.Record.Freezes,
		Claims: st.Watcher.Claims, Lost: st.Watcher.Lost, Repeated: st.Watcher.Recorded,
	}
}

// startLife begins to record opens and closes, once the closes of earlier processes in this data directory are
// published.
func (b *broker) startLife(ctx context.Context) error {
	c := bus.LifeConfig{
		Node: b.hub.Node(), Lease: time.Duration(b.cfg.Lease.Duration), Renew: b.cfg.Lease.renew(),
		EachOpen: b.hub.EachOpen, Frozen: b.freeze, Claimed: func() { close(b.claimed) },
		Healthy: b.healthy, Gone: b.bus.Peers().Bury,
	}
	if b.data != nil {
		c.Instance = b.data.serverName
	}
	err := b.bus.OpenLife(ctx, c)
	if errors.Is(err, bus.ErrNoJetStream) {
		b.logger.Warn("the NATS server has no JetStream: when a broker dies, its connections get no close event")
		return nil
	}
	return err
}

// recently is the time within which a node that lives is heard of.
const recently = 3 * bus.DefaultAnnounce / 2

// healthy: a node that spoke just now, and said that it is not frozen, writes its record.
func (b *broker) healthy(id hub.NodeID) bool {
	n, ok := b.bus.Peers().Node(id)
	return ok && (n.State == hub.NodeReady || n.State == hub.NodeDraining) && time.Since(n.SeenTime) < recently
}

// dropper ends the connections of a node that is frozen for too long.
type dropper struct {
	mu    sync.Mutex
	timer *time.Timer // nil while it is not
}

func (d *dropper) begin(after time.Duration, drop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = time.AfterFunc(after, drop)
}

func (d *dropper) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer = nil
}

// freeze is told when this node may not act, because others may hold it dead, and when it may again.
func (b *broker) freeze(frozen bool) {
	b.hub.SetFrozen(frozen)
	b.bus.Peers().Announce()
	if !frozen {
		b.dropper.end()
		b.logger.Info("the life record can be written again: going on with all connections")
		return
	}
	b.logger.Error("frozen: the life record could not be written for a lease; no client is read and no command taken until it can be")
	b.dropper.begin(time.Duration(b.cfg.Lease.DropAfter), b.drop)
}

// drop lets the clients of a node that stays frozen go elsewhere, if there is an elsewhere.
func (b *broker) drop() {
	if !b.hub.Frozen() || len(b.bus.Peers().Nodes()) < 2 && b.cfg.Cluster.Name == "" {
		return
	}
	b.logger.Error("frozen for too long: ending all connections, so that clients go to another node",
		"after", b.cfg.Lease.DropAfter.String(), "connections", b.hub.Len())
	b.hub.TerminateAll(hub.CauseNodeLost)
}

// drainAsked begins the stop that DrainNode asks for.
func (b *broker) drainAsked() {
	b.logger.Info("drain asked for by a call")
	b.askToStop()
}

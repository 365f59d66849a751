// Package bus is the NATS side of the broker: the embedded server, the publisher of events with its
// outbox, the replies that backends send to connections, what nodes know of and ask each other, and the
// life record in JetStream. It turns a hub.Event into subject, headers and payload, and a reply into a
// hub.Message; it sees no socket.
//
// Up to four connections go to NATS. Events leave through one that is made only for them, so that they keep
// their order, and that never reconnects by itself: after a loss the unconfirmed events are published
// again before anything newer (Publisher). What backends send to connections and groups comes through a
// second, ordinary one, what nodes say to each other flows through a third (Peers), and the life record,
// where there is JetStream, has one of its own: a flood on another must not cost a node its lease.
//
// What "confirmed" means: the server has processed the event, that is, handed it to its subscribers'
// buffers, its routes and its streams. It does not mean that a subscriber has read it or a stream
// stored it; a gap in Holdfast-Seq shows a subscriber what it missed.
package bus

import (
	"context"
	"sync/atomic"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Bus holds the connections of one node to NATS.
type Bus struct {
	config    Config
	publisher *Publisher
	inbound   *inbound
	peers     *Peers
	life      atomic.Pointer[keeper] // nil: opens and closes are not recorded
}

// Stats of all connections.
type Stats struct {
	Publisher  PublisherStats
	Inbound    InboundStats
	Groups     GroupStats
	Handshakes HandshakeStats
	Peers      PeersStats
	Life       LifeStats
}

// Connect connects to NATS. It fails with one line when no server can be reached before
// Config.ConnectTimeout or the end of ctx; later losses are survived, however long they last.
func Connect(ctx context.Context, c Config) (*Bus, error) {
	c, subjects, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	b := &Bus{config: c}
	if b.publisher, err = newPublisher(ctx, c, subjects); err != nil {
		return nil, err
	}
	if b.inbound, err = newInbound(c, subjects); err != nil {
		_ = b.publisher.Close(ctx) // nothing is in it
		return nil, err
	}
	if b.peers, err = newPeers(c); err != nil {
		b.inbound.close()
		_ = b.publisher.Close(ctx)
		return nil, err
	}
	return b, nil
}

// Publisher is where the hub's events go.
func (b *Bus) Publisher() *Publisher { return b.publisher }

// Peers are the other nodes.
func (b *Bus) Peers() *Peers { return b.peers }

// Interest is whom the hub tells that a group may have got its first member or lost its last.
func (b *Bus) Interest() hub.Interest { return b.inbound.groups }

// ServeReplies gives replies to the node's connections to r, from now until Close. It is called once.
func (b *Bus) ServeReplies(node hub.NodeID, r Replies) error { return b.inbound.serve(node, r) }

// ServeHandshakes takes answers to handshakes of the node's clients, from now until Close. It is called at most once,
// before AskHandshake.
func (b *Bus) ServeHandshakes(node hub.NodeID) error { return b.inbound.handshakes.serve(node) }

// ServeGroups gives messages of groups that have members here to g, from now until Close. It is called once.
func (b *Bus) ServeGroups(g Groups) { b.inbound.groups.serve(g) }

// Connected reports whether all connections to NATS are there.
func (b *Bus) Connected() bool {
	return b.publisher.Connected() && b.inbound.up.Load() && b.peers.up.Load()
}

// Stats answers all counters.
func (b *Bus) Stats() Stats {
	return Stats{
		b.publisher.Stats(), b.inbound.stats(), b.inbound.groups.stats(), b.inbound.handshakes.stats(), b.peers.Stats(), b.LifeStats(),
	}
}

// Close takes no replies, group messages and calls any more, publishes the events that are left and
// disconnects; see Publisher.Close. Nothing may be published after it.
func (b *Bus) Close(ctx context.Context) error {
	b.inbound.close()
	b.inbound.groups.close()
	b.peers.close()
	return b.publisher.Close(ctx)
}

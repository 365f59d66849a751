// Package bus is the NATS side of the broker: the embedded server, the publisher of events with its
// outbox, and the replies that backends send to connections. It turns a hub.Event into subject, headers
// and payload, and a reply into a hub.Message; it sees no socket.
//
// Two connections go to NATS. Events leave through one that is made only for them, so that they keep
// their order, and that never reconnects by itself: after a loss the unconfirmed events are published
// again before anything newer (Publisher). All else flows through a second, ordinary one.
//
// What "confirmed" means: the server has processed the event, that is, handed it to its subscribers'
// buffers, its routes and its streams. It does not mean that a subscriber has read it or a stream
// stored it; a gap in Holdfast-Seq shows a subscriber what it missed.
package bus

import (
	"context"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Bus holds the connections of one node to NATS.
type Bus struct {
	publisher *Publisher
	inbound   *inbound
}

// Stats of both connections.
type Stats struct {
	Publisher PublisherStats
	Inbound   InboundStats
}

// Connect connects to NATS. It fails with one line when no server can be reached before
// Config.ConnectTimeout or the end of ctx; later losses are survived, however long they last.
func Connect(ctx context.Context, c Config) (*Bus, error) {
	c, subjects, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	p, err := newPublisher(ctx, c, subjects)
	if err != nil {
		return nil, err
	}
	in, err := newInbound(c, subjects)
	if err != nil {
		_ = p.Close(ctx) // nothing is in it
		return nil, err
	}
	return &Bus{publisher: p, inbound: in}, nil
}

// Publisher is where the hub's events go.
func (b *Bus) Publisher() *Publisher { return b.publisher }

// ServeReplies gives replies to the node's connections to r, from now until Close. It is called once.
func (b *Bus) ServeReplies(node hub.NodeID, r Replies) error { return b.inbound.serve(node, r) }

// Connected reports whether both connections to NATS are there.
func (b *Bus) Connected() bool { return b.publisher.Connected() && b.inbound.nc.IsConnected() }

// Stats answers all counters.
func (b *Bus) Stats() Stats { return Stats{b.publisher.Stats(), b.inbound.stats()} }

// Close takes no replies any more, publishes the events that are left and disconnects; see
// Publisher.Close. Nothing may be published after it.
func (b *Bus) Close(ctx context.Context) error {
	b.inbound.close()
	return b.publisher.Close(ctx)
}

package rpc

import (
	"context"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Peers is what rpc asks of the bus to reach the other nodes.
//
// Requests and parts of answers belong to whom they are given to: nobody changes them any more. on and
// done may be called before the method has returned, and must not block.
type Peers interface {
	// Nodes is the table of nodes, by ID, this one included.
	Nodes() []hub.Node
	// Node is one of them.
	Node(id hub.NodeID) (hub.Node, bool)
	// Begin starts a call to another node. Calls that one goroutine begins to one node reach its ServeCall
	// in that order. on is called for each part of the answer, one at a time, last with more false; an
	// error (then part is nil, and it is the last) is hub.ErrUnreachable, hub.ErrBusAway, hub.ErrGone when
	// the table does not have the node, or what ended ctx.
	Begin(ctx context.Context, node hub.NodeID, request []byte, on func(part []byte, more bool, err error))
	// BeginAll is Begin to all other nodes of the table with one message. on is called for each node, one
	// at a time, and done once at the end, at once if there is nobody else. Nodes that are silent are not
	// waited for when the others have answered: they are unreachable.
	BeginAll(ctx context.Context, request []byte, on func(node hub.NodeID, part []byte, more bool, err error), done func())
}

// Answer is where the answer to a call of another node goes.
type Answer interface {
	// Send gives a part that is not the last. It blocks while the caller has no room and fails when the
	// context of the call has ended.
	Send(part []byte) error
	// End gives the last part. It is called once and does not block.
	End(part []byte)
}

// How long other nodes may take where a partial answer is better than a late one.
const (
	nodeLimit   = 2 * time.Second
	silentLimit = 200 * time.Millisecond // of a node that has not been heard of: it will hardly answer
)

// limitFor is how long that node may take.
func limitFor(n *hub.Node) time.Duration {
	if n.State == hub.NodeSilent {
		return silentLimit
	}
	return nodeLimit
}

// maxMargin is the part of a call's time that is kept for its answer to travel in.
const maxMargin = 100 * time.Millisecond

// within ends a context after that time, and in any case early enough for an answer before its deadline.
func within(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		most = min(most, left-min(left/10, maxMargin))
	}
	return context.WithTimeout(ctx, most)
}

// alone are the peers of a broker of one node: there is nobody else, so a connection of another node was
// made by a process that is no more.
type alone struct{ hub *hub.Hub }

func (a alone) Nodes() []hub.Node {
	return []hub.Node{{ID: a.hub.Node(), State: hub.NodeReady, Connections: uint64(a.hub.Len()), SeenTime: time.Now()}}
}

func (a alone) Node(id hub.NodeID) (hub.Node, bool) { return a.Nodes()[0], id == a.hub.Node() }

func (alone) Begin(_ context.Context, _ hub.NodeID, _ []byte, on func([]byte, bool, error)) {
	on(nil, false, hub.ErrGone)
}

func (alone) BeginAll(_ context.Context, _ []byte, _ func(hub.NodeID, []byte, bool, error), done func()) {
	done()
}

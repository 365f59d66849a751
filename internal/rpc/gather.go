package rpc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// walkLimit bounds a page whose nodes do not answer; it then ends early, with a token to go on.
const walkLimit = 2 * nodeLimit

// walk asks one node after the other for its share of a page, in the order of their IDs.
type walk struct {
	service *service
	after   *hub.ID    // nil: from the first
	only    hub.NodeID // empty: all
	full    func() bool
	// ask adds the share of a node to the page and reports whether it has more.
	ask func(ctx context.Context, node hub.NodeID) (more bool, err error)
}

// walkEnd is where a page ends. There are more connections behind the last of the page when more is set,
// and perhaps behind a whole node.
type walkEnd struct {
	more        bool
	behind      hub.NodeID
	unreachable []string
}

func (w *walk) run(ctx context.Context) (end walkEnd, err error) {
	limited, cancel := within(ctx, walkLimit)
	defer cancel()
	for _, n := range w.service.peers.Nodes() {
		if w.isBehind(n.ID) || w.only != "" && n.ID != w.only {
			continue
		}
		if end.behind != "" { // there is another node, and no time
			return end, nil
		}
		if w.full() {
			end.more = true
			return end, nil
		}
		more, err := w.askOne(limited, &n)
		switch {
		case ctx.Err() != nil:
			return end, ctx.Err()
		case err == nil && more:
			end.more = true
			return end, nil
		case err != nil && !hasLeft(err):
			end.unreachable = append(end.unreachable, string(n.ID))
		}
		if isOver(limited) {
			end.behind = n.ID
		}
	}
	end.behind = "" // that was the last node
	return end, nil
}

// isOver reports whether the time is up, also when that and the end of the last question fall together and
// the context has not been told yet.
func isOver(limited context.Context) bool {
	deadline, _ := limited.Deadline()
	return limited.Err() != nil || !time.Now().Before(deadline)
}

// isBehind reports whether the pages before have had everything of that node.
func (w *walk) isBehind(node hub.NodeID) bool {
	if w.after == nil {
		return false
	}
	return node < w.after.Node() || node == w.after.Node() && w.after.String() == endOf(node)
}

func (w *walk) askOne(ctx context.Context, n *hub.Node) (bool, error) {
	if n.ID == w.service.hub.Node() {
		return w.ask(ctx, n.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, limitFor(n))
	defer cancel()
	return w.ask(ctx, n.ID)
}

// hasLeft reports whether a node is no longer in the table, or stops, which its server does after its last
// connection: then nothing of it is missing.
func hasLeft(err error) bool {
	if errors.Is(err, hub.ErrGone) {
		return true
	}
	cl, _ := told(err)
	return cl.reason == holdfastv1.ErrorReason_NODE_STOPPING
}

// gathering is one request to all other nodes.
type gathering struct {
	service  *service
	ctx      context.Context // of the call
	limited  context.Context // ends in time for an answer
	cancel   context.CancelFunc
	finished chan struct{}

	mu          sync.Mutex
	waiting     map[hub.NodeID]struct{} // nodes that have not answered
	unreachable []string
	over        bool
}

// question is what all other nodes are asked, and how long they may take.
type question struct {
	method string
	req    proto.Message
	most   time.Duration
}

// gather has all other nodes serve a method. add is called for each that did, one at a time; wait must
// follow.
func gather[R any, Resp message[R]](ctx context.Context, s *service, q question, add func(Resp)) (*gathering, error) {
	request, err := (&envelope{kind: callMethod, method: q.method, caller: callerBytes(ctx)}).encode(q.req)
	if err != nil {
		return nil, err
	}
	g := &gathering{service: s, ctx: ctx, finished: make(chan struct{}), waiting: make(map[hub.NodeID]struct{})}
	g.limited, g.cancel = within(ctx, q.most)
	for _, n := range s.peers.Nodes() {
		if n.ID != s.hub.Node() {
			g.waiting[n.ID] = struct{}{}
		}
	}
	on := func(node hub.NodeID, part []byte, more bool, err error) {
		if more && err == nil {
			return
		}
		resp := Resp(new(R))
		if err == nil {
			err = readAnswer(part, resp)
		}
		g.answered(node, err, func() { add(resp) })
	}
	s.peers.BeginAll(g.limited, request, on, func() { close(g.finished) })
	return g, nil
}

func (g *gathering) answered(node hub.NodeID, err error, add func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over { // too late: the node was told as unreachable
		return
	}
	delete(g.waiting, node)
	switch {
	case err == nil:
		add()
	case !hasLeft(err):
		g.unreachable = append(g.unreachable, string(node))
	}
}

// wait answers which nodes did not. add is not called any more. It fails when the call was cancelled.
func (g *gathering) wait() ([]string, error) {
	defer g.cancel()
	select {
	case <-g.finished:
	case <-g.limited.Done():
	case <-g.service.stop:
		select {
		case <-g.finished:
		case <-g.limited.Done():
		case <-time.After(stopGrace):
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
	if err := g.ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-g.finished: // a node that has left meanwhile was not asked
	default:
		for node := range g.waiting {
			g.unreachable = append(g.unreachable, string(node))
		}
	}
	slices.Sort(g.unreachable)
	return slices.Compact(g.unreachable), nil
}

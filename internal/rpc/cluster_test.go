package rpc

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// memWindow is how many parts of an answer a caller of the tests has room for.
const memWindow = 4

// cluster joins servers in memory, as the bus does.
type cluster struct {
	t testing.TB

	// config changes what a node is started with; nil: nothing
	config func(*Config)

	delivering sync.WaitGroup

	mu      sync.Mutex
	members map[hub.NodeID]*member
}

// member is one node of a cluster.
type member struct {
	*broker

	groups holdfastv1.GroupServiceClient
	nodes  holdfastv1.NodeServiceClient
	drains int

	// guarded by cluster.mu
	info  hub.Node
	fails error         // calls to it fail at once
	hangs bool          // calls to it reach nobody
	lost  chan struct{} // closed when calls under way fail with fails
	seen  []envelope    // calls that have arrived
	drop  func(envelope) bool
}

func newCluster(t testing.TB, n int) (*cluster, []*member) {
	t.Helper()
	return newClusterWith(t, n, nil)
}

func newClusterWith(t testing.TB, n int, config func(*Config)) (*cluster, []*member) {
	t.Helper()
	c := &cluster{t: t, config: config, members: make(map[hub.NodeID]*member)}
	t.Cleanup(c.delivering.Wait)
	var all []*member
	for i := range n {
		all = append(all, c.add(strings.Repeat(string(rune('b'+i)), nodeLen)))
	}
	return c, all
}

// add starts a node, which is in the table at once.
func (c *cluster) add(id string) *member {
	c.t.Helper()
	m := &member{lost: make(chan struct{})}
	node := hub.NodeID(id)
	m.info = hub.Node{
		ID: node, ServerName: "server-" + id[:1], Version: "1", State: hub.NodeReady, Listen: []string{"ws://" + id},
		Control: "control", Ops: "ops", StartTime: time.Unix(1, 0), Connections: 7, SeenTime: time.Unix(2, 0),
	}
	config := Config{Peers: &memPeers{c, node}, Drain: func() { m.drains++ }}
	if c.config != nil {
		c.config(&config)
	}
	m.broker = startNode(c.t, node, config)
	m.groups, m.nodes = holdfastv1.NewGroupServiceClient(m.conn), holdfastv1.NewNodeServiceClient(m.conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members[node] = m
	return m
}

func (m *member) id() hub.NodeID { return m.hub.Node() }

// change changes what the cluster knows of a node.
func (c *cluster) change(m *member, f func(*member)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(m)
}

// lose fails the calls to a node, also those under way.
func (c *cluster) lose(m *member, err error) {
	c.change(m, func(m *member) {
		m.fails = err
		close(m.lost)
	})
}

// silence makes a node hang and the table say so.
func (c *cluster) silence(m *member) {
	c.change(m, func(m *member) { m.hangs, m.info.State = true, hub.NodeSilent })
}

// wake is the end of a silence.
func (c *cluster) wake(m *member) {
	c.change(m, func(m *member) { m.hangs, m.info.State = false, hub.NodeReady })
}

// remove takes a node out of the table.
func (c *cluster) remove(m *member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.members, m.id())
	m.fails = hub.ErrGone
	close(m.lost)
}

func (c *cluster) arrived(m *member) []envelope {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(m.seen)
}

// memPeers are the peers of one node of a cluster.
type memPeers struct {
	c    *cluster
	self hub.NodeID
}

func (p *memPeers) Nodes() []hub.Node {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	var nodes []hub.Node
	for _, m := range p.c.members {
		nodes = append(nodes, m.info)
	}
	slices.SortFunc(nodes, func(a, b hub.Node) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return nodes
}

func (p *memPeers) Node(id hub.NodeID) (hub.Node, bool) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if m, ok := p.c.members[id]; ok {
		return m.info, true
	}
	return hub.Node{}, false
}

// reach notes the call and answers whom it reaches: nobody when it is swallowed.
func (p *memPeers) reach(node hub.NodeID, request []byte) (to *member, swallowed bool, err error) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	m, ok := p.c.members[node]
	if !ok {
		return nil, false, hub.ErrGone
	}
	e, err := decodeEnvelope(request)
	if err != nil {
		p.c.t.Errorf("%s was sent %q: %v", node, request, err)
	}
	swallowed = m.hangs || m.drop != nil && m.drop(e)
	if !swallowed && m.fails == nil {
		m.seen = append(m.seen, e)
	}
	return m, swallowed, m.fails
}

func (p *memPeers) Begin(ctx context.Context, node hub.NodeID, request []byte, on func([]byte, bool, error)) {
	m, swallowed, err := p.reach(node, request)
	if err != nil {
		on(nil, false, err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &memAnswer{ctx: ctx, parts: make(chan []byte, memWindow), last: make(chan []byte, 1)}
	p.c.delivering.Go(func() {
		defer cancel()
		a.deliver(p.c, m, on)
	})
	if !swallowed {
		m.server.ServeCall(farContext{ctx}, p.self, request, a)
	}
}

func (p *memPeers) BeginAll(ctx context.Context, request []byte, on func(hub.NodeID, []byte, bool, error), done func()) {
	var one sync.Mutex
	var all sync.WaitGroup
	for _, n := range p.Nodes() {
		if n.ID == p.self {
			continue
		}
		all.Add(1)
		asked := ctx
		if n.State == hub.NodeSilent {
			var cancel context.CancelFunc
			asked, cancel = context.WithTimeout(ctx, silentLimit)
			context.AfterFunc(asked, cancel)
		}
		p.Begin(asked, n.ID, request, func(part []byte, more bool, err error) {
			one.Lock()
			defer one.Unlock()
			on(n.ID, part, more, err)
			if !more || err != nil {
				all.Done()
			}
		})
	}
	p.c.delivering.Go(func() {
		all.Wait()
		done()
	})
}

// farContext is what of a caller's context reaches another node: its end, and nothing that it holds.
type farContext struct{ context.Context }

func (farContext) Value(any) any { return nil }

// memAnswer is the answer to one call.
type memAnswer struct {
	ctx   context.Context
	parts chan []byte
	last  chan []byte
}

func (a *memAnswer) Send(part []byte) error {
	select {
	case a.parts <- part:
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

func (a *memAnswer) End(part []byte) { a.last <- part }

func (a *memAnswer) deliver(c *cluster, m *member, on func([]byte, bool, error)) {
	for {
		select {
		case part := <-a.parts:
			on(part, true, nil)
		case last := <-a.last:
			for len(a.parts) > 0 {
				on(<-a.parts, true, nil)
			}
			on(last, false, nil)
			return
		case <-m.lost:
			c.mu.Lock()
			err := m.fails
			c.mu.Unlock()
			on(nil, false, err)
			return
		case <-a.ctx.Done():
			on(nil, false, a.ctx.Err())
			return
		}
	}
}

// sink is an answer that nobody reads.
type sink struct{ ended chan []byte }

func newSink() *sink { return &sink{make(chan []byte, 1)} }

func (s *sink) Send([]byte) error { return nil }
func (s *sink) End(part []byte)   { s.ended <- part }

// streamOf is a SendStream at a member.
func streamOf(t testing.TB, m *member) *sender {
	t.Helper()
	return m.sendStream(t, t.Context())
}

// streams is how many streams of other nodes a node knows.
func streams(m *member) int {
	m.server.streams.mu.Lock()
	defer m.server.streams.mu.Unlock()
	return len(m.server.streams.streams)
}

// waitFor waits for what another goroutine is about to do.
func waitFor(t testing.TB, condition func() bool) {
	t.Helper()
	for range 1_000_000 {
		if condition() {
			return
		}
		runtime.Gosched()
	}
	t.Fatal("does not happen")
}

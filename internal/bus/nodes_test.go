package bus

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// When Join has returned, also at another server of a cluster, everybody knows the node and reaches it.
func TestJoinMakesKnown(t *testing.T) {
	servers := bustest.StartCluster(t, 3)
	settled := func(c *Config) { c.Peers.Settle, c.Peers.Greet = 1500*time.Millisecond, 10*time.Second }
	var nodes []*peer
	for round := range 2 {
		for _, s := range servers {
			p := newPeer(t, s.URL, echo, settled)
			joined := make(chan hub.NodeID, 10)
			for _, other := range nodes {
				other.onJoin = func(_ context.Context, n hub.Node) { joined <- n.ID }
			}
			p.join(t)
			if len(joined) != len(nodes) {
				t.Errorf("round %d: %d of %d nodes have made the new one known", round, len(joined), len(nodes))
			}
			nodes = append(nodes, p)
			for _, other := range nodes {
				if got, want := ids(other.Nodes()), sortedIDs(nodes...); got != want {
					t.Fatalf("round %d: nodes %s, want %s", round, got, want)
				}
				for node, a := range other.askAll(t.Context(), []byte("x")) {
					a.wantPart(t, "call to "+string(node), []byte("x"))
				}
			}
		}
	}
	p, other := nodes[0], nodes[1]
	got, ok := p.Node(other.id)
	seen := got.SeenTime
	got.SeenTime = time.Time{}
	if diff := cmp.Diff(other.info, got); !ok || diff != "" || time.Since(seen) > time.Minute {
		t.Errorf("seen %v (-want +got):\n%s", seen, diff)
	}
	if _, ok := p.Node(hub.NewNodeID()); ok {
		t.Error("a node that never was")
	}
}

// Join waits until the others have done what they do for a new node, but not for ever.
func TestJoinWaitsForOnJoin(t *testing.T) {
	url := bustest.Server(t)
	first := newPeer(t, url, echo)
	called, release := make(chan struct{}, 1), make(chan struct{})
	first.OnJoin(func(ctx context.Context, _ hub.Node) {
		called <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
	})
	first.join(t)
	second := newPeer(t, url, echo)
	joined := make(chan error, 1)
	go func() { joined <- second.Join(t.Context(), func() hub.Node { return second.info }, false) }()
	<-called
	eventually(t, "twice the time to settle", func() bool {
		return len(second.Nodes()) == 2 && second.now.Load() > 2*second.inTicks(second.config.Settle)
	})
	select {
	case err := <-joined:
		t.Errorf("joined before, %v", err)
	default:
	}
	close(release)
	if err := <-joined; err != nil {
		t.Error(err)
	}

	hung := newPeer(t, url, echo, func(c *Config) { c.Peers.Greet = 100 * time.Millisecond })
	release = make(chan struct{})
	hung.join(t) // first hangs now, and is left after a while
	close(release)
}

func TestAloneJoinsAtOnce(t *testing.T) {
	p := newPeer(t, bustest.Server(t), echo, func(c *Config) { c.Peers.Settle = time.Hour })
	if err := p.Join(t.Context(), func() hub.Node { return p.info }, true); err != nil {
		t.Fatal(err)
	}
	if got := ids(p.Nodes()); got != string(p.id) {
		t.Errorf("nodes %s", got)
	}
}

func TestJoinEndsWithItsContext(t *testing.T) {
	p := newPeer(t, bustest.Server(t), echo, func(c *Config) { c.Peers.Settle = time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Join(ctx, func() hub.Node { return p.info }, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A node that is unheard becomes silent, is heard again, is removed, and is back.
func TestSilentRemovedAndBack(t *testing.T) {
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	a, b := newPeer(t, url, echo, soonSilent), startPeer(t, proxy.URL, echo)
	greeted := make(chan hub.NodeID, 10)
	a.OnJoin(func(_ context.Context, n hub.Node) { greeted <- n.ID })
	a.join(t)
	if id := <-greeted; id != b.id {
		t.Errorf("greeted %s", id)
	}
	proxy.Swallow()
	if n := a.until(t, b.id, NodeFellSilent); n.State != hub.NodeSilent || n.SeenTime.IsZero() {
		t.Errorf("%+v", n)
	}
	eventually(t, "it is silent, and counted", func() bool {
		n, _ := a.Node(b.id)
		return n.State == hub.NodeSilent && a.Stats().SilentNodes == 1
	})
	proxy.Cut()
	if n := a.until(t, b.id, NodeHeardAgain); n.State != hub.NodeReady {
		t.Errorf("%+v", n)
	}
	eventually(t, "nobody is silent", func() bool { return a.Stats().SilentNodes == 0 })
	proxy.Refuse()
	a.until(t, b.id, NodeLeft)
	if got := a.ask(t.Context(), b.id, nil); !errors.Is(got.err, hub.ErrGone) {
		t.Errorf("removed: %v", got.err)
	}
	if st := a.Stats(); st.Removed != 1 || st.Nodes != 0 || st.SilentNodes != 0 {
		t.Errorf("%+v", st)
	}
	proxy.Admit()
	a.until(t, b.id, NodeJoined)
	if id := <-greeted; id != b.id {
		t.Errorf("greeted %s", id)
	}
	a.ask(t.Context(), b.id, []byte("x")).wantPart(t, "back", []byte("x"))
}

// Who hears nothing because its own connection is lost, or hangs, removes nobody.
func TestOwnLossRemovesNobody(t *testing.T) {
	t.Parallel() // it waits most of the time
	for name, lose := range map[string]func(*bustest.Proxy){"cut": (*bustest.Proxy).Refuse, "hung": (*bustest.Proxy).Hold} {
		t.Run(name, func(t *testing.T) {
			url := bustest.Server(t)
			proxy := bustest.NewProxy(t, url)
			a, b := startPeer(t, proxy.URL, echo, soonSilent), startPeer(t, url, echo)
			lose(proxy)
			a.until(t, b.id, NodeFellSilent)
			until := a.now.Load() + 2*a.inTicks(a.config.RemoveAfter)
			eventually(t, "twice the time", func() bool { return a.now.Load() > until })
			if _, ok := a.Node(b.id); !ok {
				t.Error("removed")
			}
			proxy.Cut()
			proxy.Admit()
			a.until(t, b.id, NodeHeardAgain)
		})
	}
}

// A goodbye removes a node at once; calls that it still gets are served.
func TestGoodbyeRemovesAtOnce(t *testing.T) {
	url := bustest.Server(t)
	a, b := startPeer(t, url, echo), startPeer(t, url, echo)
	b.Leave(t.Context())
	a.until(t, b.id, NodeLeft)
	if got := a.ask(t.Context(), b.id, nil); !errors.Is(got.err, hub.ErrGone) {
		t.Errorf("%v", got.err)
	}
	b.ask(t.Context(), a.id, []byte("x")).wantPart(t, "own call", []byte("x"))
	b.Leave(t.Context()) // twice does no harm
}

// What runs under an embedded server's name for the second time has replaced the first, whose directory
// was locked; a message of the first that is late does not bring it back.
func TestSameServerNameReplaces(t *testing.T) {
	url := bustest.Server(t)
	named := func() *peer {
		p := newPeer(t, url, echo)
		p.info.ServerName = "stable"
		return p
	}
	a, old, next := startPeer(t, url, echo), named(), named()
	old.join(t)
	a.until(t, old.id, NodeJoined)
	next.info.StartTime = old.info.StartTime.Add(time.Second)
	next.join(t)
	a.until(t, old.id, NodeLeft)
	a.until(t, next.id, NodeJoined)
	refused := a.Stats().Refused
	eventually(t, "the old one's announcement", func() bool { return a.Stats().Refused > refused })
	if got := ids(a.Nodes()); got != sortedIDs(a, next) {
		t.Errorf("nodes %s", got)
	}
}

// What a node has said of itself comes on several subjects; what is older may come later, and changes nothing. A node that
// does not count is believed.
func TestOlderDescriptionChangesNothing(t *testing.T) {
	a, b := startPeer(t, bustest.Server(t), echo), hub.NewNodeID()
	for _, said := range []struct {
		number uint64
		state  hub.NodeState
		want   hub.NodeState
	}{
		{2, hub.NodeReady, hub.NodeReady},
		{4, hub.NodeDraining, hub.NodeDraining},
		{3, hub.NodeReady, hub.NodeDraining},
		{0, hub.NodeReady, hub.NodeReady},
	} {
		body, err := proto.Marshal(nodeMessage(&hub.Node{ID: b, State: said.state}))
		if err != nil {
			t.Fatal(err)
		}
		a.hear(&envelope{kind: kindAnnounce, from: []byte(b), value: said.number, body: body})
		if n, _ := a.Node(b); n.State != said.want {
			t.Errorf("after number %d the node is %v, want %v", said.number, n.State, said.want)
		}
	}
}

// A change of state is told at once.
func TestAnnounceTellsTheState(t *testing.T) {
	url := bustest.Server(t)
	rare := func(c *Config) {
		c.Peers.Announce, c.Peers.SilentAfter, c.Peers.RemoveAfter = time.Hour, time.Hour, time.Hour
	}
	a, b := startPeer(t, url, echo, rare), newPeer(t, url, echo, rare)
	state := make(chan hub.NodeState, 1)
	state <- hub.NodeReady
	if err := b.Join(t.Context(), func() hub.Node {
		n := b.info
		n.State = <-state
		state <- n.State
		return n
	}, false); err != nil {
		t.Fatal(err)
	}
	<-state
	state <- hub.NodeDraining
	b.Announce()
	eventually(t, "draining", func() bool {
		n, _ := a.Node(b.id)
		return n.State == hub.NodeDraining
	})
}

// After a loss of its connection a node is heard as soon as it is back, not a second later.
func TestAnnouncesAfterReconnect(t *testing.T) {
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	rare := func(c *Config) {
		soonSilentOnly(c)
		c.Peers.Announce = time.Hour
	}
	a, b := startPeer(t, url, echo, rare), startPeer(t, proxy.URL, echo, rare)
	a.until(t, b.id, NodeFellSilent)
	proxy.Cut()
	a.until(t, b.id, NodeHeardAgain)
}

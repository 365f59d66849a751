package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// testPeers are the times of nodes in tests: only what makes them find each other quickly is not the default.
var testPeers = PeersConfig{Announce: 50 * time.Millisecond}

// soonSilent makes a node find others silent, and remove them, quickly; not so quickly that a machine that stands still
// for a second does it, too.
func soonSilent(c *Config) {
	c.Peers.SilentAfter, c.Peers.RemoveAfter = 1500*time.Millisecond, 3*time.Second
}

// soonSilentOnly is that without the removal.
func soonSilentOnly(c *Config) { c.Peers.SilentAfter = 1500 * time.Millisecond }

// peer is one node of a broker.
type peer struct {
	*Peers
	*node
	id      hub.NodeID
	info    hub.Node
	changes chan nodeChange
}

type nodeChange struct {
	node hub.Node
	what NodeChange
}

// newPeer connects a node that has not joined.
func newPeer(t testing.TB, url string, h CallHandler, change ...func(*Config)) *peer {
	t.Helper()
	n := startNode(t, url, append([]func(*Config){func(c *Config) { c.Peers = testPeers }}, change...)...)
	p := &peer{Peers: n.bus.Peers(), node: n, id: n.Node(), changes: make(chan nodeChange, 10_000)}
	p.info = hub.Node{
		ID: p.id, Version: "1.2.3", State: hub.NodeReady, Listen: []string{"ws://127.0.0.1:1", "ws://[::1]:1"},
		Control: "127.0.0.1:7400", Ops: "http://127.0.0.1:7401", StartTime: time.Now().UTC(), Connections: 7,
	}
	p.Serve(h)
	p.OnChange(func(node hub.Node, what NodeChange) { p.changes <- nodeChange{node, what} })
	return p
}

func (p *peer) join(t testing.TB) *peer {
	t.Helper()
	if err := p.Join(t.Context(), func() hub.Node { return p.info }, false); err != nil {
		t.Fatal(err)
	}
	return p
}

// startedPeers are those of startPeer, of each test.
var startedPeers sync.Map // testing.TB: []*peer

// startPeer is newPeer with join. It returns when the node and those that were started before know each other, also on a
// machine that stood still for as long as Join waits for answers.
func startPeer(t testing.TB, url string, h CallHandler, change ...func(*Config)) *peer {
	t.Helper()
	p := newPeer(t, url, h, change...).join(t)
	var all []*peer
	if before, ok := startedPeers.Load(t); ok {
		all = before.([]*peer)
	} else {
		t.Cleanup(func() { startedPeers.Delete(t) })
	}
	for _, other := range all {
		eventually(t, "the nodes know each other", func() bool {
			_, known := other.Node(p.id)
			_, knows := p.Node(other.id)
			return known && knows
		})
	}
	startedPeers.Store(t, append(all, p))
	return p
}

// Node is the one of the table.
func (p *peer) Node(id hub.NodeID) (hub.Node, bool) { return p.Peers.Node(id) }

// until waits for a change of a node.
func (p *peer) until(t testing.TB, node hub.NodeID, what NodeChange) hub.Node {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case c := <-p.changes:
			if c.node.ID == node && c.what == what {
				return c.node
			}
		case <-limit:
			t.Fatalf("node %s not %s in time", node, what)
		}
	}
}

// echo answers every request with its bytes.
func echo(_ context.Context, _ hub.NodeID, request []byte, a *Answer) { a.End(request) }

// answered is all that came of a call.
type answered struct {
	parts [][]byte
	err   error
}

// ask calls a node and waits for the end.
func (p *peer) ask(ctx context.Context, node hub.NodeID, request []byte) answered {
	var got answered
	ended := make(chan struct{})
	p.Begin(ctx, node, request, func(part []byte, more bool, err error) {
		if err == nil {
			got.parts = append(got.parts, part)
		}
		if !more {
			got.err = err
			close(ended)
		}
	})
	<-ended
	return got
}

// askAll calls all nodes and waits for the end.
func (p *peer) askAll(ctx context.Context, request []byte) map[hub.NodeID]answered {
	got := make(map[hub.NodeID]answered)
	ended := make(chan struct{})
	p.BeginAll(ctx, request, func(node hub.NodeID, part []byte, more bool, err error) {
		a := got[node]
		if err == nil {
			a.parts = append(a.parts, part)
		}
		if a.err != nil {
			panic("called after the last part")
		}
		a.err = err
		got[node] = a
	}, func() { close(ended) })
	<-ended
	return got
}

// pattern is n bytes that differ everywhere, so that a piece at the wrong place shows.
func pattern(seed string, n int) []byte {
	b := make([]byte, 0, n+sha256.Size)
	for sum := sha256.Sum256([]byte(seed)); len(b) < n; sum = sha256.Sum256(sum[:]) {
		b = append(b, sum[:]...)
	}
	return b[:n]
}

// wantPart fails unless the answer is that one part.
func (a answered) wantPart(t testing.TB, what string, want []byte) {
	t.Helper()
	if a.err != nil || len(a.parts) != 1 || !bytes.Equal(a.parts[0], want) {
		t.Errorf("%s: %d parts, %v", what, len(a.parts), a.err)
	}
}

// ids are the nodes of a table.
func ids(nodes []hub.Node) string {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		list[i] = string(n.ID)
	}
	return strings.Join(list, " ")
}

// sortedIDs are those of peers.
func sortedIDs(peers ...*peer) string {
	list := make([]string, len(peers))
	for i, p := range peers {
		list[i] = string(p.id)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// maxPayload is the arguments of a NATS server with another limit.
func maxPayload(t testing.TB, bytes int) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, "max_payload: %d\n", bytes), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", file}
}

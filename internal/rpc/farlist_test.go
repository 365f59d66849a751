package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// inOrderOf compares IDs as a listing does: letters stand for less than digits.
func inOrderOf(a, b string) int {
	value := func(r rune) rune {
		if r <= '7' {
			return r + 'z'
		}
		return r
	}
	return strings.Compare(strings.Map(value, a), strings.Map(value, b))
}

// fill opens that many connections on each node and answers their IDs, in the order of a listing.
func fill(t testing.TB, nodes []*member, each ...int) []string {
	t.Helper()
	var ids []string
	for i, n := range each {
		for range n {
			id, _ := nodes[i].open(t)
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, inOrderOf)
	return ids
}

func TestListWalksTheNodes(t *testing.T) {
	_, nodes := newCluster(t, 4)
	want := fill(t, nodes, 7, 0, 20, 5)
	for _, m := range nodes {
		for size, pages := range map[uint32]int{0: 1, 1: 32, 7: 5, 5: 7, 32: 1, 31: 2} {
			ids, n := m.listAll(t, nil, size)
			if !slices.Equal(ids, want) || n != pages {
				t.Errorf("at %s, page size %d: %d connections in %d pages, want %d in %d", m.id(), size, len(ids), n, len(want), pages)
			}
		}
		count, err := m.client.Count(t.Context(), &holdfastv1.CountRequest{})
		if err != nil || count.Count != 32 || count.UnreachableNodes != nil {
			t.Errorf("count %v, %v", count, err)
		}
		only := &holdfastv1.Filter{Node: string(nodes[2].id())}
		if ids, _ := m.listAll(t, only, 6); !slices.Equal(ids, want[7:27]) {
			t.Errorf("one node: %v", ids)
		}
		if count, err := m.client.Count(t.Context(), &holdfastv1.CountRequest{Filter: only}); err != nil || count.Count != 20 {
			t.Errorf("one node: %v, %v", count, err)
		}
	}
}

// Each page may be asked for at another node, and nodes may come and go between pages.
func TestListGoesOnWhileNodesComeAndGo(t *testing.T) {
	c, nodes := newCluster(t, 3)
	want := fill(t, nodes, 3, 3, 3)
	page := func(m *member, token string) (ids []string, next string) {
		t.Helper()
		resp, err := m.client.List(t.Context(), &holdfastv1.ListRequest{PageSize: 2, PageToken: token})
		if err != nil || resp.UnreachableNodes != nil {
			t.Fatalf("%v, %v", resp, err)
		}
		for _, conn := range resp.Connections {
			ids = append(ids, conn.Id)
		}
		return ids, resp.NextPageToken
	}
	first, token := page(nodes[2], "")
	second, token := page(nodes[0], token) // ends in the middle of the second node
	c.remove(nodes[1])
	early := c.add("aaaaaaaaaa")
	early.open(t) // before the place where the listing is
	late := c.add("zzzzzzzzzz")
	lateID, _ := late.open(t)
	third, token := page(early, token)
	fourth, token := page(nodes[2], token)
	got := slices.Concat(first, second, third, fourth)
	if wanted := slices.Concat(want[:4], want[6:], []string{lateID}); !slices.Equal(got, wanted) || token != "" {
		t.Errorf("listed %v, want %v; token %q", got, wanted, token)
	}
}

func TestListWithoutANode(t *testing.T) {
	for name, failure := range map[string]error{"unreachable": hub.ErrUnreachable, "bus away": hub.ErrBusAway} {
		t.Run(name, func(t *testing.T) {
			c, nodes := newCluster(t, 3)
			want := fill(t, nodes, 2, 2, 2)
			c.change(nodes[1], func(m *member) { m.fails = failure })
			resp, err := nodes[0].client.List(t.Context(), &holdfastv1.ListRequest{})
			if err != nil || fmt.Sprint(resp.UnreachableNodes) != "[cccccccccc]" || resp.NextPageToken != "" {
				t.Fatalf("%v, %v", resp, err)
			}
			if len(resp.Connections) != 4 || resp.Connections[2].Id != want[4] {
				t.Errorf("connections %v", resp.Connections)
			}
			count, err := nodes[0].client.Count(t.Context(), &holdfastv1.CountRequest{})
			if err != nil || count.Count != 4 || fmt.Sprint(count.UnreachableNodes) != "[cccccccccc]" {
				t.Errorf("count %v, %v", count, err)
			}
		})
	}
}

// A node that hangs costs its share and a bounded time, less if it is known to be silent.
func TestListWithANodeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := newCluster(t, 3)
		fill(t, nodes, 2, 2, 2)
		for _, tt := range []struct {
			change func(*member)
			limit  time.Duration
		}{{c.silence, silentLimit}, {func(m *member) { c.wake(m); c.change(m, func(m *member) { m.hangs = true }) }, nodeLimit}} {
			tt.change(nodes[1])
			begin := time.Now()
			list, err := nodes[0].client.List(t.Context(), &holdfastv1.ListRequest{})
			if err != nil || len(list.Connections) != 4 || fmt.Sprint(list.UnreachableNodes) != "[cccccccccc]" {
				t.Errorf("list %v, %v", list, err)
			}
			if took := time.Since(begin); took != tt.limit {
				t.Errorf("list took %s, want %s", took, tt.limit)
			}
			begin = time.Now()
			count, err := nodes[0].client.Count(t.Context(), &holdfastv1.CountRequest{})
			if err != nil || count.Count != 4 || fmt.Sprint(count.UnreachableNodes) != "[cccccccccc]" {
				t.Errorf("count %v, %v", count, err)
			}
			if took := time.Since(begin); took != tt.limit {
				t.Errorf("count took %s, want %s", took, tt.limit)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if count, err := nodes[0].client.Count(ctx, &holdfastv1.CountRequest{}); err != nil || count.Count != 4 {
			t.Errorf("before the deadline: %v, %v", count, err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancelled := beside(func() (*holdfastv1.CountResponse, error) {
			return nodes[0].client.Count(ctx, &holdfastv1.CountRequest{})
		})
		synctest.Wait()
		cancel()
		if r := <-cancelled; status.Code(r.err) != codes.Canceled {
			t.Errorf("cancelled: %v", r)
		}
	})
}

// Many nodes that hang: the page ends early, behind those that were asked, and the listing is complete
// in the end.
func TestPageWithoutTimeEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := newCluster(t, 5)
		want := fill(t, nodes, 1, 1, 1, 1, 1)
		for _, m := range nodes[1:4] {
			c.change(m, func(m *member) { m.hangs = true })
		}
		first, err := nodes[0].client.List(t.Context(), &holdfastv1.ListRequest{})
		if err != nil || len(first.Connections) != 1 || fmt.Sprint(first.UnreachableNodes) != "[cccccccccc dddddddddd]" {
			t.Fatalf("first %v, %v", first, err)
		}
		second, err := nodes[0].client.List(t.Context(), &holdfastv1.ListRequest{PageToken: first.NextPageToken})
		if err != nil || fmt.Sprint(second.UnreachableNodes) != "[eeeeeeeeee]" || second.NextPageToken != "" ||
			len(second.Connections) != 1 || second.Connections[0].Id != want[4] {
			t.Errorf("second %v, %v", second, err)
		}
	})
}

// An answer that comes after the call gave up on it changes nothing.
func TestLateAnswerIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &latePeers{}
		b := start(t, Config{Peers: late})
		count, err := b.server.service.Count(t.Context(), &holdfastv1.CountRequest{})
		if err != nil || count.Count != 0 || fmt.Sprint(count.UnreachableNodes) != "[aaaaaaaaaa bbbbbbbbbb cccccccccc]" {
			t.Errorf("count %v, %v", count, err)
		}
		part, _ := responsePart(&holdfastv1.CountResponse{Count: 7})
		late.on("aaaaaaaaaa", part, false, nil)
		late.done()
		if count.Count != 0 {
			t.Errorf("count %v", count)
		}
	})
}

// latePeers answer nothing but what the test says.
type latePeers struct {
	Peers

	on   func(hub.NodeID, []byte, bool, error)
	done func()
}

func (p *latePeers) Nodes() []hub.Node {
	return []hub.Node{{ID: "aaaaaaaaaa"}, {ID: "bbbbbbbbbb"}, {ID: "cccccccccc"}}
}

func (p *latePeers) BeginAll(_ context.Context, _ []byte, on func(hub.NodeID, []byte, bool, error), done func()) {
	p.on, p.done = on, done
}

func TestListAsksNoMoreNodesThanItNeeds(t *testing.T) {
	c, nodes := newCluster(t, 3)
	fill(t, nodes, 2, 2, 2)
	resp, err := nodes[2].client.List(t.Context(), &holdfastv1.ListRequest{PageSize: 2})
	if err != nil || len(resp.Connections) != 2 || resp.NextPageToken == "" {
		t.Fatalf("%v, %v", resp, err)
	}
	if a, b := len(c.arrived(nodes[0])), len(c.arrived(nodes[1])); a != 1 || b != 0 {
		t.Errorf("%d and %d calls", a, b)
	}
}

// The limit of a page is that of all nodes together.
func TestPageOfSeveralNodesStaysReadable(t *testing.T) {
	_, nodes := newCluster(t, 2)
	for _, m := range nodes {
		for range 300 {
			c, _, err := hubtest.Open(m.hub, chat)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Update(hub.Update{Set: map[string]string{"a": strings.Repeat("x", 8000)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if ids, pages := nodes[0].listAll(t, nil, 1000); len(ids) != 600 || pages != 2 || !slices.IsSortedFunc(ids, inOrderOf) {
		t.Errorf("%d connections in %d pages", len(ids), pages)
	}
}

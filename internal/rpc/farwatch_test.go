package rpc

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// opened opens a client connection whose client can speak.
func (m *member) opened(t testing.TB) (*hub.Conn, *hubtest.Socket) {
	t.Helper()
	c, s, err := hubtest.Open(m.hub, chat)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func TestWatchSeesAllNodes(t *testing.T) {
	_, nodes := newCluster(t, 3)
	w := nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{})
	var conns []*hub.Conn
	for _, m := range nodes {
		c, _ := m.opened(t)
		conns = append(conns, c)
	}
	for i := range 50 {
		for _, c := range conns {
			c.Message(hub.Text, fmt.Append(nil, i))
		}
	}
	seen := make(map[string]uint64)
	for range 3 * 51 {
		resp, err := w.Recv()
		if err != nil {
			t.Fatal(err)
		}
		e := resp.GetEvent()
		if seen[e.ConnectionId]++; e.Seq != seen[e.ConnectionId] {
			t.Fatalf("event %d of %s has seq %d", seen[e.ConnectionId], e.ConnectionId, e.Seq)
		}
		if e.Seq > 1 && string(e.Payload) != strconv.FormatUint(e.Seq-2, 10) || e.Seq == 1 && e.Connection.GetId() != e.ConnectionId {
			t.Errorf("event %v", e)
		}
	}
	if len(seen) != 3 {
		t.Errorf("events of %d connections", len(seen))
	}
}

func TestWatchFiltersOnAllNodes(t *testing.T) {
	_, nodes := newCluster(t, 2)
	w := nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{User: "ann", Kinds: []holdfastv1.Event_Kind{holdfastv1.Event_MESSAGE}})
	ann, _ := nodes[1].opened(t)
	bob, _ := nodes[1].opened(t)
	user := "ann"
	if _, err := ann.Update(hub.Update{User: &user}); err != nil {
		t.Fatal(err)
	}
	bob.Message(hub.Text, []byte("no"))
	ann.Message(hub.Text, []byte("yes"))
	ann.Message(hub.Text, []byte("more"))
	if got := next(t, w, 2); got != "MESSAGE2yes MESSAGE3more" {
		t.Errorf("events %s", got)
	}
}

// A batch of events that is larger than a part, and an event that is.
func TestWatchOfLargeEvents(t *testing.T) {
	_, nodes := newCluster(t, 2)
	w := nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{})
	c, _ := nodes[1].opened(t)
	for _, size := range []int{1, 1 << 20, 1, 200 << 10, 200 << 10, 1} {
		c.Message(hub.Binary, make([]byte, size))
	}
	if got := next(t, w, 1); got != "OPEN1" {
		t.Error(got)
	}
	for i, size := range []int{1, 1 << 20, 1, 200 << 10, 200 << 10, 1} {
		resp, err := w.Recv()
		if err != nil || len(resp.GetEvent().GetPayload()) != size || resp.GetEvent().Seq != uint64(i+2) {
			t.Fatalf("event %d: %d bytes, %v", i, len(resp.GetEvent().GetPayload()), err)
		}
	}
}

func TestWatchOfOneConnectionElsewhere(t *testing.T) {
	c, nodes := newCluster(t, 3)
	conn, s := nodes[1].opened(t)
	other, _ := nodes[1].opened(t)
	w := nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{ConnectionId: conn.ID().String()})
	other.Message(hub.Text, []byte("no"))
	conn.Message(hub.Text, []byte("a"))
	s.End(hub.End{Code: 1001, Cause: hub.CausePeerClose})
	if got := next(t, w, 2); got != "MESSAGE2a CLOSE3" {
		t.Errorf("events %s", got)
	}
	if n := len(c.arrived(nodes[2])); n != 0 {
		t.Errorf("%d calls to a node that has nothing to do with it", n)
	}
	for id, want := range map[string]hub.Reason{
		string(nodes[1].id()) + "-aaaaaaaaaaaaaaaa": hub.ConnectionNotFound, someID.String(): hub.ConnectionGone,
	} {
		none, err := nodes[0].client.Watch(t.Context(), &holdfastv1.WatchRequest{ConnectionId: id})
		if err == nil {
			_, err = none.Recv()
		}
		if md := wantRefusal(t, err, want); md["connection_id"] != id {
			t.Errorf("metadata %v", md)
		}
	}
	c.lose(nodes[1], hub.ErrUnreachable)
	_, err := w.Recv()
	if md := wantRefusal(t, err, hub.NodeUnreachable); md["node"] != "cccccccccc" {
		t.Errorf("metadata %v", md)
	}
}

func TestWatchEndsWhenANodeIsLost(t *testing.T) {
	c, nodes := newCluster(t, 3)
	w := nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{})
	c.lose(nodes[2], hub.ErrUnreachable)
	_, err := w.Recv()
	if md := wantRefusal(t, err, hub.NodeUnreachable); md["node"] != "dddddddddd" {
		t.Errorf("metadata %v", md)
	}
	// Others may have claimed it before its silence was noticed here.
	c, nodes = newCluster(t, 2)
	w = nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{})
	c.mu.Lock()
	delete(c.members, nodes[1].id())
	c.mu.Unlock()
	c.lose(nodes[1], hub.ErrUnreachable)
	_, err = w.Recv()
	wantRefusal(t, err, hub.NodeUnreachable)
	c, nodes = newCluster(t, 2)
	w = nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{})
	c.lose(nodes[1], hub.ErrBusAway)
	_, err = w.Recv()
	wantRefusal(t, err, hub.BusUnavailable)
}

// The last events of a node that stops are seen, and its end ends nothing.
func TestWatchGoesOnWhenANodeLeaves(t *testing.T) {
	for name, leave := range map[string]func(*cluster, *member){
		"in order": func(_ *cluster, m *member) { m.hub.Shutdown(context.Background(), 0) },
		"removed":  func(c *cluster, m *member) { c.remove(m) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, nodes := newCluster(t, 2)
				w := nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{Kinds: []holdfastv1.Event_Kind{holdfastv1.Event_CLOSE}})
				s := &hubtest.Socket{AnswerClose: true}
				if _, err := s.Open(nodes[1].hub, chat); err != nil {
					t.Fatal(err)
				}
				leave(c, nodes[1])
				if name == "in order" {
					if got := next(t, w, 1); got != "CLOSE2" {
						t.Errorf("event %s", got)
					}
				}
				time.Sleep(10 * watchRetry)
				_, here := nodes[0].opened(t)
				here.End(hub.End{Code: 1001})
				if got := next(t, w, 1); got != "CLOSE2" {
					t.Errorf("event %s", got)
				}
			})
		})
	}
}

func TestWatchReachesANodeThatJoins(t *testing.T) {
	c, nodes := newCluster(t, 2)
	w := nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{})
	single, _ := nodes[0].opened(t)
	nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{ConnectionId: single.ID().String()})
	if got := next(t, w, 1); got != "OPEN1" {
		t.Errorf("events %s", got)
	}
	late := c.add("zzzzzzzzzz")
	for range 2 { // told twice, watched once
		nodes[0].server.NodeJoined(t.Context(), late.info)
	}
	nodes[0].server.NodeJoined(t.Context(), nodes[0].info)
	if n := late.hub.Stats().Watches; n != 1 {
		t.Fatalf("%d watches at the new node", n)
	}
	conn, _ := late.opened(t)
	conn.Message(hub.Text, []byte("a"))
	if got := next(t, w, 2); got != "OPEN1 MESSAGE2a" {
		t.Errorf("events %s", got)
	}
	c.lose(late, hub.ErrUnreachable)
	_, err := w.Recv()
	if md := wantRefusal(t, err, hub.NodeUnreachable); md["node"] != "zzzzzzzzzz" {
		t.Errorf("metadata %v", md)
	}
}

// The promise that every later event follows cannot be kept then.
func TestWatchEndsWhenANewNodeCannotBeWatched(t *testing.T) {
	c, nodes := newCluster(t, 1)
	w := nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{})
	late := c.add("zzzzzzzzzz")
	c.change(late, func(m *member) { m.fails = hub.ErrUnreachable })
	nodes[0].server.NodeJoined(t.Context(), late.info)
	_, err := w.Recv()
	if md := wantRefusal(t, err, hub.NodeUnreachable); md["node"] != "zzzzzzzzzz" {
		t.Errorf("metadata %v", md)
	}
}

func TestNodeJoinedWaitsNoLongerThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := newCluster(t, 1)
		nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{})
		late := c.add("zzzzzzzzzz")
		c.change(late, func(m *member) { m.hangs = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		nodes[0].server.NodeJoined(ctx, late.info)
		if took := time.Since(begin); took != time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// started is the first response of a watch, or why there is none.
func started(t testing.TB, m *member) (watching, *holdfastv1.WatchStarted, error) {
	t.Helper()
	w, err := m.client.Watch(t.Context(), &holdfastv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.Recv()
	return w, first.GetStarted(), err
}

func TestWatchDoesNotStartWithoutANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := newCluster(t, 3)
		c.change(nodes[1], func(m *member) { m.hangs = true })
		begin := time.Now()
		_, _, err := started(t, nodes[0])
		if md := wantRefusal(t, err, hub.NodeUnreachable); md["node"] != "cccccccccc" || time.Since(begin) != nodeLimit {
			t.Errorf("metadata %v after %s", md, time.Since(begin))
		}
		synctest.Wait()
		if n := nodes[2].hub.Stats().Watches; n != 0 {
			t.Errorf("%d watches are left at the other node", n)
		}
	})
}

// One machine that hangs must not end all watching.
func TestWatchStartsWithoutASilentNode(t *testing.T) {
	for name, silence := range map[string]func(*cluster, *member){
		"it hangs": func(c *cluster, m *member) { c.silence(m) },
		"it fails": func(c *cluster, m *member) {
			c.change(m, func(m *member) { m.info.State, m.fails = hub.NodeSilent, hub.ErrUnreachable })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, nodes := newCluster(t, 2)
				silence(c, nodes[1])
				begin := time.Now()
				w, first, err := started(t, nodes[0])
				if err != nil || fmt.Sprint(first.UnreachableNodes) != "[cccccccccc]" || time.Since(begin) > silentLimit {
					t.Fatalf("%v, %v after %s", first, err, time.Since(begin))
				}
				time.Sleep(10 * watchRetry)
				missed, _ := nodes[1].opened(t)
				c.change(nodes[1], func(m *member) {
					m.info.State, m.fails = hub.NodeReady, nil
					if m.hangs { // the call that was swallowed ends at some time, as the bus finds out
						m.hangs, m.fails = false, hub.ErrUnreachable
						close(m.lost)
					}
				})
				synctest.Wait()
				c.change(nodes[1], func(m *member) {
					if m.fails != nil {
						m.fails, m.lost = nil, make(chan struct{})
					}
				})
				time.Sleep(2 * watchRetry)
				synctest.Wait()
				missed.Message(hub.Text, []byte("seen"))
				if got := next(t, w, 1); got != "MESSAGE2seen" {
					t.Errorf("event %s", got)
				}
				c.lose(nodes[1], hub.ErrUnreachable) // now it counts
				_, err = w.Recv()
				wantRefusal(t, err, hub.NodeUnreachable)
			})
		})
	}
}

func TestSilentNodeThatLeavesIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := newCluster(t, 2)
		c.silence(nodes[1])
		w, _, err := started(t, nodes[0])
		if err != nil {
			t.Fatal(err)
		}
		c.remove(nodes[1])
		time.Sleep(10 * watchRetry)
		nodes[0].opened(t)
		if got := next(t, w, 1); got != "OPEN1" {
			t.Errorf("event %s", got)
		}
	})
}

// A client that does not read holds up its own watch only; the node's memory is bounded.
func TestWatchOfAnotherNodeThatDoesNotReadIsEnded(t *testing.T) {
	_, nodes := newCluster(t, 2)
	w := nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{})
	c, _ := nodes[1].opened(t)
	for range 60 {
		c.Message(hub.Binary, make([]byte, 1<<20))
	}
	waitFor(t, func() bool {
		box := &nodes[0].server.service.watches.all()[0].inbox
		box.mu.Lock()
		defer box.mu.Unlock()
		return box.lagged || nodes[1].hub.Stats().Lagged == 1
	})
	seq := uint64(0)
	for {
		resp, err := w.Recv()
		if err != nil {
			wantRefusal(t, err, hub.WatchLagged)
			break
		}
		if seq++; resp.GetEvent().GetSeq() != seq {
			t.Fatalf("event %d has seq %d", seq, resp.GetEvent().GetSeq())
		}
	}
	if seq < 8 || seq > 60 {
		t.Errorf("%d events before the end", seq)
	}
}

func TestWatchesOnOtherNodesEndWithTheirs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, nodes := newCluster(t, 3)
		ctx, cancel := context.WithCancel(t.Context())
		nodes[0].watch(t, ctx, &holdfastv1.WatchRequest{})
		synctest.Wait()
		if n := nodes[1].hub.Stats().Watches + nodes[2].hub.Stats().Watches; n != 2 {
			t.Fatalf("%d watches at other nodes", n)
		}
		cancel()
		synctest.Wait()
		for _, m := range nodes {
			if n := m.hub.Stats().Watches; n != 0 {
				t.Errorf("%d watches at %s", n, m.id())
			}
		}
		if n := len(nodes[0].server.service.watches.all()); n != 0 {
			t.Errorf("%d watches are kept", n)
		}
	})
}

// Watch and stop of both sides, with a watch that is in use.
func TestStopEndsWatchesOfAllNodes(t *testing.T) {
	_, nodes := newCluster(t, 2)
	w := nodes[0].watch(t, t.Context(), &holdfastv1.WatchRequest{})
	nodes[1].watch(t, t.Context(), &holdfastv1.WatchRequest{})
	nodes[1].server.Stop(t.Context()) // hangs if its watch for the other node is waited for
	nodes[0].opened(t)
	if got := next(t, w, 1); got != "OPEN1" {
		t.Errorf("event %s", got)
	}
	nodes[0].server.Stop(t.Context())
	if got := next(t, w, 1); !strings.Contains(got, "stopping") {
		t.Errorf("end %s", got)
	}
}

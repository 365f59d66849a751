package rpc

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

type watching = grpc.ServerStreamingClient[holdfastv1.WatchResponse]

// watch begins a watch and waits until it is in effect.
func (b *broker) watch(t testing.TB, ctx context.Context, req *holdfastv1.WatchRequest) watching {
	t.Helper()
	w, err := b.client.Watch(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.Recv()
	if err != nil || first.GetStarted().GetNode() != string(b.hub.Node()) {
		t.Fatalf("first response %v, %v", first, err)
	}
	return w
}

// next receives n events as text.
func next(t testing.TB, w watching, n int) string {
	t.Helper()
	var got []string
	for range n {
		resp, err := w.Recv()
		if err != nil {
			return strings.Join(append(got, err.Error()), " ")
		}
		e := resp.GetEvent()
		got = append(got, fmt.Sprintf("%s%d%s", e.GetKind(), e.GetSeq(), e.GetPayload()))
	}
	return strings.Join(got, " ")
}

func TestWatchSeesEveryEventInOrder(t *testing.T) {
	b := start(t, Config{})
	w := b.watch(t, t.Context(), &holdfastv1.WatchRequest{})
	ep := &hub.Endpoint{Path: "/e", Namespace: "ns", PingEvents: true, PongEvents: true}
	c, s, err := hubtest.Open(b.hub, ep)
	if err != nil {
		t.Fatal(err)
	}
	c.Message(hub.Text, []byte("a"))
	c.Ping([]byte("b"))
	c.Pong([]byte("c"))
	c.Writable()
	c.Message(hub.Binary, []byte("d"))
	s.End(hub.End{Code: 1001, Cause: hub.CausePeerClose})
	if got := next(t, w, 7); got != "OPEN1 MESSAGE2a PING2b PONG2c WRITABLE2 MESSAGE3d CLOSE4" {
		t.Errorf("events %s", got)
	}
}

func TestWatchEventsCarryTheirFacts(t *testing.T) {
	b := start(t, Config{})
	w := b.watch(t, t.Context(), &holdfastv1.WatchRequest{Kinds: []holdfastv1.Event_Kind{holdfastv1.Event_OPEN, holdfastv1.Event_CLOSE}})
	id, s := b.open(t)
	s.End(hub.End{Code: 1001, Cause: hub.CausePeerClose})
	open, err := w.Recv()
	if err != nil || open.GetEvent().GetConnection().GetId() != id || open.GetEvent().ConnectionId != id || open.GetEvent().Namespace != "default" {
		t.Errorf("open event %v, %v", open, err)
	}
	closed, err := w.Recv()
	if err != nil || closed.GetEvent().GetClosed().GetCode() != 1001 || closed.GetEvent().GetClosed().GetCause() != holdfastv1.Closed_PEER_CLOSE {
		t.Errorf("close event %v, %v", closed, err)
	}
}

func TestWatchFilters(t *testing.T) {
	b := start(t, Config{})
	one, _, err := hubtest.Open(b.hub, chat)
	if err != nil {
		t.Fatal(err)
	}
	two, _, err := hubtest.Open(b.hub, &hub.Endpoint{Path: "/", Namespace: "other"})
	if err != nil {
		t.Fatal(err)
	}
	user := "ann"
	if _, err := one.Update(hub.Update{User: &user}); err != nil {
		t.Fatal(err)
	}
	watches := map[string]watching{
		"one":  b.watch(t, t.Context(), &holdfastv1.WatchRequest{ConnectionId: one.ID().String()}),
		"ann":  b.watch(t, t.Context(), &holdfastv1.WatchRequest{User: "ann"}),
		"chat": b.watch(t, t.Context(), &holdfastv1.WatchRequest{Namespace: "default"}),
	}
	for i := range 3 {
		two.Message(hub.Text, []byte("no"))
		one.Message(hub.Text, fmt.Append(nil, i))
	}
	for name, w := range watches {
		if got := next(t, w, 3); got != "MESSAGE20 MESSAGE31 MESSAGE42" {
			t.Errorf("watch %s: %s", name, got)
		}
	}
}

func TestWatchEdges(t *testing.T) {
	watch := func(name string, reason hub.Reason, field string, req *holdfastv1.WatchRequest) edge {
		return edge{name, func(ctx context.Context, c holdfastv1.ConnectionServiceClient, _ string) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			w, err := c.Watch(ctx, req)
			if err == nil {
				_, err = w.Recv()
			}
			return err
		}, reason, field}
	}
	testEdges(t, []edge{
		watch("all", 0, "", &holdfastv1.WatchRequest{}),
		watch("namespace", hub.InvalidNamespace, "namespace", &holdfastv1.WatchRequest{Namespace: "A"}),
		watch("user", hub.InvalidUser, "user", &holdfastv1.WatchRequest{User: strings.Repeat("u", 257)}),
		watch("connection ID", hub.InvalidConnectionID, "connection_id", &holdfastv1.WatchRequest{ConnectionId: "x"}),
		watch("no kind", hub.InvalidFilter, "kinds", &holdfastv1.WatchRequest{Kinds: []holdfastv1.Event_Kind{0}}),
		watch("unknown kind", hub.InvalidFilter, "kinds", &holdfastv1.WatchRequest{Kinds: []holdfastv1.Event_Kind{1, 7}}),
	})
	b := start(t, Config{})
	for _, id := range []string{someID.String(), string(b.hub.Node()) + "-aaaaaaaaaaaaaaaa"} {
		w, err := b.client.Watch(t.Context(), &holdfastv1.WatchRequest{ConnectionId: id})
		if err == nil {
			_, err = w.Recv()
		}
		want := hub.ConnectionNotFound
		if id == someID.String() {
			want = hub.ConnectionGone
		}
		if md := wantRefusal(t, err, want); md["connection_id"] != id {
			t.Errorf("metadata %v", md)
		}
	}
	if n := b.hub.Stats().Watches; n != 0 {
		t.Errorf("%d watches after refusals", n)
	}
}

func TestWatchThatDoesNotReadIsEnded(t *testing.T) {
	b := start(t, Config{})
	w := b.watch(t, t.Context(), &holdfastv1.WatchRequest{})
	c, _, err := hubtest.Open(b.hub, chat)
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 1<<20)
	for range 40 {
		c.Message(hub.Binary, payload)
	}
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
	if seq < 8 || seq > 40 {
		t.Errorf("%d events before the end", seq)
	}
}

func TestWatchEndsAfterTheLastEvents(t *testing.T) {
	b := start(t, Config{})
	w := b.watch(t, t.Context(), &holdfastv1.WatchRequest{Kinds: []holdfastv1.Event_Kind{holdfastv1.Event_CLOSE}})
	s := &hubtest.Socket{AnswerClose: true}
	if _, err := s.Open(b.hub, chat); err != nil {
		t.Fatal(err)
	}
	b.hub.Shutdown(t.Context(), 0)
	if got := next(t, w, 1); got != "CLOSE2" {
		t.Errorf("event %s", got)
	}
	_, err := w.Recv()
	wantRefusal(t, err, hub.NodeStopping)
	late, err := b.client.Watch(t.Context(), &holdfastv1.WatchRequest{})
	if err == nil {
		_, err = late.Recv()
	}
	wantRefusal(t, err, hub.NodeStopping)
}

func TestWatchEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{})
		ctx, cancel := context.WithCancel(t.Context())
		b.watch(t, ctx, &holdfastv1.WatchRequest{})
		cancel()
		synctest.Wait()
		if n := b.hub.Stats().Watches; n != 0 {
			t.Errorf("%d watches", n)
		}
	})
}

// Our pings end streams of dead backends; one that is only silent answers them.
func TestSilentBackendIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{})
		b.watch(t, t.Context(), &holdfastv1.WatchRequest{})
		time.Sleep(serverPing + serverPingTimeout + time.Second)
		if n := b.hub.Stats().Watches; n != 1 {
			t.Errorf("%d watches", n)
		}
	})
}

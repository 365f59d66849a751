package rpc

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Every method on one connection, through a node that does not have it.
func TestAnyNodeServesAnyConnection(t *testing.T) {
	_, nodes := newCluster(t, 2)
	client, ctx := nodes[0].client, t.Context()
	id, s := nodes[1].open(t)
	s.SetState(func(st *hub.SocketState) { st.Buffered = 3 })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sent, err := client.Send(ctx, send(id, text("hi")))
	if must(err); sent.BufferedAmount != 5 {
		t.Errorf("sent %v", sent)
	}
	_, err = client.Pong(ctx, &holdfastv1.PongRequest{ConnectionId: id, Payload: []byte("pong")})
	must(err)
	_, err = client.Ping(ctx, &holdfastv1.PingRequest{ConnectionId: id, Confirmation: holdfastv1.Confirmation_QUEUED})
	must(err)
	paused, err := client.Pause(ctx, &holdfastv1.PauseRequest{ConnectionId: id})
	if must(err); paused.ResumeTime == nil {
		t.Errorf("paused %v", paused)
	}
	_, err = client.Resume(ctx, &holdfastv1.ResumeRequest{ConnectionId: id})
	must(err)
	user := "ann"
	_, err = client.Update(ctx, &holdfastv1.UpdateRequest{ConnectionId: id, User: &user})
	must(err)
	got, err := client.Get(ctx, &holdfastv1.GetRequest{ConnectionId: id})
	if must(err); got.Connection.User != "ann" || got.Connection.Node != string(nodes[1].id()) {
		t.Errorf("got %v", got)
	}
	s.AnswerClose = true
	closed, err := client.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: id, Reason: "bye"})
	if must(err); closed.Reason != "bye" || !closed.WasClean {
		t.Errorf("closed %v", closed)
	}
	_, err = client.Terminate(ctx, &holdfastv1.TerminateRequest{ConnectionId: id})
	if md := wantRefusal(t, err, hub.ConnectionNotFound); md["connection_id"] != id {
		t.Errorf("metadata %v", md)
	}
	if r := s.Record(); payloads(r) != "hi" || len(r.Controls) != 2 || r.Pauses != 1 || r.Resumes != 1 {
		t.Errorf("record %+v", r)
	}
	const calls = 9 // with Terminate, which finds nothing
	if n := nodes[1].server.Served(); n != calls {
		t.Errorf("%d calls served for others, want %d", n, calls)
	}
	if n := len(nodes[1].server.Calls()); n != 0 {
		t.Errorf("%d kinds of calls of clients", n)
	}
}

// Everything that the owner says of a refusal reaches the caller.
func TestRefusalOfTheOwnerIsKept(t *testing.T) {
	_, nodes := newCluster(t, 2)
	id, s := nodes[1].open(t)
	s.SetState(func(st *hub.SocketState) { st.Buffered = 77 })
	s.Refuse(hub.ErrQueueFull)
	_, err := nodes[0].client.Send(t.Context(), send(id, text("x")))
	if md := wantRefusal(t, err, hub.SendQueueFull); md["connection_id"] != id || md["buffered_amount"] != "77" {
		t.Errorf("metadata %v", md)
	}
	_, err = nodes[0].client.Send(t.Context(), send(id, &holdfastv1.Message{}))
	if md := wantRefusal(t, err, hub.InvalidMessage); md["field"] != "message" || md["allowed"] == "" {
		t.Errorf("metadata %v", md)
	}
}

func TestNodeThatDoesNotAnswer(t *testing.T) {
	for reason, failure := range map[hub.Reason]error{
		hub.NodeUnreachable: hub.ErrUnreachable, hub.BusUnavailable: hub.ErrBusAway, hub.ConnectionGone: hub.ErrGone,
	} {
		c, nodes := newCluster(t, 2)
		id, _ := nodes[1].open(t)
		c.change(nodes[1], func(m *member) { m.fails = failure })
		_, err := nodes[0].client.Send(t.Context(), send(id, text("x")))
		md := wantRefusal(t, err, reason)
		if md["connection_id"] != id || reason != hub.BusUnavailable && md["node"] != string(nodes[1].id()) {
			t.Errorf("%s: metadata %v", reason, md)
		}
	}
	_, nodes := newCluster(t, 1)
	_, err := nodes[0].client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: someID.String()})
	wantRefusal(t, err, hub.ConnectionGone)
}

func TestForwardedCallEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, nodes := newCluster(t, 2)
		id, s := nodes[1].open(t)
		ctx, cancel := context.WithCancel(t.Context())
		answer := nodes[0].close(ctx, id, received)
		s.Until(closes(1))
		synctest.Wait()
		if n := len(nodes[1].server.guests.calls); n != 1 {
			t.Errorf("%d calls of other nodes", n)
		}
		cancel()
		if r := <-answer; status.Code(r.err) != codes.Canceled {
			t.Errorf("answer %v", r.err)
		}
		synctest.Wait()
		if n := len(nodes[1].server.guests.calls); n != 0 {
			t.Errorf("%d calls after the cancel", n)
		}
	})
}

func TestForwardedCallHasItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := newCluster(t, 2)
		id, s := nodes[1].open(t)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := nodes[0].client.Send(ctx, confirmed(id, text("x"), written))
		if status.Code(err) != codes.DeadlineExceeded || time.Since(begin) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		synctest.Wait()
		if n := len(nodes[1].server.guests.calls); n != 0 {
			t.Errorf("%d calls after the deadline", n)
		}
		s.Confirm(hub.Outcome{}) // late: nobody is blocked
		c.change(nodes[1], func(m *member) { m.hangs = true })
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := nodes[0].client.Send(ctx, send(id, text("x"))); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("node that hangs: %v", err)
		}
	})
}

// A slow call of another node holds up no other.
func TestForwardedCallsRunBesideEachOther(t *testing.T) {
	_, nodes := newCluster(t, 2)
	slow, s := nodes[1].open(t)
	quick, _ := nodes[1].open(t)
	answer := nodes[0].close(t.Context(), slow, received)
	s.Until(closes(1))
	if _, err := nodes[0].client.Send(t.Context(), send(quick, text("x"))); err != nil {
		t.Error(err)
	}
	s.End(hub.End{Code: 1000, WasClean: true})
	if r := <-answer; r.err != nil || r.resp.Code != 1000 {
		t.Errorf("closed %v", r)
	}
}

// served is what ServeCall answers to an envelope.
func served(t *testing.T, m *member, e *envelope, req *holdfastv1.GetRequest) error {
	t.Helper()
	request, err := e.encode(req)
	if err != nil {
		t.Fatal(err)
	}
	return servedBytes(t, m, request)
}

func servedBytes(t *testing.T, m *member, request []byte) error {
	t.Helper()
	a := newSink()
	m.server.ServeCall(t.Context(), "aaaaaaaaaa", request, a)
	return readAnswer(<-a.ended, &emptypb.Empty{})
}

func TestServeCallRefusesWhatItDoesNotKnow(t *testing.T) {
	_, nodes := newCluster(t, 1)
	b := nodes[0]
	get := func(e *envelope) error { return served(t, b, e, &holdfastv1.GetRequest{}) }
	if err := get(&envelope{kind: callMethod, method: "/x/Y"}); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "/x/Y") {
		t.Errorf("unknown method: %v", err)
	}
	if err := get(&envelope{kind: 99}); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "99") {
		t.Errorf("unknown kind: %v", err)
	}
	if err := servedBytes(t, b, []byte{2, 1}); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("another version: %v", err)
	}
	if err := servedBytes(t, b, nil); status.Code(err) != codes.Unimplemented {
		t.Errorf("nothing: %v", err)
	}
	request, _ := (&envelope{kind: callMethod, method: servicePrefix + "Get"}).encode(nil)
	wantRefusal(t, servedBytes(t, b, append(request, 0xff)), hub.InternalError)
}

// It would go in circles while two nodes disagree.
func TestForwardedCallIsNotForwardedAgain(t *testing.T) {
	var log bytes.Buffer
	c, nodes := newCluster(t, 2)
	nodes[0].server.logger = slog.New(slog.NewJSONHandler(&log, nil))
	id, _ := nodes[1].open(t)
	err := served(t, nodes[0], &envelope{kind: callMethod, method: servicePrefix + "Get"}, &holdfastv1.GetRequest{ConnectionId: id})
	wantRefusal(t, err, hub.InternalError)
	if n := len(c.arrived(nodes[1])); n != 0 || !strings.Contains(log.String(), "came to this node") {
		t.Errorf("%d calls, log %s", n, log.String())
	}
}

func TestGuestsAreBounded(t *testing.T) {
	_, nodes := newCluster(t, 2)
	id, _ := nodes[1].open(t)
	g := nodes[1].server.guests
	for range maxGuests {
		if err := g.enter(g.calls); err != nil {
			t.Fatal(err)
		}
	}
	_, err := nodes[0].client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: id})
	wantRefusal(t, err, hub.RateLimited)
	st := streamOf(t, nodes[0])
	st.batch(send(id, text("x")))
	st.want("1: 0 RATE_LIMITED")
	g.leave(g.calls)
	if _, err := nodes[0].client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: id}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	for range maxGuests - 1 {
		g.leave(g.calls)
	}
}

func TestPanicAtTheOwnerEndsOneCallOnly(t *testing.T) {
	_, nodes := newCluster(t, 2)
	_, err := nodes[0].client.Send(t.Context(), send(nodes[1].openPanicking(t), text("x")))
	wantRefusal(t, err, hub.InternalError)
	st := streamOf(t, nodes[0])
	st.batch(send(nodes[1].openPanicking(t), text("x")))
	st.want("1: 0 INTERNAL_ERROR")
	id, _ := nodes[1].open(t)
	st.batch(send(id, text("x")))
	st.want("2:")
	if nodes[1].server.Panics() != 2 || nodes[0].server.Panics() != 0 {
		t.Errorf("%d and %d panics", nodes[1].server.Panics(), nodes[0].server.Panics())
	}
}

func TestStoppedNodeRefusesCallsOfOthers(t *testing.T) {
	_, nodes := newCluster(t, 2)
	id, s := nodes[1].open(t)
	waits := nodes[0].close(t.Context(), id, received)
	s.Until(closes(1))
	nodes[1].server.Stop(t.Context())
	wantRefusal(t, (<-waits).err, hub.NotConfirmed)
	_, err := nodes[0].client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: id})
	wantRefusal(t, err, hub.NodeStopping)
}

// A call that another node is serving when this one stops is answered as that node answers it, if that does not take
// long; else the caller may ask again elsewhere.
func TestStopLetsCallsAtOtherNodesEnd(t *testing.T) {
	for name, answers := range map[string]bool{"answered": true, "not answered": false} {
		t.Run(name, func(t *testing.T) {
			_, nodes := newCluster(t, 2)
			id, s := nodes[1].open(t)
			sent := make(chan error, 1)
			go func() {
				req := send(id, text("x"))
				req.Confirmation = holdfastv1.Confirmation_WRITTEN
				_, err := nodes[0].client.Send(t.Context(), req)
				sent <- err
			}()
			s.Until(waiting(1))
			stopped := make(chan struct{})
			go func() {
				nodes[0].server.Stop(t.Context())
				close(stopped)
			}()
			<-nodes[0].server.stop
			if answers {
				s.Confirm(hub.Outcome{})
				if err := <-sent; err != nil {
					t.Error(err)
				}
			} else {
				wantRefusal(t, <-sent, hub.NodeUnreachable)
				s.Confirm(hub.Outcome{})
			}
			<-stopped
		})
	}
}

// A stop waits no longer than it may for an answer that another node does not take.
func TestStopDoesNotWaitForAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{})
		ctx, cancel := context.WithCancel(t.Context())
		request, _ := (&envelope{kind: callWatch}).encode(&holdfastv1.WatchRequest{})
		b.server.ServeCall(ctx, "aaaaaaaaaa", request, &memAnswer{ctx: ctx, parts: make(chan []byte), last: make(chan []byte, 1)})
		synctest.Wait()
		stopping, stop := context.WithTimeout(t.Context(), 3*time.Second)
		defer stop()
		begin := time.Now()
		b.server.Stop(stopping)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
		cancel() // as the end of the bus does
		synctest.Wait()
		if n := len(b.server.guests.watches); n != 0 {
			t.Errorf("%d watches", n)
		}
	})
}

func TestUnaryFragmentsThroughAnotherNode(t *testing.T) {
	_, nodes := newCluster(t, 3)
	id, s := nodes[1].open(t)
	first, err := nodes[0].client.Send(t.Context(), send(id, fragment("a", "", true)))
	if err != nil || first.FragmentId == "" {
		t.Fatalf("first: %v, %v", first, err)
	}
	if _, err := nodes[2].client.Send(t.Context(), send(id, fragment("b", first.FragmentId, false))); err != nil {
		t.Error(err)
	}
	_, err = nodes[0].client.Send(t.Context(), send(id, fragment("b", "1-x", false)))
	wantRefusal(t, err, hub.InvalidFragment)
	if r := s.Record(); payloads(r) != "a b" || r.Messages[1].Fragment == 0 || r.Messages[1].More {
		t.Errorf("messages %+v", r.Messages)
	}
}

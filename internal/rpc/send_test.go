package rpc

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const (
	queued   = holdfastv1.Confirmation_QUEUED
	written  = holdfastv1.Confirmation_WRITTEN
	received = holdfastv1.Confirmation_RECEIVED
)

func confirmed(id string, m *holdfastv1.Message, cf holdfastv1.Confirmation) *holdfastv1.SendRequest {
	r := send(id, m)
	r.Confirmation = cf
	return r
}

// result is the end of a call that runs beside the test.
type result[T any] struct {
	resp T
	err  error
}

// beside makes a call while the test goes on.
func beside[T any](f func() (T, error)) <-chan result[T] {
	ch := make(chan result[T], 1)
	go func() {
		resp, err := f()
		ch <- result[T]{resp, err}
	}()
	return ch
}

func TestSendPassesEverythingOn(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	no := false
	resp, err := b.client.Send(t.Context(), &holdfastv1.SendRequest{
		ConnectionId: id,
		Message:      &holdfastv1.Message{Payload: &holdfastv1.Message_Binary{Binary: []byte("abc")}, Compress: &no},
	})
	if err != nil || resp.BufferedAmount != 3 || resp.Rtt != nil || resp.FragmentId != "" {
		t.Fatalf("answer %v, %v", resp, err)
	}
	m := s.Record().Messages[0]
	if m.Opcode != hub.Binary || string(m.Payload) != "abc" || m.Confirmation != hub.Queued || m.Compress == nil || *m.Compress ||
		m.More || m.ExpireAfter != 0 {
		t.Errorf("message %+v", m)
	}
	if _, err := b.client.Send(t.Context(), send(id, text("t"))); err != nil {
		t.Fatal(err)
	}
	if m := s.Record().Messages[1]; m.Opcode != hub.Text || m.Compress != nil {
		t.Errorf("message %+v", m)
	}
}

func TestSendAnswersWhenConfirmed(t *testing.T) {
	b := start(t, Config{})
	for _, tt := range []struct {
		cf      holdfastv1.Confirmation
		outcome hub.Outcome
		reason  hub.Reason
	}{
		{written, hub.Outcome{}, 0},
		{received, hub.Outcome{RTT: time.Millisecond}, 0},
		{written, hub.Outcome{Err: hub.ErrExpired}, hub.MessageExpired},
		{written, hub.Outcome{Err: hub.ErrQueueFull}, hub.SendQueueFull},
		{received, hub.Outcome{Err: hub.ErrNotConfirmed}, hub.NotConfirmed},
		{received, hub.Outcome{Err: hub.ErrClosing}, hub.ConnectionClosing},
	} {
		id, s := b.open(t)
		answer := beside(func() (*holdfastv1.SendResponse, error) {
			return b.client.Send(t.Context(), confirmed(id, text("hi"), tt.cf))
		})
		s.Until(waiting(1))
		select {
		case r := <-answer:
			t.Fatalf("answered before the confirmation: %v, %v", r.resp, r.err)
		default:
		}
		s.Confirm(tt.outcome)
		r := <-answer
		switch {
		case tt.reason != 0:
			wantRefusal(t, r.err, tt.reason)
		case r.err != nil || r.resp.BufferedAmount != 2 || (r.resp.Rtt != nil) != (tt.cf == received):
			t.Errorf("%s: %v, %v", tt.cf, r.resp, r.err)
		}
	}
}

func TestEveryRefusalOfASocketReachesTheCaller(t *testing.T) {
	b := start(t, Config{})
	for _, refused := range []*hub.Error{
		hub.ErrClosing, hub.ErrPaused, hub.ErrQueueFull, hub.ErrRateLimited, hub.ErrExpired,
		hub.Invalid(hub.MessageTooLarge, "message.text", "9 bytes", "at most 8 bytes"),
	} {
		id, s := b.open(t)
		s.Refuse(refused)
		for _, cf := range []holdfastv1.Confirmation{queued, received} {
			_, err := b.client.Send(t.Context(), confirmed(id, text("hi"), cf))
			if md := wantRefusal(t, err, refused.Reason); md["connection_id"] != id || md["field"] != refused.Field {
				t.Errorf("%s: metadata %v", refused.Reason, md)
			}
		}
		_, err := b.client.Ping(t.Context(), &holdfastv1.PingRequest{ConnectionId: id})
		wantRefusal(t, err, refused.Reason)
	}
}

// observed makes a call as gRPC would, but with a context of the test: a client whose deadline passes
// reports its own status before it could read ours.
func observed(b *broker, ctx context.Context, req *holdfastv1.SendRequest) error {
	_, err := b.server.observeUnary(ctx, req, &grpc.UnaryServerInfo{FullMethod: servicePrefix + "Send"},
		func(ctx context.Context, req any) (any, error) {
			return b.server.service.Send(ctx, req.(*holdfastv1.SendRequest))
		})
	return err
}

func TestWaitEndsWithTheCall(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if md := wantRefusal(t, observed(b, late, confirmed(id, text("hi"), written)), hub.NotConfirmed); md["connection_id"] != id {
		t.Errorf("metadata %v", md)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := observed(b, gone, confirmed(id, text("hi"), written)); status.Code(err) != codes.Canceled {
		t.Errorf("error %v", err)
	}
	if n := s.Confirm(hub.Outcome{}); n != 2 { // nobody waits, nobody blocks
		t.Errorf("%d sends", n)
	}
}

func TestFragmentsOfUnarySends(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	other, _ := b.open(t)
	begin := func(id string) string {
		resp, err := b.client.Send(t.Context(), send(id, fragment("a", "", true)))
		if err != nil || resp.FragmentId == "" {
			t.Fatalf("first fragment: %v, %v", resp, err)
		}
		return resp.FragmentId
	}
	fragmentID, otherID := begin(id), begin(other)
	_, err := b.client.Send(t.Context(), send(id, fragment("b", otherID, true)))
	wantRefusal(t, err, hub.InvalidFragment) // the socket's numbers are equal
	resp, err := b.client.Send(t.Context(), send(id, fragment("b", fragmentID, true)))
	if err != nil || resp.FragmentId != fragmentID {
		t.Fatalf("second fragment: %v, %v", resp, err)
	}
	resp, err = b.client.Send(t.Context(), send(id, fragment("c", fragmentID, false)))
	if err != nil || resp.FragmentId != "" {
		t.Fatalf("last fragment: %v, %v", resp, err)
	}
	_, err = b.client.Send(t.Context(), send(id, fragment("d", fragmentID, false)))
	wantRefusal(t, err, hub.InvalidFragment)
	if got := payloads(s.Record()); got != "a b c" {
		t.Errorf("sent %q", got)
	}
}

func TestRepeatedRequestSendsNothing(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	req := send(id, text("pay"))
	req.RequestId = "r1"
	first, err := b.client.Send(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	s.Refuse(hub.ErrQueueFull)
	again, err := b.client.Send(t.Context(), req)
	if err != nil || again.BufferedAmount != first.BufferedAmount {
		t.Errorf("repeat: %v, %v", again, err)
	}
	req.RequestId = "r2"
	_, err = b.client.Send(t.Context(), req)
	wantRefusal(t, err, hub.SendQueueFull)
	s.Refuse(nil)
	req.Message = text("again")
	if _, err := b.client.Send(t.Context(), req); err != nil {
		t.Error(err)
	}
	if got := payloads(s.Record()); got != "pay again" {
		t.Errorf("sent %q", got)
	}
}

func TestPingAndPong(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	answer := beside(func() (*holdfastv1.PingResponse, error) {
		return b.client.Ping(t.Context(), &holdfastv1.PingRequest{ConnectionId: id, Payload: []byte("p")})
	})
	s.Until(waiting(1))
	s.Confirm(hub.Outcome{RTT: 3 * time.Millisecond})
	if r := <-answer; r.err != nil || r.resp.Rtt.AsDuration() != 3*time.Millisecond {
		t.Errorf("ping: %v, %v", r.resp, r.err)
	}
	for _, cf := range []holdfastv1.Confirmation{0, queued} {
		if _, err := b.client.Pong(t.Context(), &holdfastv1.PongRequest{ConnectionId: id, Confirmation: cf, Payload: []byte("q")}); err != nil {
			t.Error(err)
		}
	}
	c := s.Record().Controls
	if len(c) != 3 || !c[0].Ping || string(c[0].Payload) != "p" || c[1].Ping || string(c[2].Payload) != "q" {
		t.Errorf("controls %v", c)
	}
}

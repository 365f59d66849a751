package rpc

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func closes(n int) func(hubtest.Record) bool {
	return func(r hubtest.Record) bool { return len(r.Closes) >= n }
}

func (b *broker) close(ctx context.Context, id string, cf holdfastv1.Confirmation) <-chan result[*holdfastv1.CloseResponse] {
	code := uint32(4000)
	return beside(func() (*holdfastv1.CloseResponse, error) {
		return b.client.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: id, Code: &code, Reason: "bye", Confirmation: cf})
	})
}

func TestCloseReceivedAnswersAtTheEnd(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	first := b.close(t.Context(), id, 0)
	s.Until(closes(1))
	second := b.close(t.Context(), id, received) // waits for the same end
	r := s.Until(closes(2))
	if c := r.Closes[0]; c.Code != 4000 || c.Reason != "bye" || c.Cause != hub.CauseBackendClose {
		t.Errorf("asked for %+v", c)
	}
	_, err := b.client.Send(t.Context(), send(id, text("late")))
	wantRefusal(t, err, hub.ConnectionClosing)
	s.End(hub.End{Code: 4001, Reason: "tschüss", WasClean: true})
	for _, answer := range []<-chan result[*holdfastv1.CloseResponse]{first, second} {
		r := <-answer
		if r.err != nil || r.resp.Code != 4001 || r.resp.Reason != "tschüss" || !r.resp.WasClean {
			t.Errorf("answer %v, %v", r.resp, r.err)
		}
	}
}

func TestCloseWrittenAndQueued(t *testing.T) {
	b := start(t, Config{})
	for _, outcome := range []hub.Outcome{{}, {Err: hub.ErrClosing}} {
		id, s := b.open(t)
		answer := b.close(t.Context(), id, written)
		s.Until(closes(1))
		s.CloseWritten(outcome)
		r := <-answer
		if outcome.Err != nil {
			wantRefusal(t, r.err, hub.NotConfirmed)
		} else if r.err != nil || r.resp.Code != 0 || r.resp.WasClean {
			t.Errorf("answer %v, %v", r.resp, r.err)
		}
	}
	id, s := b.open(t)
	if r := <-b.close(t.Context(), id, queued); r.err != nil || r.resp.Code != 0 || len(s.Record().Closes) != 1 {
		t.Errorf("answer %v, %v", r.resp, r.err)
	}
}

func TestCloseThatNobodyWaitsForGoesOn(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	answer := b.close(ctx, id, received)
	s.Until(closes(1))
	cancel()
	if r := <-answer; status.Code(r.err) != codes.Canceled {
		t.Errorf("error %v", r.err)
	}
	s.End(hub.End{Code: 1000})
	_, err := b.client.Close(t.Context(), &holdfastv1.CloseRequest{ConnectionId: id})
	wantRefusal(t, err, hub.ConnectionNotFound)
}

func TestTerminate(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	if _, err := b.client.Terminate(t.Context(), &holdfastv1.TerminateRequest{ConnectionId: id}); err != nil {
		t.Fatal(err)
	}
	if got := s.Record().Terminated; !slices.Equal(got, []hub.Cause{hub.CauseBackendTerminate}) {
		t.Errorf("terminated %v", got)
	}
}

func TestPauseAndResume(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	before := time.Now()
	resp, err := b.client.Pause(t.Context(), &holdfastv1.PauseRequest{ConnectionId: id, ResumeAfter: durationpb.New(time.Minute)})
	if err != nil || resp.ResumeTime.AsTime().Sub(before).Round(time.Minute) != time.Minute {
		t.Errorf("pause: %v, %v", resp, err)
	}
	got, err := b.client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: id})
	if err != nil || !got.Connection.Paused {
		t.Errorf("get: %v, %v", got, err)
	}
	if _, err := b.client.Resume(t.Context(), &holdfastv1.ResumeRequest{ConnectionId: id}); err != nil || s.State().Paused {
		t.Errorf("resume: %v", err)
	}
	s.SetState(func(st *hub.SocketState) { st.Closing = true })
	_, err = b.client.Pause(t.Context(), &holdfastv1.PauseRequest{ConnectionId: id})
	wantRefusal(t, err, hub.ConnectionClosing)
	_, err = b.client.Resume(t.Context(), &holdfastv1.ResumeRequest{ConnectionId: id})
	wantRefusal(t, err, hub.ConnectionClosing)
}

func TestUpdate(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	user, at := "ann", time.Now().Add(time.Hour)
	resp, err := b.client.Update(t.Context(), &holdfastv1.UpdateRequest{
		ConnectionId: id, User: &user, SetAttributes: map[string]string{"a": "1", "b": "2"}, ExpireTime: timestamppb.New(at),
	})
	if err != nil || resp.Connection.User != "ann" || len(resp.Connection.Attributes) != 2 || !resp.Connection.ExpireTime.AsTime().Equal(at) {
		t.Fatalf("update: %v, %v", resp, err)
	}
	resp, err = b.client.Update(t.Context(), &holdfastv1.UpdateRequest{
		ConnectionId: id, RemoveAttributes: []string{"a", "none"}, ClearExpireTime: true,
	})
	if err != nil || fmt.Sprint(resp.Connection.Attributes) != "map[b:2]" || resp.Connection.ExpireTime != nil || resp.Connection.User != "ann" {
		t.Errorf("update: %v, %v", resp, err)
	}
	s.SetState(func(st *hub.SocketState) { st.Closing = true })
	_, err = b.client.Update(t.Context(), &holdfastv1.UpdateRequest{ConnectionId: id})
	wantRefusal(t, err, hub.ConnectionClosing)
}

package rpc

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// TestRates: a second's worth at once, then one each time that one is paid for; what is larger is taken and paid later.
func TestRates(t *testing.T) {
	s := &spending{rates: Rates{Calls: 4, Bytes: 1000}}
	own := &caller{name: "own", rates: &Rates{Calls: 1}}
	free := &caller{name: "free", rates: new(Rates)}
	one := &holdfastv1.GetRequest{}
	many := &holdfastv1.SendManyRequest{ConnectionIds: make([]string, 8)}
	large := &holdfastv1.PingRequest{Payload: make([]byte, 2997)}
	begin := time.Now()
	for n, step := range []struct {
		at   time.Duration
		who  *caller
		req  proto.Message
		want time.Duration // over the rates, and not taken; else 0
	}{
		{0, nil, one, 0}, {0, nil, one, 0}, {0, nil, one, 0}, {0, nil, one, 0}, {0, nil, one, 0},
		{0, nil, one, 250 * time.Millisecond},
		{0, own, one, 0}, {0, own, one, 0}, {0, own, one, time.Second},
		{250 * time.Millisecond, nil, many, 0},
		{250 * time.Millisecond, nil, one, 2 * time.Second},
		{10 * time.Second, nil, large, 0},
		{10 * time.Second, nil, one, 2 * time.Second},
		{12 * time.Second, nil, one, 0},
	} {
		now := begin.Add(step.at)
		var after time.Duration
		if p := s.purse[nameOf(step.who)]; p != nil {
			after = max(p.over(now), 0)
		}
		if after != step.want {
			t.Errorf("step %d: over by %v, want %v", n, after, step.want)
		}
		s.count(step.who, step.req, now, true)
	}
	if !s.none(free) || s.none(nil) || s.none(own) {
		t.Error("an identity's own rates do not count")
	}
}

func nameOf(who *caller) string {
	if who == nil {
		return ""
	}
	return who.name
}

func TestPursesAreForgotten(t *testing.T) {
	s := &spending{rates: Rates{Calls: 1}}
	begin := time.Now()
	for n := range 10 * manyPurses {
		s.count(&caller{name: strconv.Itoa(n)}, nil, begin.Add(time.Duration(n)*10*time.Millisecond), true)
	}
	if len(s.purse) > manyPurses {
		t.Errorf("%d are kept", len(s.purse))
	}
}

// TestThreatControlFloodOfCalls: whoever asks for more than they may is told when to come back.
func TestThreatControlFloodOfCalls(t *testing.T) {
	b := start(t, Config{Rates: Rates{Calls: 10}})
	var err error
	for n := 0; err == nil; n++ {
		if _, err = b.client.Count(t.Context(), &holdfastv1.CountRequest{}); n > 10_000 {
			t.Fatal("nobody is refused")
		}
	}
	wantRefusal(t, err, hub.RateLimited)
	var retry *errdetails.RetryInfo
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			retry = r
		}
	}
	if d := retry.GetRetryDelay().AsDuration(); d <= 0 || d > time.Second {
		t.Errorf("to be tried again in %v", retry)
	}
	if b.server.OverRate() == 0 {
		t.Error("it is not counted")
	}
}

// TestThreatControlFloodOfOneTenant: whoever floods the control API uses up what is theirs, and nothing of what another
// may ask for, in single calls and in streams.
func TestThreatControlFloodOfOneTenant(t *testing.T) {
	const allowed = 20
	ids := NewIdentities([]Identity{identity("flooder", Verbs...), identity("tenant", Verbs...)}, nil)
	b := start(t, Config{Rates: Rates{Calls: allowed}, Identities: func() *Identities { return ids }})
	id, socket := b.open(t)
	flood, end := context.WithCancel(t.Context())
	defer end()
	var floods sync.WaitGroup
	var refused atomic.Int64
	over := make(chan struct{})
	for range 8 {
		floods.Go(func() {
			for flood.Err() == nil {
				_, err := b.client.Count(as(flood, "flooder"), &holdfastv1.CountRequest{})
				if status.Code(err) == codes.ResourceExhausted && refused.Add(1) == allowed {
					close(over)
				}
			}
		})
	}
	<-over
	for n := range allowed / 2 {
		if _, err := b.client.Count(as(t.Context(), "tenant"), &holdfastv1.CountRequest{}); err != nil {
			t.Fatalf("call %d of the other tenant: %v", n, err)
		}
	}
	stream, err := b.client.SendStream(as(t.Context(), "tenant"))
	if err != nil {
		t.Fatal(err)
	}
	req := &holdfastv1.SendStreamRequest{BatchId: 1}
	for range allowed/2 - 1 { // the stream itself is a call
		req.Sends = append(req.Sends, send(id, text("x")))
	}
	if err := stream.Send(req); err != nil {
		t.Fatal(err)
	}
	if resp, err := stream.Recv(); err != nil || len(resp.GetFailures()) > 0 || len(socket.Record().Messages) != len(req.GetSends()) {
		t.Errorf("the batch of the other tenant: %v, %v, %d messages", resp, err, len(socket.Record().Messages))
	}
	end()
	floods.Wait()
}

// TestThreatControlFloodOfBatches: a stream is not read until what it asked for is paid, and nothing of it is lost.
func TestThreatControlFloodOfBatches(t *testing.T) {
	b := start(t, Config{Rates: Rates{Calls: 10}})
	id, socket := b.open(t)
	req := &holdfastv1.SendStreamRequest{BatchId: 1}
	for range 100 {
		req.Sends = append(req.Sends, send(id, text("x")))
	}
	stream, err := b.client.SendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(req); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil || len(resp.GetFailures()) > 0 || len(socket.Record().Messages) != 100 {
		t.Errorf("%v, %v, %d messages", resp, err, len(socket.Record().Messages))
	}
	for deadline := time.Now().Add(patience); b.server.OverRate() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the stream does not wait")
		}
	}
	_, err = b.client.Count(t.Context(), &holdfastv1.CountRequest{})
	wantRefusal(t, err, hub.RateLimited)
}

package rpc

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// TestIdentitiesAreCounted: each by its name, however many sends a batch has; those with tokens together, whatever they
// call themselves.
func TestIdentitiesAreCounted(t *testing.T) {
	limited := identity("limited", "read")
	limited.Rates = &Rates{Calls: 1}
	n := 0
	judge := func(context.Context, string) (*Identity, time.Time, error) {
		n++
		who := identity(fmt.Sprint("somebody", n), "read")
		return &who, time.Time{}, nil
	}
	ids := NewIdentities([]Identity{identity("worker", "send"), limited, identity("idle", "read")}, judge)
	b := start(t, Config{Identities: func() *Identities { return ids }})
	id, _ := b.open(t)
	count := func(ctx context.Context) error { return second(b.client.Count(ctx, &holdfastv1.CountRequest{})) }

	stream, err := b.client.SendStream(as(t.Context(), "worker"))
	if err != nil {
		t.Fatal(err)
	}
	req := &holdfastv1.SendStreamRequest{BatchId: 1}
	for range 10 {
		req.Sends = append(req.Sends, send(id, text("x")))
	}
	if err := stream.Send(req); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	wantRefusal(t, count(as(t.Context(), "worker")), hub.PermissionDenied)
	for err = nil; err == nil; {
		err = count(as(t.Context(), "limited"))
	}
	wantRefusal(t, err, hub.RateLimited)
	for range 3 {
		if err := count(bearing(t.Context(), "Bearer some-token")); err != nil {
			t.Fatal(err)
		}
	}
	all := b.server.Asked()
	want := map[string]Asked{
		"worker":  {Calls: 12, Denied: 1}, // the stream itself is a call
		"limited": {Calls: all["limited"].Calls, Limited: 1},
		"idle":    {}, anyToken: {Calls: 3},
	}
	if fmt.Sprint(all) != fmt.Sprint(want) || all["limited"].Calls < 2 {
		t.Errorf("counted are %v, want %v", all, want)
	}
}

// Where nobody has to say who they are there is nobody to count.
func TestNobodyIsCounted(t *testing.T) {
	b := start(t, Config{})
	if err := second(b.client.Count(t.Context(), &holdfastv1.CountRequest{})); err != nil {
		t.Fatal(err)
	}
	if all := b.server.Asked(); len(all) != 0 {
		t.Errorf("counted are %v", all)
	}
}

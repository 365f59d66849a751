package rpc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// judged asks that judge about tokens that no identity has.
func judged(judge Judge) func(*Config) {
	ids := NewIdentities([]Identity{identity("known", Verbs...)}, judge)
	return func(c *Config) { c.Identities = func() *Identities { return ids } }
}

// TestJudge: who it names may do what it says, on this node and on others, and no judge is asked about known tokens.
func TestJudge(t *testing.T) {
	var asked []string
	_, nodes := newClusterWith(t, 2, judged(func(_ context.Context, token string) (*Identity, time.Time, error) {
		asked = append(asked, token)
		switch token {
		case "reader":
			who := identity("reader", "read", "no-verb").only([]string{"default"}, []string{"*"})
			return &who, time.Time{}, nil
		case "expired":
			return nil, time.Time{}, ErrTokenExpired
		case "early":
			return nil, time.Time{}, ErrNoKeys
		}
		return nil, time.Time{}, errors.New("why, which is nobody's business")
	}))
	for _, m := range nodes {
		id, _ := m.open(t)
		get := func(token string) error {
			return second(nodes[0].client.Get(bearing(t.Context(), "Bearer "+token), &holdfastv1.GetRequest{ConnectionId: id}))
		}
		if err := get("reader"); err != nil {
			t.Errorf("the reader reads: %v", err)
		}
		for token, want := range map[string]struct {
			reason hub.Reason
			text   string
		}{
			"expired": {hub.Unauthenticated, "the bearer token has expired"},
			"early":   {hub.KeysUnavailable, "could not fetch the keys"},
			"forged":  {hub.Unauthenticated, "the bearer token is not known"},
		} {
			err := get(token)
			if wantRefusal(t, err, want.reason); !strings.Contains(err.Error(), want.text) || strings.Contains(err.Error(), "nobody's") {
				t.Errorf("%s: %v, want %q", token, err, want.text)
			}
		}
		ctx := bearing(t.Context(), "Bearer reader")
		err := second(nodes[0].client.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: id}))
		if wantRefusal(t, err, hub.PermissionDenied)["verb"] != "close" {
			t.Errorf("the reader closes: %v", err)
		}
	}
	n := len(asked)
	if err := second(nodes[0].client.Count(as(t.Context(), "known"), &holdfastv1.CountRequest{})); err != nil || len(asked) != n {
		t.Errorf("a known token: %v, and the judge was asked for %q", err, asked[n:])
	}
}

// TestStreamsEndWithTheirToken: those that are open when the token expires, here and where another node takes part.
func TestStreamsEndWithTheirToken(t *testing.T) {
	const life = 500 * time.Millisecond
	_, nodes := newClusterWith(t, 2, judged(func(context.Context, string) (*Identity, time.Time, error) {
		who := identity("worker", Verbs...)
		return &who, time.Now().Add(life), nil
	}))
	ctx := bearing(t.Context(), "Bearer token")
	far, _ := nodes[1].open(t)
	watch, err := nodes[0].client.Watch(ctx, &holdfastv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	watchOne, err := nodes[0].client.Watch(ctx, &holdfastv1.WatchRequest{ConnectionId: far})
	if err != nil {
		t.Fatal(err)
	}
	sends, err := nodes[0].client.SendStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = sends.Send(&holdfastv1.SendStreamRequest{BatchId: 1, Sends: []*holdfastv1.SendRequest{send(far, text("a"))}})
	for name, receive := range map[string]func() error{
		"Watch": func() error { return second(watch.Recv()) }, "Watch of one": func() error { return second(watchOne.Recv()) },
		"SendStream": func() error { return second(sends.Recv()) },
	} {
		for err = receive(); err == nil; err = receive() { // what came before
		}
		if wantRefusal(t, err, hub.Unauthenticated); !strings.Contains(err.Error(), "has expired") {
			t.Errorf("%s ends with %v", name, err)
		}
	}
	// A call that begins in time is not cut: the token was good.
	if err := second(nodes[0].client.Get(ctx, &holdfastv1.GetRequest{ConnectionId: far})); err != nil {
		t.Error(err)
	}
}

package demo

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestStartTellsConnectionsThatWereThereBefore(t *testing.T) {
	w := newWorld(t, alice, bob)
	w.run(t)
	list := w.wait(t, "connections")
	if len(list.to) != 2 || list.body["total"] != 2.0 {
		t.Errorf("list %v to %v, want both connections told of both", list.body, list.to)
	}
	w.wait(t, "notice")
}

func TestOpenIsWelcomedAndListed(t *testing.T) {
	w := newWorld(t)
	w.run(t)
	w.set(func() { w.connections = []string{alice} })
	w.publish(t, "open", alice, "1", `{"id":"`+alice+`"}`)
	if s := w.wait(t, "welcome"); !slices.Equal(s.to, []string{alice}) || s.body["id"] != alice {
		t.Errorf("welcome %v to %v", s.body, s.to)
	}
	if s := w.wait(t, "connections"); !slices.Equal(s.to, []string{alice}) {
		t.Errorf("list to %v", s.to)
	}
	feed := w.wait(t, "events").body["events"].([]any)
	if e := feed[0].(map[string]any); e["kind"] != "open" || e["seq"] != 1.0 || e["id"] != alice {
		t.Errorf("feed %v", feed)
	}
}

func TestChatGoesToEveryoneOnceWithTwoBackends(t *testing.T) {
	w := newWorld(t, alice, bob)
	w.run(t)
	w.run(t)
	w.publish(t, "message", alice, "2", `{"type":"chat","text":"<b>hello</b>","number":7}`)
	s := w.wait(t, "chat")
	if len(s.to) != 2 || s.body["from"] != alice || s.body["text"] != "<b>hello</b>" || s.body["number"] != 7.0 || s.body["seq"] != 2.0 {
		t.Errorf("chat %v to %v", s.body, s.to)
	}
	w.publish(t, "message", bob, "2", `{"type":"chat","text":"second"}`)
	if s := w.wait(t, "chat"); s.body["text"] != "second" {
		t.Errorf("%v came, want the second line: the first was sent twice", s.body)
	}
}

func TestWhatIsNotUnderstoodIsSaidBack(t *testing.T) {
	w := newWorld(t, alice)
	w.run(t)
	for _, payload := range []string{
		"", "hello", "{", "null", "[]", "7", `"chat"`, "{}", `{"type":7}`, `{"type":"constructor"}`, `{"type":"close","code":-1}`,
		`{"type":"close","code":1e300}`, "\xff\xfe", strings.Repeat("[", 100_000), `{"type":"` + strings.Repeat("é", 5000) + `"}`,
		`{"type":"chat","text":"` + strings.Repeat("x", maxText+1) + `"}`,
	} {
		w.publish(t, "message", alice, "2", payload)
		s := w.wait(t, "result")
		if s.body["ok"] != false || s.body["reason"] != "NOT_UNDERSTOOD" || !slices.Equal(s.to, []string{alice}) {
			t.Errorf("%.40q: answered %v to %v", payload, s.body, s.to)
		}
	}
}

func TestRefusalComesBackWithItsReason(t *testing.T) {
	w := newWorld(t, alice, bob)
	w.run(t)
	refusal, err := status.New(codes.FailedPrecondition, "the connection is paused").
		WithDetails(&errdetails.ErrorInfo{Reason: "CONNECTION_PAUSED", Domain: "holdfast"})
	if err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.refuse = refusal.Err() })
	w.publish(t, "message", alice, "2", `{"type":"ping","id":"`+bob+`"}`)
	s := w.wait(t, "result")
	if s.body["reason"] != "CONNECTION_PAUSED" || s.body["text"] != "the connection is paused" || s.body["ok"] != false {
		t.Errorf("answered %v", s.body)
	}
	// A status without details still has a name.
	w.publish(t, "message", alice, "3", `{"type":"pause","id":"`+bob+`"}`)
	if s := w.wait(t, "result"); s.body["reason"] != "Unimplemented" {
		t.Errorf("answered %v", s.body)
	}
}

func TestGoneConnectionsAreForgotten(t *testing.T) {
	w := newWorld(t, alice, bob)
	w.run(t)
	w.set(func() { w.gone[bob] = true })
	w.publish(t, "message", alice, "2", `{"type":"chat","text":"first"}`)
	w.publish(t, "message", alice, "3", `{"type":"chat","text":"second"}`)
	w.wait(t, "chat")
	if s := w.wait(t, "chat"); !slices.Equal(s.to, []string{alice}) {
		t.Errorf("second line to %v, want only those who are there", s.to)
	}
}

func TestConnectionsOfUnreachableNodesAreKept(t *testing.T) {
	w := newWorld(t, alice, bob)
	w.run(t)
	w.wait(t, "notice")
	w.set(func() {
		w.connections = []string{alice}
		w.unreachable = []string{"bbbbbbbbbb"}
	})
	w.publish(t, "open", alice, "1", `{}`)
	if s := w.wait(t, "connections"); len(s.to) != 2 {
		t.Errorf("list to %v, want also those whose node did not answer", s.to)
	}
}

func TestSlowPageIsToldThatLinesAreMissing(t *testing.T) {
	w := newWorld(t, alice)
	w.run(t)
	w.wait(t, "notice") // of the start
	w.publish(t, "writable", alice, "2", `{"buffered_amount":0}`)
	if s := w.wait(t, "notice"); !slices.Equal(s.to, []string{alice}) || !strings.Contains(s.body["text"].(string), "missing") {
		t.Errorf("%v to %v", s.body, s.to)
	}
}

func TestClosingIsNamed(t *testing.T) {
	for payload, want := range map[string]string{
		`{"code":4000,"sent_code":4000,"sent_reason":"bye","cause":"BACKEND_CLOSE"}`: `BACKEND_CLOSE 4000 "bye"`,
		`{"code":1006,"cause":"TRANSPORT_ERROR"}`:                                    "TRANSPORT_ERROR 1006",
	} {
		if got := closing([]byte(payload)); got != want {
			t.Errorf("closing(%s) = %s, want %s", payload, got, want)
		}
	}
	if got := closing([]byte("no JSON")); !strings.HasPrefix(got, "unreadable") {
		t.Errorf("closing of no JSON = %s", got)
	}
}

func TestFeedIsBounded(t *testing.T) {
	var f feed
	for range maxFeed + 5 {
		f.add(event{})
	}
	if out := f.flush(); len(out.Events) != maxFeed || out.Skipped != 5 || !f.empty() {
		t.Errorf("%d events and %d skipped", len(out.Events), out.Skipped)
	}
}

// TestServersMayBeAway: nothing listens; Run waits, and ends when it is told to.
func TestServersMayBeAway(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- Run(ctx, Config{NATSURL: "nats://127.0.0.1:1", Control: "127.0.0.1:1"}) }()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

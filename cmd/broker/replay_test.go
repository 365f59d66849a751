package main_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// captured is a handshake as somebody between the client and the broker would see it, key and credential included.
func captured(path, token string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: broker.example\r\n" + upgradeFields + "Authorization: Bearer " + token + "\r\n\r\n"
}

// TestThreatReplayedHandshake: somebody sends again, byte by byte, what an honest client has sent. They get no more than
// its credential still is worth, never its connection, and no answer that was meant for it.
func TestThreatReplayedHandshake(t *testing.T) {
	t.Parallel()
	t.Run("token", replayWithToken)
	t.Run("backend", replayToBackend)
}

// A token is good until it expires, and for a connection of its own; then the same bytes are refused.
func replayWithToken(t *testing.T) {
	t.Parallel() // it waits most of the time
	b := brokertest.Start(t, brokertest.Config(t, everyPlace+"    limits: {close_timeout: 100ms}\n"))
	opened := bustest.Record(t, b.NATS, "holdfast.default.open.*")
	closed := bustest.Record(t, b.NATS, "holdfast.default.close.*")
	soon := float64(time.Now().Add(5*time.Second).UnixMilli()) / 1000
	request := captured("/", issue(t, map[string]any{"exp": soon}))
	for range 2 {
		if resp := raw(t, "tcp", address(b.URL("")), request); resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("while the token is good: %s", resp.Status)
		}
	}
	if both := opened.Wait(2); subjectID(both[0].Subject) == subjectID(both[1].Subject) {
		t.Error("a replay has the ID of the connection that it repeats")
	}
	for _, m := range closed.Wait(2) {
		if !strings.Contains(string(m.Data), `"cause":"EXPIRED"`) {
			t.Errorf("the close event is %s", m.Data)
		}
	}
	if resp := raw(t, "tcp", address(b.URL("")), request); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("when the token has expired: %s", resp.Status)
	}
	if n := metric(t, b, `holdfast_admission_refused_total{reason="expired"}`); n != "1" {
		t.Errorf("%q refusals are counted", n)
	}
}

// A backend is asked about each, by an ID of its own; what it said of the first lets nobody else in.
func replayToBackend(t *testing.T) {
	t.Parallel()
	d := newDoor(t, patientAdmission)
	opened := bustest.Record(t, d.NATS, "holdfast.chat.open.*")
	asked := d.handshakes()
	request := captured("/chat/lobby", "ticket-for-one-entry")
	knock := func() <-chan answer {
		answered := make(chan answer, 1)
		go func() { answered <- raw(t, "tcp", address(d.URL("")), request) }()
		return answered
	}
	honest := knock()
	first := next(t, asked)
	if err := first.Respond([]byte(`{"accept":{"user":"ann"}}`)); err != nil {
		t.Fatal(err)
	}
	if resp := next(t, honest); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the honest one is answered with %s", resp.Status)
	}
	replay := knock()
	second := next(t, asked)
	var one, two holdfastv1.Handshake
	for m, h := range map[string]*holdfastv1.Handshake{string(first.Data): &one, string(second.Data): &two} {
		if err := protojson.Unmarshal([]byte(m), h); err != nil {
			t.Fatal(err)
		}
	}
	if one.GetConnectionId() == two.GetConnectionId() || first.Reply == second.Reply {
		t.Errorf("asked twice about %s, to be answered at %s", one.GetConnectionId(), first.Reply)
	}
	// The answer is replayed, too: at its own place, and with the ID of the first put into that of the second.
	crossed := strings.Replace(second.Reply, two.GetConnectionId(), one.GetConnectionId(), 1)
	for _, subject := range []string{first.Reply, crossed} {
		if err := d.nats.Publish(subject, []byte(`{"accept":{"user":"ann"}}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.Respond([]byte(`{"refuse":{}}`)); err != nil {
		t.Fatal(err)
	}
	if resp := next(t, replay); resp.StatusCode != http.StatusForbidden {
		t.Errorf("the replay is answered with %s", resp.Status)
	}
	opened.Wait(1)
	if n := len(opened.Messages()); n != 1 {
		t.Errorf("%d connections were opened", n)
	}
	d.untilMetric(`holdfast_handshake_answers_dropped_total{why="late"}`, "2")
}

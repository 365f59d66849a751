package main_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const twoTenants = `
endpoints:
  - path: /red/{name...}
    namespace: red
    subprotocols: ["*"]
    event_attributes: [a]
    keep_headers: [User-Agent, X-Hostile]
  - path: /blue
    namespace: blue
`

// redSubject is what every event of the namespace red is published to.
var redSubject = regexp.MustCompile(`^holdfast\.red\.(open|message|close)\.[a-z2-7]{10}-[a-z2-7]{16}$`)

// Whatever a client says of itself, its events stay where those of its namespace are, and get no header that is not
// ours.
func TestThreatSubjectInjectionByAClient(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, twoTenants))
	events := bustest.Record(t, b.NATS, "holdfast.>")
	hostile := []string{"blue", "..%2Fblue", "blue.open.x", "%2A", "%3E", "a%20b", "a%0D%0APUB%20x", "%00", "%C3%A9", strings.Repeat("x", 10<<10)}
	accepted := 0
	for _, name := range hostile {
		header := http.Header{"User-Agent": {"holdfast.blue.open.x"}, "X-Hostile": {"> * blue\t" + strings.Repeat("y", 10<<10)}, "Sec-Websocket-Protocol": {"*, holdfast.blue.open.x"}}
		peer, resp := wstest.TryDial(t, b.URL("/red/"+name+"?ns=blue&a=%0A"), header)
		if resp.StatusCode != http.StatusSwitchingProtocols {
			if resp.StatusCode < 400 || resp.StatusCode >= 500 {
				t.Errorf("%.40s: %s", name, resp.Status)
			}
			continue
		}
		accepted++
		peer.Send(wstest.Text("holdfast.blue.message.x"))
	}
	if accepted == 0 {
		t.Fatal("all were refused")
	}
	for _, m := range events.Wait(2 * accepted) {
		if !redSubject.MatchString(m.Subject) {
			t.Errorf("an event on %.200q", m.Subject)
		}
		for name := range m.Header {
			if !strings.HasPrefix(name, "Holdfast-") && name != nats.MsgIdHdr {
				t.Errorf("an event with the header %q", name)
			}
		}
	}
}

// A backend of one namespace that names connections and groups of another, on its own subjects, reaches nobody; nor does
// an attribute become a header.
func TestThreatGroupInjectionByABackend(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, twoTenants))
	events := bustest.Record(t, b.NATS, "holdfast.>")
	blue, red := wstest.Dial(t, b.URL("/blue"), nil), wstest.Dial(t, b.URL("/red/x"), nil)
	events.Wait(2)
	ids := make(map[string]string)
	for _, m := range events.Messages() {
		tokens := strings.Split(m.Subject, ".")
		ids[tokens[1]] = tokens[3]
	}
	groups := holdfastv1.NewGroupServiceClient(b.GRPC())
	for _, namespace := range []string{"red", "blue"} {
		request := &holdfastv1.AddMembersRequest{Namespace: namespace, Groups: []string{"lobby"}, ConnectionIds: []string{ids[namespace]}}
		if _, err := groups.AddMembers(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	nc := bustest.Dial(t, b.NATS)
	verdict := func(subject string) string {
		t.Helper()
		m, err := nc.Request(subject, []byte("for blue"), brokertest.Patience)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		return string(m.Data)
	}
	for _, subject := range []string{
		"holdfast-in.red.reply." + b.Node + "." + ids["blue"] + ".t",
		"holdfast-in.RED.reply." + b.Node + "." + ids["blue"] + ".b",
	} {
		if got := verdict(subject); !strings.Contains(got, "NOT_FOUND") {
			t.Errorf("%s answers %s", subject, got)
		}
	}
	for _, subject := range []string{"holdfast-in.red.group.lobby", "holdfast-in.red.group.lobby.blue", "holdfast-in.red.blue.group.lobby"} {
		if err := nc.Publish(subject, []byte("for red")); err != nil {
			t.Fatal(err)
		}
	}
	red.Expect(wire.Text, "for red")
	injected := "x\r\nHoldfast-User: root\r\n\r\n"
	client := holdfastv1.NewConnectionServiceClient(b.GRPC())
	_, err := client.Update(t.Context(), &holdfastv1.UpdateRequest{ConnectionId: ids["red"], SetAttributes: map[string]string{"a": injected}})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("an attribute for events may be %q: %v", injected, err)
	}
	if _, err := client.Send(t.Context(), &holdfastv1.SendRequest{ConnectionId: ids["blue"], Message: &holdfastv1.Message{Payload: &holdfastv1.Message_Text{Text: "the first"}}}); err != nil {
		t.Fatal(err)
	}
	blue.Expect(wire.Text, "the first")
}

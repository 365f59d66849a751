package doctest_test

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// ending is what the tests read of a close event.
type ending struct {
	Cause    string `json:"cause"`
	Fault    string `json:"fault"`
	SentCode int    `json:"sent_code"`
}

func endingOf(t *testing.T, m *nats.Msg) (e ending) {
	t.Helper()
	if err := json.Unmarshal(m.Data, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// seen reads until the connection ends and answers the close code that a browser would tell.
func seen(peer *wstest.Peer) int {
	for {
		f, err := peer.TryReceive()
		if err != nil {
			return wire.AbnormalClosure
		}
		if f.Opcode == wire.Close {
			code, _, _ := wire.ParseClose(f.Payload)
			return int(code)
		}
	}
}

const impatient = `
endpoints:
  - path: /
    limits: {message_size: 1KiB, send_queue: 1KiB, send_queue_policy: close}
  - path: /silent
    heartbeat: {interval: 100ms, timeout: 100ms}
  - path: /idle
    limits: {idle_timeout: 1s}
  - path: /rated
    rates: {messages: 1, policy: close}
`

// causes end a connection in every way that can be brought about from outside.
var causes = map[string]func(t *testing.T, b *brokertest.Broker, peer *wstest.Peer, id string){
	"PEER_CLOSE": func(_ *testing.T, _ *brokertest.Broker, peer *wstest.Peer, _ string) {
		peer.Send(wstest.Close(4000, ""))
	},
	"BACKEND_CLOSE": func(t *testing.T, b *brokertest.Broker, _ *wstest.Peer, id string) {
		request := &holdfastv1.CloseRequest{ConnectionId: id, Confirmation: holdfastv1.Confirmation_QUEUED}
		if _, err := control(b).Close(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	},
	"BACKEND_TERMINATE": func(t *testing.T, b *brokertest.Broker, _ *wstest.Peer, id string) {
		if _, err := control(b).Terminate(t.Context(), &holdfastv1.TerminateRequest{ConnectionId: id}); err != nil {
			t.Fatal(err)
		}
	},
	"MESSAGE_TOO_LARGE": func(_ *testing.T, _ *brokertest.Broker, peer *wstest.Peer, _ string) {
		peer.Send(wstest.Binary(make([]byte, 1025)))
	},
	"SLOW_CONSUMER": func(t *testing.T, b *brokertest.Broker, _ *wstest.Peer, id string) {
		sends := make([]*holdfastv1.SendRequest, 4096)
		for i := range sends {
			sends[i] = &holdfastv1.SendRequest{ConnectionId: id, Message: text(strings.Repeat("x", 1024))}
		}
		stream, err := control(b).SendStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for {
			if err := stream.Send(&holdfastv1.SendStreamRequest{Sends: sends}); err != nil {
				t.Fatal(err)
			}
			answer, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if len(answer.Failures) > 0 {
				if r := answer.Failures[0].Reason; r != holdfastv1.ErrorReason_CONNECTION_CLOSING {
					t.Errorf("the send fails with %s", r)
				}
				return
			}
		}
	},
	"MESSAGE_ABANDONED": func(t *testing.T, b *brokertest.Broker, _ *wstest.Peer, id string) {
		stream, err := control(b).SendStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		begun := text("half a mes")
		begun.More = true
		request := &holdfastv1.SendStreamRequest{Sends: []*holdfastv1.SendRequest{{ConnectionId: id, Message: begun}}}
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
	},
	"PING_TIMEOUT": func(*testing.T, *brokertest.Broker, *wstest.Peer, string) {}, // it answers no ping
	"IDLE_TIMEOUT": func(*testing.T, *brokertest.Broker, *wstest.Peer, string) {},
	"RATE_LIMITED": func(_ *testing.T, _ *brokertest.Broker, peer *wstest.Peer, _ string) {
		peer.Send(wstest.Text("1"), wstest.Text("2"), wstest.Text("3"))
	},
	"EXPIRED": func(t *testing.T, b *brokertest.Broker, _ *wstest.Peer, id string) {
		request := &holdfastv1.UpdateRequest{ConnectionId: id, ExpireTime: soon()}
		if _, err := control(b).Update(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	},
	"NODE_LOST": func(t *testing.T, b *brokertest.Broker, _ *wstest.Peer, _ string) {
		b.Signal(syscall.SIGKILL)
		brokertest.Start(t, "--nats-url="+b.NATS, shortLease)
	},
	"NODE_DRAIN":      func(_ *testing.T, b *brokertest.Broker, _ *wstest.Peer, _ string) { b.Signal(sigterm) },
	"TRANSPORT_ERROR": func(_ *testing.T, _ *brokertest.Broker, peer *wstest.Peer, _ string) { _ = peer.Close() },
}

// endpointOf are the causes that need an endpoint of their own.
var endpointOf = map[string]string{"PING_TIMEOUT": "/silent", "IDLE_TIMEOUT": "/idle", "RATE_LIMITED": "/rated"}

// elsewhere are causes that this does not bring about.
var elsewhere = map[string]string{
	"PROTOCOL_FAULT": "TestFaultsAreThoseOfTheTable",
	"INTERNAL":       "it takes a defect",
}

// shortLease is soon over, but not while the machine stands still for a second.
const shortLease = "--lease-duration=4s"

func TestCausesAreThoseOfTheTable(t *testing.T) {
	server := bustest.Server(t) // it outlives the broker, whose last events are looked at
	documented := make(map[string]row)
	for _, r := range read(t, operating).table(t, "Causes") {
		documented[bare(r["cause"])] = r
	}
	for name, n := range holdfastv1.Closed_Cause_value {
		_, there := documented[name]
		switch _, run := causes[name]; {
		case n == 0:
			continue
		case !there:
			t.Errorf("the table lacks %s", name)
		case run == (elsewhere[name] != ""):
			t.Errorf("%s is neither run nor said to be elsewhere", name)
		}
	}
	for name, end := range causes {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t, brokertest.Config(t, impatient), "--nats-url="+server, "--drain-timeout=2s", shortLease)
			peer := wstest.Dial(t, b.URL(cmp.Or(endpointOf[name], "/")), nil)
			id := onlyConnection(t, b)
			events := bustest.Record(t, server, "holdfast.default.close."+id) // others may be repeated
			end(t, b, peer, id)
			code := seen(peer)
			if sees := documented[name]["the client sees"]; name != "PEER_CLOSE" && !strings.Contains(sees, strconv.Itoa(code)) {
				t.Errorf("the client sees %d, the document has %q", code, sees)
			}
			_ = peer.Close()
			if got := endingOf(t, events.Wait(1)[0]).Cause; got != name {
				t.Errorf("the cause is %s", got)
			}
		})
	}
}

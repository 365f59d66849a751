package doctest_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const operating = "docs/operating.md"

func readyLine(t *testing.T, s snippet) {
	b := brokertest.Start(t)
	line, err := json.Marshal(b.Ready)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(s.text))
	d.DisallowUnknownFields()
	var documented brokertest.Ready
	if err := d.Decode(&documented); err != nil || keys(t, string(line)) != keys(t, s.text) {
		t.Errorf("%v; the ready line is %s", err, line)
	}
	if len(documented.Node) != len(b.Node) {
		t.Errorf("a node is %s", b.Node)
	}
}

func health(t *testing.T, s snippet) {
	b := brokertest.Start(t)
	out := bash(t, "", here(b, s.text)).end()
	if !strings.Contains(out, "ready\n") || !strings.Contains(out, `"status": "SERVING"`) {
		t.Errorf("it says:\n%s", out)
	}
}

// permissions runs the three parties with a NATS server that has this configuration.
func permissions(t *testing.T, s snippet) {
	server := bustest.StartProcess(t, "-c", write(t, t.TempDir(), "nats.conf", s.text))
	as := func(user, password string) string {
		return strings.Replace(server.URL, "nats://", "nats://"+user+":"+password+"@", 1)
	}
	b := brokertest.Start(t, "--nats-url="+as("broker", "change-me-1"))
	events := bustest.Record(t, as("listener", "change-me-2"), "holdfast.>")
	denied := make(chan error, 16)
	listener := bustest.Dial(t, as("listener", "change-me-2"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		denied <- err
	}))
	replier := bustest.Dial(t, as("replier", "change-me-3"))
	sub, err := replier.QueueSubscribeSync("holdfast.default.message.*", "workers")
	if err != nil {
		t.Fatal(err)
	}
	if err := replier.Flush(); err != nil {
		t.Fatal(err)
	}
	peer := wstest.Dial(t, b.URL("/"), nil)
	peer.Send(wstest.Text("hi"))
	if got := events.Wait(2); string(got[1].Data) != "hi" {
		t.Errorf("the listener heard %q", got[1].Data)
	}
	m, err := sub.NextMsg(brokertest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := verdict(t, replier, &nats.Msg{Subject: m.Reply, Data: []byte("asked")}); text != `{"code":"OK"}` {
		t.Errorf("the verdict is %s", text)
	}
	peer.Expect(wire.Text, "asked")
	if err := m.Respond([]byte("plain")); err != nil {
		t.Fatal(err)
	}
	peer.Expect(wire.Text, "plain")
	for _, subject := range []string{m.Reply, m.Subject} {
		if err := listener.Publish(subject, []byte("forbidden")); err != nil {
			t.Fatal(err)
		}
		if err := <-denied; !strings.Contains(err.Error(), "ermissions") {
			t.Error(err)
		}
	}
	if n := sample(t, b, "holdfast_bus_denied_total"); n != 0 {
		t.Errorf("the broker lacks %v permissions", n)
	}

	poor := brokertest.Start(t, "--nats-url="+as("listener", "change-me-2"))
	wstest.Dial(t, poor.URL("/"), nil)
	eventually(t, "what is missing is counted and logged", func() bool {
		return sample(t, poor, "holdfast_bus_denied_total") > 0 && strings.Contains(poor.Stderr(), "level=ERROR")
	})
}

// A NATS server as it comes: what the document says of its max_payload.
func TestTheLimitOfAnOrdinaryNATSServer(t *testing.T) {
	const limit = 1044480
	if !strings.Contains(read(t, operating).text, "1,044,480 bytes") {
		t.Fatal("the document has another number")
	}
	server := bustest.StartProcess(t)
	b := brokertest.Start(t, "--nats-url="+server.URL)
	eventually(t, "a warning", func() bool { return strings.Contains(b.Stderr(), "limit_bytes="+strconv.Itoa(limit)) })
	events := bustest.Record(t, server.URL, "holdfast.default.message.*")
	peer := wstest.Dial(t, b.URL("/"), nil)
	peer.Send(wstest.Binary(make([]byte, limit)))
	if got := len(events.Wait(1)[0].Data); got != limit {
		t.Errorf("%d bytes came", got)
	}
	peer.Send(wstest.Binary(make([]byte, limit+1)))
	peer.ExpectClose(wire.MessageTooBig)
}

// What the document says of the time while NATS is away.
func TestWhileNATSIsAway(t *testing.T) {
	server := bustest.StartProcess(t)
	b := brokertest.Start(t, "--nats-url="+server.URL)
	peer := wstest.Dial(t, b.URL("/"), nil)
	id := onlyConnection(t, b)
	server.Terminate()
	eventually(t, "it is not ready", func() bool {
		status, body := get(t, b.Ops+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "no connection to NATS")
	})
	if status, _ := get(t, b.Ops+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
	healthy, err := healthv1.NewHealthClient(b.GRPC()).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || healthy.Status != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("gRPC health: %v, %v", healthy, err)
	}
	if _, err := control(b).Send(t.Context(), &holdfastv1.SendRequest{ConnectionId: id, Message: text("still here")}); err != nil {
		t.Error(err)
	}
	peer.Expect(wire.Text, "still here")
	peer.Send(wstest.Text("kept"))
	eventually(t, "the event waits", func() bool { return sample(t, b, "holdfast_outbox_bytes") > 0 })
	server.Start()
	eventually(t, "it is ready", func() bool {
		status, _ := get(t, b.Ops+"/readyz")
		return status == http.StatusOK
	})
	eventually(t, "the event was published", func() bool { return sample(t, b, "holdfast_outbox_bytes") == 0 })
}

// The last rows of the table of limits that only the whole broker shows.
func TestARequestThatIsTooLargeHasNoReason(t *testing.T) {
	b := brokertest.Start(t)
	_, err := control(b).Send(t.Context(), &holdfastv1.SendRequest{ConnectionId: "x", Message: text(strings.Repeat("x", 9<<20))})
	if s := status.Convert(err); s.Code() != codes.ResourceExhausted || len(s.Details()) != 0 {
		t.Errorf("it answers %v", err)
	}
}

package doctest_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

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

// A NATS server as it comes: what the document says of its max_payload.
func TestTheLimitOfAnOrdinaryNATSServer(t *testing.T) {
	const limit = 1044480
	if !strings.Contains(read(t, clusterDocument).text, "1,044,480 bytes") {
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

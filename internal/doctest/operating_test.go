package doctest_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
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

// metric is a family as /metrics serves it.
type metric struct{ Kind, Labels string }

func scrape(t *testing.T, b *brokertest.Broker) string {
	t.Helper()
	_, body := get(t, b.Ops+"/metrics")
	return body
}

var (
	family = regexp.MustCompile(`(?m)^# TYPE (holdfast_\w+) (\w+)$`)
	label  = regexp.MustCompile(`(\w+)="`)
)

func ownMetrics(t *testing.T, b *brokertest.Broker) map[string]metric {
	t.Helper()
	text, all := scrape(t, b), make(map[string]metric)
	for _, m := range family.FindAllStringSubmatch(text, -1) {
		line := regexp.MustCompile(`(?m)^` + m[1] + `(\{.*\})? `).FindString(text)
		var labels []string
		for _, l := range label.FindAllStringSubmatch(line, -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		all[m[1]] = metric{m[2], strings.Join(labels, " ")}
	}
	return all
}

// sample is the value of a metric without labels.
func sample(t *testing.T, b *brokertest.Broker, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` (.*)$`).FindStringSubmatch(scrape(t, b))
	if m == nil {
		t.Fatalf("no metric %s", name)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// crowded has an endpoint that is soon full.
const crowded = `
endpoints:
  - path: /
  - path: /full
    limits: {connections: 1}
  - path: /one-each
    limits: {connections_per_ip: 1}
  - path: /spoken
    subprotocols: [ours]
    subprotocol_required: true
`

// stimulated is a broker that serves a sample of every metric, also of those whose labels appear only when
// something has happened.
func stimulated(t *testing.T) *brokertest.Broker {
	t.Helper()
	files := withCertificate(t)
	b := brokertest.Start(t, brokertest.Config(t, crowded),
		"--listen=127.0.0.1:0?cert="+filepath.Join(files, "tls.crt")+"&key="+filepath.Join(files, "tls.key"))
	write(t, files, "tls.crt", "no certificate")
	eventually(t, "changed files are looked at", func() bool {
		_ = wstest.Dial(t, b.Listen[1]+"/", nil).Close()
		return strings.Contains(scrape(t, b), "holdfast_tls_reloads_total{")
	})
	wstest.Dial(t, b.URL("/full"), nil)
	refused(t, b.URL("/full"))
	peer := wstest.Dial(t, b.URL("/"), nil)
	if _, err := control(b).Count(t.Context(), &holdfastv1.CountRequest{}); err != nil {
		t.Fatal(err)
	}
	refused(t, b.URL("/nothing"))
	peer.Send(wstest.Frame{Opcode: 3})
	peer.ExpectClose(wire.ProtocolError)
	_ = peer.Close()
	nc := bustest.Dial(t, b.NATS)
	verdict(t, nc, &nats.Msg{Subject: "holdfast-in.default.reply." + b.Node + ".nobody.t"})
	eventually(t, "the fault is counted", func() bool { return strings.Contains(scrape(t, b), "holdfast_protocol_faults_total{") })
	return b
}

// refused is a handshake that is not accepted.
func refused(t *testing.T, url string) {
	t.Helper()
	_, answer := wstest.TryDial(t, url, nil)
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols {
		t.Errorf("%s is accepted", url)
	}
}

func TestMetricsAreThoseOfTheTable(t *testing.T) {
	b := stimulated(t)
	documented := make(map[string]metric)
	for _, r := range read(t, operating).table(t, "Metrics") {
		labels := words(r["labels"])
		slices.Sort(labels)
		documented[bare(r["metric"])] = metric{r["type"], strings.Join(labels, " ")}
		if r["how to read it"] == "" {
			t.Errorf("%s: how is it read?", r["metric"])
		}
	}
	if diff := gocmp.Diff(ownMetrics(t, b), documented); diff != "" {
		t.Errorf("metrics (-served +documented):\n%s", diff)
	}
}

// fault is something that a client can do wrong.
type fault struct {
	name  string
	bytes []byte
}

func frames(all ...wstest.Frame) (b []byte) {
	for _, f := range all {
		b = f.Append(b)
	}
	return b
}

// strict has limits that are quick to break.
const strict = `
endpoints:
  - path: /
    limits: {message_size: 1KiB, fragments: 2}
`

func faults() []fault {
	long := strings.Repeat("x", 126)
	part := wstest.Frame{Opcode: wire.Text, NoFin: true}
	mask := "\x00\x00\x00\x00"
	return []fault{
		{"EXPECTED_FIN", frames(wstest.Frame{Opcode: wire.Ping, NoFin: true})},
		{"EXPECTED_MASK", frames(wstest.Frame{Opcode: wire.Text, Unmasked: true})},
		{"INVALID_CLOSE_CODE", frames(wstest.Close(1005, ""))},
		{"INVALID_CLOSE_CODE", frames(wstest.Close(5000, ""))},
		{"INVALID_CONTROL_PAYLOAD_LENGTH", frames(wstest.Ping(long))},
		{"INVALID_CONTROL_PAYLOAD_LENGTH", frames(wstest.Frame{Opcode: wire.Close, Payload: []byte{3}})},
		{"INVALID_OPCODE", frames(wstest.Frame{Opcode: 3})},
		{"INVALID_OPCODE", frames(wstest.Frame{Opcode: wire.Continuation})},
		{"INVALID_OPCODE", frames(part, wstest.Text("another"))},
		{"INVALID_UTF8", frames(wstest.Frame{Opcode: wire.Text, Payload: []byte{0xff}})},
		{"INVALID_UTF8", frames(wstest.Close(1000, "\xff"))},
		{"TOO_MANY_FRAGMENTS", frames(part, wstest.Frame{Opcode: wire.Continuation, NoFin: true}, wstest.Frame{Opcode: wire.Continuation})},
		{"UNEXPECTED_RSV_1", frames(wstest.Frame{Opcode: wire.Text, RSV1: true})},
		{"UNEXPECTED_RSV_2_3", frames(wstest.Frame{Opcode: wire.Text, RSV2: true})},
		{"UNEXPECTED_RSV_2_3", frames(wstest.Frame{Opcode: wire.Text, RSV3: true})},
		{"UNSUPPORTED_DATA_PAYLOAD_LENGTH", []byte("\x81\xfe\x00\x05" + mask + "hello")},
		{"UNSUPPORTED_DATA_PAYLOAD_LENGTH", []byte("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00" + mask)},
		{"UNSUPPORTED_MESSAGE_LENGTH", frames(wstest.Binary(make([]byte, 1025)))},
	}
}

// ruleOf reads the bytes as the broker does and answers the section of the rule that they break.
func ruleOf(t *testing.T, input []byte) string {
	t.Helper()
	var r wire.Reader
	r.Reset(&wire.ReaderConfig{MessageLimit: 1 << 10, FragmentLimit: 2})
	input = bytes.Clone(input) // it is unmasked in place
	for len(input) > 0 {
		_, n, fault := r.Next(input)
		if fault != nil {
			return fault.Section
		}
		input = input[n:]
	}
	t.Fatal("no fault")
	return ""
}

func TestFaultsAreThoseOfTheTable(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, strict))
	documented := make(map[string]row)
	for _, r := range read(t, operating).table(t, "Faults") {
		documented[bare(r["fault"])] = r
	}
	for name, n := range holdfastv1.Closed_Fault_value {
		if _, there := documented[name]; !there && n != 0 {
			t.Errorf("the table lacks %s", name)
		}
	}
	seen := map[string][]string{"INVALID_COMPRESSED_DATA": {wire.FaultInvalidCompressedData.Section}}
	for _, f := range faults() {
		seen[f.name] = append(seen[f.name], ruleOf(t, f.bytes))
		code, err := strconv.ParseUint(documented[f.name]["close code"], 10, 16)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		events := bustest.Record(t, b.NATS, "holdfast.default.close.*")
		peer := wstest.Dial(t, b.URL("/"), nil)
		peer.Raw(f.bytes)
		peer.ExpectClose(uint16(code))
		_ = peer.Close()
		want := ending{Cause: "PROTOCOL_FAULT", Fault: f.name, SentCode: int(code)}
		if f.name == "UNSUPPORTED_MESSAGE_LENGTH" {
			want.Cause = "MESSAGE_TOO_LARGE"
		}
		if diff := gocmp.Diff(want, endingOf(t, events.Wait(1)[0])); diff != "" {
			t.Errorf("%s: close event (-documented +published):\n%s", f.name, diff)
		}
	}
	for name, r := range documented {
		broken := seen[name]
		slices.Sort(broken)
		if diff := gocmp.Diff(slices.Compact(broken), sections(r["rule"])); diff != "" {
			t.Errorf("%s: rules (-broken +documented):\n%s", name, diff)
		}
	}
}

// sections makes "RFC 6455 5.2" and "RFC 6455 5.4" of "RFC 6455 5.2, 5.4".
func sections(rule string) (all []string) {
	rfc, numbers := rule[:min(len(rule), len("RFC 6455 "))], rule[min(len(rule), len("RFC 6455 ")):]
	for number := range strings.SplitSeq(numbers, ", ") {
		all = append(all, rfc+number)
	}
	slices.Sort(all)
	return all
}

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
	"NODE_DRAIN":      func(_ *testing.T, b *brokertest.Broker, _ *wstest.Peer, _ string) { b.Signal(sigterm) },
	"TRANSPORT_ERROR": func(_ *testing.T, _ *brokertest.Broker, peer *wstest.Peer, _ string) { _ = peer.Close() },
}

// endpointOf are the causes that need an endpoint of their own.
var endpointOf = map[string]string{"PING_TIMEOUT": "/silent", "IDLE_TIMEOUT": "/idle", "RATE_LIMITED": "/rated"}

// elsewhere are causes that this does not bring about.
var elsewhere = map[string]string{
	"PROTOCOL_FAULT": "TestFaultsAreThoseOfTheTable",
	"INTERNAL":       "it takes a defect",
	"NODE_LOST":      "not in this version",
}

func TestCausesAreThoseOfTheTable(t *testing.T) {
	server := bustest.Server(t) // it outlives the broker, whose last events are looked at
	documented := make(map[string]row)
	for _, r := range read(t, operating).table(t, "Causes") {
		documented[bare(r["cause"])] = r
	}
	for name, n := range holdfastv1.Closed_Cause_value {
		r, there := documented[name]
		switch _, run := causes[name]; {
		case n == 0:
			continue
		case !there:
			t.Errorf("the table lacks %s", name)
		case run == (elsewhere[name] != ""):
			t.Errorf("%s is neither run nor said to be elsewhere", name)
		case (elsewhere[name] == "not in this version") != (r["what happened"] == "not in this version"):
			t.Errorf("%s: is it in this version?", name)
		}
	}
	for name, end := range causes {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Start(t, brokertest.Config(t, impatient), "--nats-url="+server, "--drain-timeout=2s")
			events := bustest.Record(t, server, "holdfast.default.close.*")
			peer := wstest.Dial(t, b.URL(cmp.Or(endpointOf[name], "/")), nil)
			end(t, b, peer, onlyConnection(t, b))
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

// handshake is a good one with changes: a header that is set to nothing is left out.
func handshake(start string, changes ...string) string {
	header := map[string]string{
		"Host": "broker", "Upgrade": "websocket", "Connection": "Upgrade",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	}
	var more strings.Builder
	for _, change := range changes {
		name, value, _ := strings.Cut(change, ": ")
		if _, known := header[name]; known {
			header[name] = value
		} else {
			more.WriteString(change + "\r\n")
		}
	}
	for name, value := range header {
		if value != "" {
			more.WriteString(name + ": " + value + "\r\n")
		}
	}
	return start + "\r\n" + more.String() + "\r\n"
}

// refusals are requests that the table says something about.
func refusals() map[string][]string {
	const get = "GET / HTTP/1.1"
	return map[string][]string{
		"400": {
			handshake("GET / HTTP/1.0"), handshake(get, "Sec-WebSocket-Key: short"), handshake(get, "Content-Length: 1") + "x",
			handshake(get, "Origin: http://broker", "Origin: http://broker"), handshake(get, "Sec-WebSocket-Protocol: a b"),
			handshake("GET /spoken HTTP/1.1", "Sec-WebSocket-Protocol: theirs"),
		},
		"403": {handshake(get, "Origin: http://elsewhere")},
		"404": {handshake("GET /nothing HTTP/1.1"), handshake("GET /nothing HTTP/1.1", "Upgrade: ")},
		"405": {handshake("POST / HTTP/1.1")},
		"426": {handshake(get, "Upgrade: "), handshake(get, "Connection: close"), handshake(get, "Sec-WebSocket-Version: 12")},
		"429": {handshake("GET /one-each HTTP/1.1")},
		"503": {handshake("GET /full HTTP/1.1")},
		"431": {handshake(get, "X: "+strings.Repeat("x", 80<<10))},
		"307": {handshake("GET //chat HTTP/1.1"), handshake("GET /a/../chat HTTP/1.1")},
	}
}

func TestRefusedHandshakesAreThoseOfTheTable(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, crowded)) // whose clients keep it waiting when it stops
	for _, path := range []string{"/full", "/one-each"} {
		wstest.Dial(t, b.URL(path), nil)
	}
	var documented []string
	for _, r := range read(t, operating).table(t, "Refused handshakes") {
		documented = append(documented, r["status"])
	}
	var got []string
	for want, requests := range refusals() {
		if want != "307" {
			got = append(got, want)
		}
		for _, request := range requests {
			answer := ask(t, b, request)
			if header := "Retry-After: "; strings.Contains(answer, header) != (want == "429" || want == "503") {
				t.Errorf("%s with or without Retry-After: %q", want, answer)
			}
			if !strings.Contains(answer[:min(len(answer), 12)], " "+want) || strings.HasPrefix(want, "4") && want != "431" && !oneLine(answer) {
				t.Errorf("%.100q is answered with %q, the document has %s", request, answer, want)
			}
		}
	}
	counted := scrape(t, b)
	for _, status := range documented {
		if there := strings.Contains(counted, `status="`+status+`"`); there == (status == "431") {
			t.Errorf("%s is counted: %v", status, there)
		}
	}
	b.Signal(sigterm)
	eventually(t, "/readyz says no", func() bool {
		status, body := get(t, b.Ops+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	eventually(t, "handshakes are refused", func() bool {
		answer := ask(t, b, handshake("GET / HTTP/1.1"))
		return strings.HasPrefix(answer, "HTTP/1.1 503 ") && strings.Contains(answer, "Retry-After: 1\r\n")
	})
	b.Signal(sigterm) // the clients are not waited for
	if code := b.Wait(); code != 1 {
		t.Errorf("after a second signal the exit code is %d", code)
	}
	slices.Sort(got)
	if diff := gocmp.Diff(got, documented); diff != "" {
		t.Errorf("statuses (-tried +documented):\n%s", diff)
	}
}

// oneLine reports whether the answer closes the connection and has a body of one line.
func oneLine(answer string) bool {
	header, body, _ := strings.Cut(answer, "\r\n\r\n")
	return strings.Contains(header, "close") && strings.Count(body, "\n") == 1 && strings.HasSuffix(body, "\n")
}

func ask(t *testing.T, b *brokertest.Broker, request string) string {
	t.Helper()
	c := dial(t, b)
	defer c.Close()
	if _, err := c.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(brokertest.Patience))
	var answer bytes.Buffer
	for !strings.Contains(answer.String(), "\r\n\r\n") || !whole(answer.String()) {
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		answer.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return answer.String()
}

var contentLength = regexp.MustCompile(`Content-Length: (\d+)`)

// whole reports whether an answer has come with its body.
func whole(answer string) bool {
	header, body, _ := strings.Cut(answer, "\r\n\r\n")
	m := contentLength.FindStringSubmatch(header)
	return m != nil && strconv.Itoa(len(body)) == m[1]
}

// The last rows of the table of limits that only the whole broker shows.
func TestARequestThatIsTooLargeHasNoReason(t *testing.T) {
	b := brokertest.Start(t)
	_, err := control(b).Send(t.Context(), &holdfastv1.SendRequest{ConnectionId: "x", Message: text(strings.Repeat("x", 9<<20))})
	if s := status.Convert(err); s.Code() != codes.ResourceExhausted || len(s.Details()) != 0 {
		t.Errorf("it answers %v", err)
	}
}

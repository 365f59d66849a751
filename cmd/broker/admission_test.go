package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// patientAdmission is for tests in which nobody may run into the timeout.
const patientAdmission = `endpoints:
- path: /chat/{room}
  namespace: chat
  subprotocols: [v1]
  admission: {mode: backend, backend: {timeout: 10s}}
`

const hastyAdmission = `endpoints:
- path: /chat/{room}
  namespace: chat
  admission: {mode: backend, backend: {timeout: 50ms}}
`

// door is a broker whose clients a backend admits, which is the test.
type door struct {
	*brokertest.Broker

	t    *testing.T
	nats *nats.Conn
}

func newDoor(t *testing.T, config string, args ...string) *door {
	b := brokertest.Start(t, append([]string{brokertest.Config(t, config)}, args...)...)
	return &door{b, t, bustest.Dial(t, b.NATS)}
}

// handshakes subscribes as a backend does.
func (d *door) handshakes() <-chan *nats.Msg {
	d.t.Helper()
	asked := make(chan *nats.Msg, 2000)
	if _, err := d.nats.ChanQueueSubscribe("holdfast-in.chat.handshake", "doors", asked); err != nil {
		d.t.Fatal(err)
	}
	d.flush()
	return asked
}

func (d *door) flush() {
	d.t.Helper()
	if err := d.nats.Flush(); err != nil {
		d.t.Fatal(err)
	}
}

// answering gives every handshake the same replies.
func (d *door) answering(replies ...string) {
	d.t.Helper()
	_, err := d.nats.Subscribe("holdfast-in.chat.handshake", func(m *nats.Msg) {
		for _, r := range replies {
			_ = m.Respond([]byte(r)) // fails when the test is over
		}
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.flush()
}

// knock begins a handshake that somebody will answer.
func (d *door) knock(header http.Header) <-chan *http.Response {
	answered := make(chan *http.Response, 1)
	go func() {
		_, resp := wstest.TryDial(d.t, d.URL("/chat/lobby"), header)
		answered <- resp
	}()
	return answered
}

func next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(brokertest.Patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func (d *door) wantCounted(reason string, n int) {
	d.t.Helper()
	if got := metric(d.t, d.Broker, `holdfast_admission_refused_total{reason="`+reason+`"}`); got != strconv.Itoa(n) {
		d.t.Errorf("%s was counted %q times, want %d", reason, got, n)
	}
}

// A backend is told everything, credentials included, and what it says of the client is in the open event; the
// credentials are not.
func TestBackendAdmits(t *testing.T) {
	d := newDoor(t, patientAdmission)
	events := bustest.Record(t, d.NATS, "holdfast.chat.>")
	asked := d.handshakes()
	answered := d.knock(http.Header{
		"Authorization": {"Bearer hunter2"}, "Cookie": {"a=1"}, "X-Odd": {"b\xff", "c"},
		"Sec-Websocket-Protocol": {"bearer.hunter2, v1, v2"}, "User-Agent": {"test"},
	})
	m := next(t, asked)
	h := &holdfastv1.Handshake{}
	if err := protojson.Unmarshal(m.Data, h); err != nil {
		t.Fatal(err)
	}
	if h.GetNamespace() != "chat" || h.GetEndpoint() != "/chat/{room}" || h.GetPathValues()["room"] != "lobby" || h.GetUrl() != "/chat/lobby" {
		t.Errorf("the handshake is %s", m.Data)
	}
	if v := h.GetHeaders(); v["Authorization"] != "Bearer hunter2" || v["Cookie"] != "a=1" || v["X-Odd"] != "b\uFFFD, c" {
		t.Errorf("its headers are %q", v)
	}
	if got := strings.Join(h.GetSubprotocols(), " "); got != "bearer.hunter2 v1 v2" {
		t.Errorf("its subprotocols are %s", got)
	}
	if h.GetLocalAddress() != address(d.URL("")) || !strings.HasPrefix(h.GetRemoteAddress(), "127.0.0.1:") || h.GetHost() != address(d.URL("")) {
		t.Errorf("its addresses are %s", m.Data)
	}
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	accept := fmt.Sprintf(`{"accept":{"user":"ann","attributes":{"tenant":"t1"},"groups":["b","a"],"subprotocol":"v2",
		"headers":[{"name":"Set-Cookie","value":"x=1"},{"name":"Set-Cookie","value":"y=2"}],"expireTime":%q,"future":{}}}`, expires.Format(time.RFC3339Nano))
	if err := m.Respond([]byte(accept)); err != nil {
		t.Fatal(err)
	}
	resp := next(t, answered)
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Protocol") != "v2" || fmt.Sprint(resp.Header["Set-Cookie"]) != "[x=1 y=2]" {
		t.Fatalf("the answer is %s with %q", resp.Status, resp.Header)
	}
	open := events.Wait(1)[0]
	c := &holdfastv1.Connection{}
	if err := protojson.Unmarshal(open.Data, c); err != nil {
		t.Fatal(err)
	}
	if c.GetId() != h.GetConnectionId() || c.GetUser() != "ann" || c.GetAttributes()["tenant"] != "t1" || strings.Join(c.GetGroups(), " ") != "a b" ||
		c.GetSubprotocol() != "v2" || !c.GetExpireTime().AsTime().Equal(expires) {
		t.Errorf("the open event is %s", open.Data)
	}
	if strings.Contains(string(open.Data), "hunter2") || strings.Contains(d.Stderr(), "hunter2") {
		t.Error("a credential is in the open event or the log")
	}
}

func TestBackendRefuses(t *testing.T) {
	d := newDoor(t, patientAdmission)
	d.answering(`{"refuse":{"status":401,"headers":[{"name":"WWW-Authenticate","value":"Bearer"},{"name":"content-type","value":"application/json"}],"body":"{}"}}`)
	_, resp := wstest.TryDial(t, d.URL("/chat/lobby"), nil)
	if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") != "Bearer" || fmt.Sprint(resp.Header["Content-Type"]) != "[application/json]" {
		t.Errorf("the answer is %s with %q", resp.Status, resp.Header)
	}
	d.wantCounted("refused", 1)
}

func TestBackendRefusesByDefaultWith403AndMayRedirect(t *testing.T) {
	for answer, want := range map[string]string{
		`{"refuse":{}}`:                         "403 Forbidden ",
		`{"refuse":{"status":599,"body":"no"}}`: "599 status code 599 ",
		`{"refuse":{"status":307,"headers":[{"name":"Location","value":"wss://eu.example.org/"}]}}`: "307 Temporary Redirect wss://eu.example.org/",
	} {
		d := newDoor(t, patientAdmission)
		d.answering(answer)
		_, resp := wstest.TryDial(t, d.URL("/chat/lobby"), nil)
		if got := resp.Status + " " + resp.Header.Get("Location"); got != want {
			t.Errorf("%s answers %q, want %q", answer, got, want)
		}
	}
}

// What is no answer is passed over, the first answer counts, and what comes behind it changes nothing.
func TestFirstAnswerCounts(t *testing.T) {
	d := newDoor(t, patientAdmission)
	d.answering("", "+OK", `{"stream":"HANDSHAKES","seq":1}`, "null", `[{"accept":{}}]`, `{"accept":{"user":"ann"}}`, `{"refuse":{}}`)
	events := bustest.Record(t, d.NATS, "holdfast.chat.open.*")
	wstest.Dial(t, d.URL("/chat/lobby"), nil)
	if open := string(events.Wait(1)[0].Data); !strings.Contains(open, `"user":"ann"`) {
		t.Errorf("the open event is %s", open)
	}
}

// An answer that breaks a rule lets nobody in, and the log names it.
func TestInvalidAnswer(t *testing.T) {
	d := newDoor(t, patientAdmission)
	d.answering(`{"accept":{"headers":[{"name":"X"},{"name":"X","value":"a\r\nSet-Cookie: hunter2"}]}}`)
	_, resp := wstest.TryDial(t, d.URL("/chat/lobby"), nil)
	if resp.StatusCode != 502 {
		t.Errorf("the answer is %s", resp.Status)
	}
	d.wantCounted("invalid_answer", 1)
	d.AwaitLog("accept.headers[1]: value of field")
	if log := d.Stderr(); strings.Contains(log, "hunter2") {
		t.Errorf("the log is %s", log)
	}
}

func TestNobodyToAsk(t *testing.T) {
	d := newDoor(t, patientAdmission)
	_, resp := wstest.TryDial(t, d.URL("/chat/lobby"), nil)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("the answer is %s with %q", resp.Status, resp.Header)
	}
	d.wantCounted("no_responder", 1)
	d.AwaitLog("no backend answers handshakes")
}

// A backend that is there and silent, or that answers too late.
func TestNobodyAnswersInTime(t *testing.T) {
	d := newDoor(t, hastyAdmission)
	asked := d.handshakes()
	_, resp := wstest.TryDial(t, d.URL("/chat/lobby"), nil)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("the answer is %s with %q", resp.Status, resp.Header)
	}
	d.wantCounted("no_answer", 1)
	if err := next(t, asked).Respond([]byte(`{"accept":{}}`)); err != nil {
		t.Fatal(err)
	}
	d.untilMetric(`holdfast_handshake_answers_dropped_total{why="late"}`, "1")
	if got := metric(t, d.Broker, "holdfast_connections_opened_total"); got != "0" {
		t.Errorf("%s connections were opened", got)
	}
}

// bashBackend is a backend that is a process of its own, hears of every handshake and answers none: bash, which speaks just
// enough of the protocol of NATS.
func (d *door) bashBackend() (backend *exec.Cmd, heard *bufio.Scanner) {
	d.t.Helper()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(d.NATS, "nats://"))
	if err != nil {
		d.t.Fatal(err)
	}
	const script = `exec 3<>"/dev/tcp/$0/$1"
printf 'CONNECT {"headers":true}\r\nSUB holdfast-in.chat.handshake doors 1\r\nPING\r\n' >&3
exec cat <&3`
	backend = exec.CommandContext(d.t.Context(), "bash", "-c", script, host, port)
	out, err := backend.StdoutPipe()
	if err == nil {
		err = backend.Start()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	heard = bufio.NewScanner(out)
	hears(d.t, heard, "PONG") // so it is subscribed
	return backend, heard
}

// hears reads until a line has that in it.
func hears(t *testing.T, lines *bufio.Scanner, part string) string {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), part) {
			return lines.Text()
		}
	}
	t.Fatalf("no line with %s: %v", part, lines.Err())
	panic("unreachable")
}

// A backend that dies over a handshake keeps its client, and who waits for that, no longer than the timeout.
func TestBackendIsKilledWhilePending(t *testing.T) {
	d := newDoor(t, strings.Replace(patientAdmission, "10s", "1s", 1))
	backend, heard := d.bashBackend()
	answered := d.knock(nil)
	question := hears(t, heard, "connection_id")
	var h struct {
		ID string `json:"connection_id"`
	}
	if err := json.Unmarshal([]byte(question), &h); err != nil {
		t.Fatalf("%q: %v", question, err)
	}
	sent := begin(t, map[string]func() error{"Send": func() error {
		_, err := holdfastv1.NewConnectionServiceClient(d.GRPC()).Send(t.Context(), textTo(h.ID, "x"))
		return err
	}})
	if err := backend.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = backend.Wait()
	if resp := next(t, answered); resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("the answer is %s with %q", resp.Status, resp.Header)
	}
	if err := next(t, sent); status.Code(err) != codes.NotFound {
		t.Errorf("a send to the connection that never was: %v", err)
	}
	d.wantCounted("no_answer", 1)
	d.untilMetric("holdfast_handshakes_asking", "0")
	d.untilMetric("holdfast_admission_waiting_calls", "0")
	if resp := next(t, d.knock(nil)); resp.StatusCode != 503 { // at once: nobody is there
		t.Errorf("the next answer is %s", resp.Status)
	}
	d.wantCounted("no_responder", 1)
}

// A node that freezes while a backend is asked answers 503 in time, and so it does to whoever comes then.
func TestNodeFreezesWhilePending(t *testing.T) {
	t.Parallel() // it waits most of the time
	server := bustest.StartProcess(t)
	b := brokertest.Start(t, brokertest.Config(t, patientAdmission), "--nats-url="+server.URL, "--lease-duration=4s", "--drain-timeout=1s")
	d := &door{b, t, bustest.Dial(t, server.URL)}
	asked := d.handshakes()
	answered := d.knock(nil)
	next(t, asked)
	server.Freeze()
	t.Cleanup(server.Thaw)
	d.untilMetric("holdfast_life_frozen", "1")
	if resp := next(t, d.knock(nil)); resp.StatusCode != 503 {
		t.Errorf("who comes to a frozen node is answered with %s", resp.Status)
	}
	if got := metric(t, b, "holdfast_handshakes_asking"); got != "1" {
		t.Errorf("%s handshakes are being asked about, want the one from before", got)
	}
	if resp := next(t, answered); resp.StatusCode != 503 {
		t.Errorf("who came before it froze is answered with %s", resp.Status)
	}
	d.untilMetric("holdfast_handshakes_asking", "0")
}

func (d *door) untilMetric(series, want string) {
	d.t.Helper()
	for deadline := time.Now().Add(brokertest.Patience); metric(d.t, d.Broker, series) != want; {
		if time.Now().After(deadline) {
			d.t.Fatalf("%s is %s, want %s", series, metric(d.t, d.Broker, series), want)
		}
	}
}

// An answer goes to its own handshake: not to another one, and not from another namespace.
func TestAnswersDoNotCross(t *testing.T) {
	d := newDoor(t, patientAdmission)
	asked := d.handshakes()
	first := d.knock(nil)
	one := next(t, asked)
	second := d.knock(nil)
	two := next(t, asked)
	forged := strings.Replace(one.Reply, "holdfast-in.chat.", "holdfast-in.other.", 1)
	for subject, answer := range map[string]string{forged: `{"accept":{}}`, two.Reply: `{"refuse":{"status":418}}`} {
		if err := d.nats.Publish(subject, []byte(answer)); err != nil {
			t.Fatal(err)
		}
	}
	if resp := next(t, second); resp.StatusCode != 418 {
		t.Errorf("the second is answered with %s", resp.Status)
	}
	d.untilMetric(`holdfast_handshake_answers_dropped_total{why="late"}`, "1")
	if err := one.Respond([]byte(`{"refuse":{"status":410}}`)); err != nil {
		t.Fatal(err)
	}
	if resp := next(t, first); resp.StatusCode != 410 {
		t.Errorf("the first is answered with %s", resp.Status)
	}
	// Replayed, the answers change nothing.
	if err := one.Respond([]byte(`{"accept":{}}`)); err != nil {
		t.Fatal(err)
	}
	d.untilMetric(`holdfast_handshake_answers_dropped_total{why="late"}`, "2")
}

// A client that leaves is not waited for, and an answer does not make it a connection.
func TestClientLeavesWhilePending(t *testing.T) {
	d := newDoor(t, patientAdmission)
	asked := d.handshakes()
	nc, err := net.Dial("tcp", address(d.URL("")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write([]byte("GET /chat/x HTTP/1.1\r\nHost: h\r\n" + upgradeFields + "\r\n")); err != nil {
		t.Fatal(err)
	}
	m := next(t, asked)
	if err := nc.Close(); err != nil {
		t.Fatal(err)
	}
	d.untilMetric("holdfast_handshakes_asking", "0")
	d.untilMetric(`holdfast_handshakes_refused_total{status="gone"}`, "1")
	if err := m.Respond([]byte(`{"accept":{}}`)); err != nil {
		t.Fatal(err)
	}
	d.untilMetric(`holdfast_handshake_answers_dropped_total{why="late"}`, "1")
}

// A drain does not wait for a silent backend: pending handshakes are told to come back, every one, before the broker ends.
func TestDrainWhilePending(t *testing.T) {
	const crowd = 100
	admission := strings.Replace(patientAdmission, "10s", "1m", 1) + "clients: {handshake_timeout: 1m}\n"
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	writeCertificate(t, cert, key, 1)
	for i, name := range []string{"plain", "TLS"} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, admission, "--listen=127.0.0.1:0?cert="+cert+"&key="+key)
			d.Listen = d.Listen[i:]
			asked := d.handshakes()
			answered := make([]<-chan *http.Response, crowd)
			for i := range answered {
				answered[i] = d.knock(nil)
			}
			for range answered {
				next(t, asked)
			}
			d.Signal(syscall.SIGTERM)
			for _, answer := range answered {
				if resp := next(t, answer); resp.StatusCode != 503 {
					t.Errorf("the answer is %s", resp.Status)
				}
			}
			if code := d.Wait(); code != 0 {
				t.Errorf("the broker exited with %d", code)
			}
		})
	}
}

// A thousand at once wait for one backend; each gets its own answer.
func TestThousandPending(t *testing.T) {
	const crowd = 1000
	d := newDoor(t, patientAdmission)
	asked := d.handshakes()
	answered := make(chan *http.Response, crowd)
	for i := range crowd {
		go func() {
			_, resp := wstest.TryDial(t, d.URL(fmt.Sprintf("/chat/%d", i)), nil)
			answered <- resp
		}()
	}
	for range crowd {
		m := next(t, asked)
		var h struct {
			PathValues map[string]string `json:"path_values"`
		}
		if err := json.Unmarshal(m.Data, &h); err != nil {
			t.Fatal(err)
		}
		answer := fmt.Sprintf(`{"accept":{"headers":[{"name":"X-Room","value":%q}]}}`, h.PathValues["room"])
		if err := m.Respond([]byte(answer)); err != nil {
			t.Fatal(err)
		}
	}
	rooms := make(map[string]bool)
	for range crowd {
		resp := next(t, answered)
		if resp.StatusCode != 101 {
			t.Fatalf("answered with %s", resp.Status)
		}
		rooms[resp.Header.Get("X-Room")] = true
	}
	if len(rooms) != crowd {
		t.Errorf("%d different answers, want %d", len(rooms), crowd)
	}
}

// After an admission that took long the socket is like any other.
func TestAdmittedConnectionWorks(t *testing.T) {
	d := newDoor(t, patientAdmission)
	d.answering(`{"accept":{"subprotocol":""}}`)
	events := bustest.Record(t, d.NATS, "holdfast.chat.message.*")
	p := wstest.Dial(t, d.URL("/chat/lobby"), http.Header{"Sec-Websocket-Protocol": {"v1"}}, wstest.Text("early"))
	p.Send(wstest.Text("hi"))
	m := events.Wait(2)
	if string(m[0].Data)+string(m[1].Data) != "earlyhi" {
		t.Errorf("messages %q and %q", m[0].Data, m[1].Data)
	}
	if err := d.nats.Publish(m[0].Reply, []byte("back")); err != nil {
		t.Fatal(err)
	}
	p.Expect(wire.Text, "back")
}

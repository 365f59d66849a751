package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// busyPort is an address on which something listens already.
func busyPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestStartFailsInOneClearLine(t *testing.T) {
	busy := busyPort(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		args []string
		code int
		want string
	}{
		"client port in use":    {[]string{"--listen=" + busy}, 1, "listen " + busy + ": address already in use"},
		"control port in use":   {[]string{"--control-listen=" + busy}, 1, "control: listen " + busy + ": address already in use"},
		"ops port in use":       {[]string{"--ops-listen=" + busy}, 1, "ops: listen " + busy + ": address already in use"},
		"NATS port in use":      {[]string{"--nats-listen=" + busy}, 1, "address already in use"},
		"NATS unreachable":      {[]string{"--nats-url=nats://127.0.0.1:1"}, 1, "nats://127.0.0.1:1"},
		"unwritable directory":  {[]string{"--data-dir=" + filepath.Join(file, "data")}, 1, "not a directory"},
		"unknown flag":          {[]string{"--no-such-flag"}, 2, "no-such-flag"},
		"unknown command":       {[]string{"no-such-command"}, 2, "no-such-command"},
		"no such file":          {[]string{"--config=" + file + ".yaml"}, 2, "no such file"},
		"control beyond host":   {[]string{"--control-listen=0.0.0.0:0"}, 2, "--insecure-control"},
		"size without its unit": {[]string{"--nats-outbox=8"}, 2, "is not a size"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := brokertest.Launch(t, brokertest.Args(t, c.args...)...)
			if code := b.Wait(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			line := b.Stderr()
			if !strings.HasPrefix(line, "broker: ") || !strings.Contains(line, c.want) || strings.Count(line, "\n") != 1 {
				t.Errorf("stderr %q, want one line that begins with \"broker: \" and has %q", line, c.want)
			}
		})
	}
}

func TestSecondBrokerOnOneDataDirectoryEndsInOneLine(t *testing.T) {
	dir := "--data-dir=" + filepath.Join(t.TempDir(), "shared")
	brokertest.Start(t, dir)
	second := brokertest.Launch(t, brokertest.Args(t, dir)...)
	if code := second.Wait(); code != 1 || !strings.Contains(second.Stderr(), "in use by another broker") {
		t.Errorf("exit code %d, stderr %q", code, second.Stderr())
	}
}

func TestReadyLineHasTheRealAddresses(t *testing.T) {
	b := brokertest.Start(t)
	wstest.Dial(t, b.URL("/"), nil)
	bustest.Dial(t, b.NATS)
	for _, path := range []string{"/healthz", "/readyz", "/version", "/metrics"} {
		status, body := get(t, b.Ops+path)
		if status != http.StatusOK || body == "" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	// A handshake is answered before the connection counts.
	eventually(t, "count of the connection", func() bool { return metric(t, b, "holdfast_connections") == "1" })
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

// closedEvent is what the tests read of a close event.
type closedEvent struct {
	Code     int    `json:"code"`
	SentCode int    `json:"sent_code"`
	WasClean bool   `json:"was_clean"`
	Cause    string `json:"cause"`
	Fault    string `json:"fault"`
}

func closed(t *testing.T, payload []byte) (c closedEvent) {
	t.Helper()
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatalf("close event %q: %v", payload, err)
	}
	return c
}

func TestStopClosesClientsWith1012AndPublishesTheLastEvents(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			nats := bustest.Server(t)
			b := brokertest.Start(t, "--nats-url="+nats)
			events := bustest.Record(t, nats, "holdfast.default.>")
			peer := wstest.Dial(t, b.URL("/"), nil)
			events.Wait(1)
			b.Signal(sig)
			peer.ExpectClose(wire.ServiceRestart)
			peer.Send(wstest.Close(wire.ServiceRestart, ""))
			peer.ExpectEnd()
			if code := b.Wait(); code != 0 {
				t.Errorf("exit code %d; stderr:\n%s", code, b.Stderr())
			}
			last := events.Wait(2)[1]
			want := closedEvent{Code: 1012, SentCode: 1012, WasClean: true, Cause: "NODE_DRAIN"}
			if diff := cmp.Diff(want, closed(t, last.Data)); diff != "" {
				t.Errorf("close event (-want +got):\n%s", diff)
			}
		})
	}
}

// A client that does not answer the close frame keeps the drain waiting; the second signal does not.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	b := brokertest.Start(t)
	peer := wstest.Dial(t, b.URL("/"), nil)
	b.Signal(syscall.SIGTERM)
	peer.ExpectClose(wire.ServiceRestart)
	b.Signal(syscall.SIGTERM)
	if code := b.Wait(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestPlainHTTPOnTheClientPort(t *testing.T) {
	b := brokertest.Start(t)
	base := "http" + strings.TrimPrefix(b.URL(""), "ws")
	for path, want := range map[string]int{"/": http.StatusUpgradeRequired, "/nothing": http.StatusNotFound} {
		if status, body := get(t, base+path); status != want || strings.Count(body, "\n") != 1 {
			t.Errorf("GET %s: %d %q, want %d and one line", path, status, body, want)
		}
	}
}

func TestPathsBecomeEndpointsAndNamespaces(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, `
endpoints:
  - path: /chat/{room}
    namespace: chat
    subprotocols: [v2.chat, v1.chat]
    origins: ["https://*.example.org"]
    keep_headers: [X-Device]
  - path: /raw
    namespace: raw
`))
	events := bustest.Record(t, b.NATS, "holdfast.>")
	wstest.Dial(t, b.URL("/chat/7?token=secret&page=2"), http.Header{
		"Origin": {"https://app.example.org"}, "X-Device": {"phone"}, "Sec-Websocket-Protocol": {"v1.chat, v2.chat"},
	})
	events.Wait(1)
	wstest.Dial(t, b.URL("/raw"), nil)
	open := events.Wait(2)
	var c struct {
		Namespace   string            `json:"namespace"`
		Endpoint    string            `json:"endpoint"`
		URL         string            `json:"url"`
		Subprotocol string            `json:"subprotocol"`
		Headers     map[string]string `json:"headers"`
	}
	if err := json.Unmarshal(open[0].Data, &c); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.Namespace, c.Endpoint, c.URL, c.Subprotocol, c.Headers)
	if want := "chat/chat/{room}/chat/7?page=2v2.chatmap[X-Device:phone]"; got != want {
		t.Errorf("open event has %s, want %s", got, want)
	}
	if !strings.HasPrefix(open[1].Subject, "holdfast.raw.open.") {
		t.Errorf("subject %s, want namespace raw", open[1].Subject)
	}
	_, r := wstest.TryDial(t, b.URL("/chat/7"), http.Header{"Origin": {"https://example.com"}})
	_ = r.Body.Close()
	if r.StatusCode != http.StatusForbidden {
		t.Errorf("wrong origin: %d, want 403", r.StatusCode)
	}
}

// natsConfig writes a configuration of a nats-server and answers its path.
func natsConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// While a load balancer has not noticed yet, the clients it sends are served.
func TestDrainDelayStillAcceptsClients(t *testing.T) {
	b := brokertest.Start(t, "--drain-delay=1h", "--drain-timeout=0s")
	b.Signal(syscall.SIGTERM)
	for status := http.StatusOK; status != http.StatusServiceUnavailable; {
		status, _ = get(t, b.Ops+"/readyz")
	}
	events := bustest.Record(t, b.NATS, "holdfast.default.>")
	wstest.Dial(t, b.URL("/"), nil)
	events.Wait(1)
	b.Signal(syscall.SIGTERM) // not the whole hour
	b.Wait()
}

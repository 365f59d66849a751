package main_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// opened is the payload of an open event.
func opened(t *testing.T, m *nats.Msg) *holdfastv1.Connection {
	t.Helper()
	c := new(holdfastv1.Connection)
	if err := protojson.Unmarshal(m.Data, c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAddressFromATrustedProxy(t *testing.T) {
	b := brokertest.Start(t, "--clients-trusted-proxies=127.0.0.0/8,10.0.0.0/8",
		brokertest.Config(t, "endpoints: [{path: /, limits: {connections_per_ip: 1}}]\n"))
	events := bustest.Record(t, b.NATS, "holdfast.default.open.*")
	from := func(chain string) http.Header { return http.Header{"X-Forwarded-For": {chain}} }
	wstest.Dial(t, b.URL("/"), from("127.0.0.1, 192.0.2.7, 10.0.0.2"))
	if got := opened(t, events.Wait(1)[0]).GetRemoteAddress(); got != "192.0.2.7" {
		t.Errorf("the open event says %q", got)
	}
	if _, resp := wstest.TryDial(t, b.URL("/"), from("192.0.2.7")); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a second connection of the same client: %s", resp.Status)
	}
	wstest.Dial(t, b.URL("/"), from("192.0.2.8"))
}

// TestThreatSpoofedAddressHeader: a client cannot hide behind an address that it makes up.
func TestThreatSpoofedAddressHeader(t *testing.T) {
	b := brokertest.Start(t, "--clients-trusted-proxies=10.0.0.0/8",
		brokertest.Config(t, "endpoints: [{path: /, limits: {connections_per_ip: 1}}]\n"))
	events := bustest.Record(t, b.NATS, "holdfast.default.open.*")
	spoofed := func(address string) http.Header {
		return http.Header{"X-Forwarded-For": {address}, "Forwarded": {"for=" + address}, "X-Real-Ip": {address}}
	}
	peer := wstest.Dial(t, b.URL("/"), spoofed("192.0.2.7"))
	if got := opened(t, events.Wait(1)[0]).GetRemoteAddress(); got != peer.LocalAddr().String() {
		t.Errorf("the open event says %q", got)
	}
	if _, resp := wstest.TryDial(t, b.URL("/"), spoofed("192.0.2.8")); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a second connection under another name: %s", resp.Status)
	}
}

// proxied connects with a PROXY header, and answers the client's end and what the open event says.
func proxied(t *testing.T, b *brokertest.Broker, events *bustest.Recorder, network, address, header string, n int) (*wstest.Peer, string) {
	t.Helper()
	nc, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	p := wstest.NewPeer(t, nc)
	p.Raw([]byte(header + "GET / HTTP/1.1\r\nHost: a\r\n" + upgradeFields + "\r\n"))
	p.Raw(wstest.Text("hello").Append(nil))
	return p, opened(t, events.Wait(n)[n-1]).GetRemoteAddress()
}

// TestAddressFromThePROXYProtocol: whoever reads the connection afterwards, no byte is lost.
func TestAddressFromThePROXYProtocol(t *testing.T) {
	for _, driver := range []string{"epoll", "portable"} {
		t.Run(driver, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			b := brokertest.Start(t, "--driver="+driver, "--clients-trusted-proxies=127.0.0.1,unix",
				"--listen=127.0.0.1:0?proxy_protocol=required", "--listen=unix:"+socket+"?proxy_protocol=required")
			opens := bustest.Record(t, b.NATS, "holdfast.default.open.*")
			messages := bustest.Record(t, b.NATS, "holdfast.default.message.*")
			places := [][2]string{{"tcp", address(b.Listen[1])}, {"unix", socket}}
			headers := map[string]string{
				"PROXY TCP4 192.0.2.7 203.0.113.1 51022 443\r\n":                                         "192.0.2.7:51022",
				"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\xcb\x00\x71\x01\xc7\x4e\x01\xbb": "192.0.2.8:51022",
			}
			n := 0
			for _, at := range places {
				for header, want := range headers {
					n++
					p, got := proxied(t, b, opens, at[0], at[1], header, n)
					if got != want {
						t.Errorf("%s: the open event says %q, want %q", at[0], got, want)
					}
					if m := messages.Wait(n)[n-1]; string(m.Data) != "hello" {
						t.Errorf("%s: %q came", at[0], m.Data)
					}
					_ = p.Close()
				}
			}
		})
	}
}

func TestPROXYHeaderBeforeTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	writeCertificate(t, cert, key, 1)
	b := brokertest.Start(t, "--clients-trusted-proxies=127.0.0.1",
		"--listen=127.0.0.1:0?proxy_protocol=optional&cert="+cert+"&key="+key)
	events := bustest.Record(t, b.NATS, "holdfast.default.open.*")
	direct := wstest.Dial(t, b.Listen[1]+"/", nil)
	if got := opened(t, events.Wait(1)[0]).GetRemoteAddress(); got != direct.LocalAddr().String() {
		t.Errorf("without a header: %q", got)
	}
	balancer := balance(t, address(b.Listen[1]), "PROXY TCP4 192.0.2.7 203.0.113.1 51022 443\r\n")
	p := wstest.Dial(t, "wss://"+balancer+"/", nil)
	if got := opened(t, events.Wait(2)[1]).GetRemoteAddress(); got != "192.0.2.7:51022" {
		t.Errorf("with a header: %q", got)
	}
	p.Send(wstest.Ping("there?"))
	p.Expect(wire.Pong, "there?")
}

// balance is a load balancer that puts a header before each connection.
func balance(t *testing.T, to, header string) (at string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			_, _ = io.WriteString(server, header)
			go relay(client, server)
			go relay(server, client)
		}
	}()
	return l.Addr().String()
}

func relay(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
}

// TestThreatSpoofedPROXYHeader: whoever is no trusted proxy cannot say who it is, and no header means no connection.
func TestThreatSpoofedPROXYHeader(t *testing.T) {
	b := brokertest.Start(t, "--clients-trusted-proxies=127.0.0.1", "--clients-handshake-timeout=3s",
		"--listen=127.0.0.1:0?proxy_protocol=required", "--listen=[::1]:0?proxy_protocol=optional")
	header := "PROXY TCP4 192.0.2.7 203.0.113.1 51022 443\r\n"
	request := "GET / HTTP/1.1\r\nHost: a\r\n" + upgradeFields + "\r\n"
	trusted, stranger := address(b.Listen[1]), address(b.Listen[2])
	for reason, c := range map[string]struct{ at, sent string }{
		"missing":   {trusted, request},
		"malformed": {trusted, "PROXY TCP4 192.0.2.7\r\n" + request},
		"late":      {trusted, "PROXY TCP4"},
		"untrusted": {stranger, header + request},
	} {
		if answer := exchange(t, c.at, c.sent); answer != "" {
			t.Errorf("%s: it answers %q", reason, answer)
		}
		if n := metric(t, b, `holdfast_proxy_refused_total{reason="`+reason+`"}`); n != "1" {
			t.Errorf("%s: %q counted", reason, n)
		}
	}
	if answer := exchange(t, stranger, request); !strings.HasPrefix(answer, "HTTP/1.1 101 ") {
		t.Errorf("a stranger without a header: %q", answer)
	}
	b.AwaitLog("connection refused because of its PROXY header")
}

// exchange sends, ends its side, and reads until the broker has ended its own.
func exchange(t *testing.T, at, sent string) string {
	t.Helper()
	nc, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	_, _ = io.WriteString(nc, sent)
	_ = nc.SetReadDeadline(time.Now().Add(wstest.Patience))
	var b strings.Builder
	buf := make([]byte, 4096)
	n, err := nc.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("neither answered nor cut off after %.20q", sent)
	}
	b.Write(buf[:n])
	return b.String()
}

// TestOriginBehindAProxyThatEndsTLS: the page's origin is https and the request is not; the host is the same.
func TestOriginBehindAProxyThatEndsTLS(t *testing.T) {
	b := brokertest.Start(t, "--clients-trusted-proxies=127.0.0.1")
	request := func(host, origin, more string) string {
		return "GET / HTTP/1.1\r\nHost: " + host + "\r\nOrigin: " + origin + "\r\n" + more + upgradeFields + "\r\n"
	}
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"host passed on":       {request("broker.example", "https://broker.example", "X-Forwarded-Proto: https\r\n"), 101},
		"another page":         {request("broker.example", "https://evil.example", ""), 403},
		"another host claimed": {request("broker.example", "https://evil.example", "X-Forwarded-Host: evil.example\r\n"), 403},
	} {
		if resp := raw(t, "tcp", address(b.Listen[0]), c.request); resp.StatusCode != c.status {
			t.Errorf("%s: %s, want %d", name, resp.Status, c.status)
		}
	}
}

func TestProxySettingsThatCannotBe(t *testing.T) {
	for yaml, want := range map[string]string{
		"listen: [{address: \":0\", proxy_protocol: required}]\n":                                     "nobody is trusted to say where clients are: want clients.trusted_proxies as well",
		"listen: [{address: \":0\", proxy_protocol: v2}]\nclients: {trusted_proxies: [10.0.0.0/8]}\n": `listen[0].proxy_protocol: "v2" is unknown: want optional or required`,
		"clients: {trusted_proxies: [10.0.0.1/8]}\n":                                                  `clients.trusted_proxies[0]: "10.0.0.1/8" has bits behind its length: want 10.0.0.0/8`,
		"clients: {trusted_proxies: [unix, unix]}\n":                                                  `"unix" stands there twice`,
		"clients: {proxy_header: \"X Forwarded For\"}\n":                                              `"X Forwarded For" is not the name of a header`,
		"listen: [\":0?proxy_protocol=required&proxy=yes\"]\n":                                        "and proxy_protocol=POLICY behind",
	} {
		b := brokertest.Launch(t, brokertest.Config(t, yaml))
		if code := b.Wait(); code != 2 || !strings.Contains(b.Stderr(), want) {
			t.Errorf("%s: %d, %s", yaml, code, b.Stderr())
		}
	}
}

package main_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

const upgradeFields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// answer is a response without what follows its header.
type answer struct {
	Status     string
	StatusCode int
	Header     http.Header
}

// raw sends a request as it stands and answers the response, which must come.
func raw(t *testing.T, network, address, request string) answer {
	t.Helper()
	nc, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(wstest.Patience))
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), &http.Request{Method: http.MethodGet})
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	_ = resp.Body.Close()
	return answer{resp.Status, resp.StatusCode, resp.Header}
}

func address(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	return rest
}

func metric(t *testing.T, b *brokertest.Broker, series string) string {
	t.Helper()
	_, body := get(t, b.Ops+"/metrics")
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestHandshakesOverTheWire(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, "endpoints: [{path: /}, {path: /v, subprotocols: [v2, v1], subprotocol_required: true}]\n"))
	host := "Host: broker.example\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
		fields  http.Header
	}{
		"plain":                  {"GET / HTTP/1.1\r\n" + host + upgradeFields + "\r\n", 101, nil},
		"absolute form":          {"GET http://broker.example/ HTTP/1.1\r\n" + host + upgradeFields + "\r\n", 101, nil},
		"absolute form, no path": {"GET http://broker.example HTTP/1.1\r\n" + host + upgradeFields + "\r\n", 101, nil},
		"authority form":         {"GET broker.example:80 HTTP/1.1\r\n" + host + upgradeFields + "\r\n", 400, nil},
		"absolute form, origin":  {"GET http://broker.example/ HTTP/1.1\r\nHost: other\r\nOrigin: http://broker.example\r\n" + upgradeFields + "\r\n", 101, nil},
		"origin of Host alone":   {"GET http://broker.example/ HTTP/1.1\r\nHost: other\r\nOrigin: http://other\r\n" + upgradeFields + "\r\n", 403, nil},
		"no Host":                {"GET / HTTP/1.1\r\n" + upgradeFields + "\r\n", 400, nil},
		"two Hosts":              {"GET / HTTP/1.1\r\n" + host + host + upgradeFields + "\r\n", 400, nil},
		"bad Host":               {"GET / HTTP/1.1\r\nHost: a b\r\n" + upgradeFields + "\r\n", 400, nil},
		"HTTP/1.0":               {"GET / HTTP/1.0\r\n" + host + upgradeFields + "\r\n", 400, nil},
		"HTTP/2 without TLS":     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, nil},
		"POST":                   {"POST / HTTP/1.1\r\n" + host + upgradeFields + "Content-Length: 0\r\n\r\n", 405, http.Header{"Allow": {"GET"}}},
		"a body that never ends": {"GET / HTTP/1.1\r\n" + host + upgradeFields + "Content-Length: 1000\r\n\r\n", 400, nil},
		"no version":             {"GET / HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 426, http.Header{"Sec-Websocket-Version": {"13"}}},
		"another path":           {"GET /nothing HTTP/1.1\r\n" + host + upgradeFields + "\r\n", 404, nil},
		"plain HTTP":             {"GET / HTTP/1.0\r\n\r\n", 400, nil},
		"plain HTTP/1.1":         {"GET / HTTP/1.1\r\n" + host + "\r\n", 426, http.Header{"Upgrade": {"websocket"}}},
		"long header":            {"GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", 431, nil},
		"required, not offered":  {"GET /v HTTP/1.1\r\n" + host + upgradeFields + "\r\n", 400, nil},
		"required, other":        {"GET /v HTTP/1.1\r\n" + host + upgradeFields + "Sec-WebSocket-Protocol: v3\r\n\r\n", 400, nil},
		"required, offered":      {"GET /v HTTP/1.1\r\n" + host + upgradeFields + "Sec-WebSocket-Protocol: v1, v2\r\n\r\n", 101, http.Header{"Sec-Websocket-Protocol": {"v2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			resp := raw(t, "tcp", address(b.URL("")), c.request)
			if resp.StatusCode != c.status {
				t.Errorf("answered with %s, want %d", resp.Status, c.status)
			}
			for field, want := range c.fields {
				if got := resp.Header.Values(field); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s: %q, want %q", field, got, want)
				}
			}
		})
	}
}

func TestPipelinedFirstFramesAreRead(t *testing.T) {
	b := brokertest.Start(t)
	events := bustest.Record(t, b.NATS, "holdfast.default.message.*")
	long := strings.Repeat("x", 100_000) // beyond what net/http has read
	wstest.Dial(t, b.URL("/"), nil, wstest.Text("first"), wstest.Text(long), wstest.Text("last"))
	got := events.Wait(3)
	if string(got[0].Data) != "first" || string(got[1].Data) != long || string(got[2].Data) != "last" {
		t.Errorf("%d messages came otherwise than they were sent", len(got))
	}
}

func TestHandshakeThatTakesTooLongIsCutOff(t *testing.T) {
	cert, key := filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	writeCertificate(t, cert, key, 1)
	b := brokertest.Start(t, "--clients-handshake-timeout=300ms", "--listen=127.0.0.1:0?cert="+cert+"&key="+key)
	for name, c := range map[string]struct{ address, sent string }{
		"nothing":         {address(b.Listen[0]), ""},
		"half a header":   {address(b.Listen[0]), "GET / HTTP/1.1\r\nHost: a\r\n"},
		"half a body":     {address(b.Listen[0]), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx"},
		"no TLS at all":   {address(b.Listen[1]), ""},
		"half a TLS one":  {address(b.Listen[1]), "\x16\x03\x01\x02\x00\x01"},
		"HTTP, no TLS in": {address(b.Listen[1]), "GET / HTTP/1.1\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("tcp", c.address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = nc.Close() }()
			_, _ = io.WriteString(nc, c.sent)
			_ = nc.SetReadDeadline(time.Now().Add(wstest.Patience))
			if _, err := io.Copy(io.Discard, nc); os.IsTimeout(err) {
				t.Error("it was not cut off")
			}
		})
	}
}

func TestListeners(t *testing.T) {
	dir := t.TempDir()
	cert, key, socket := filepath.Join(dir, "cert"), filepath.Join(dir, "key"), filepath.Join(dir, "s.sock")
	writeCertificate(t, cert, key, 1)
	b := brokertest.Start(t, "--listen=[::1]:0", "--listen=unix:"+socket+"?mode=0606", "--listen=127.0.0.1:0?cert="+cert+"&key="+key)
	if len(b.Listen) != 4 {
		t.Fatalf("listening on %q", b.Listen)
	}
	wstest.Dial(t, b.Listen[0]+"/", nil)
	wstest.Dial(t, b.Listen[1]+"/", nil)
	wstest.Dial(t, b.Listen[3]+"/", nil)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o606 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	if resp := raw(t, "unix", socket, "GET / HTTP/1.1\r\nHost: a\r\n"+upgradeFields+"\r\n"); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("Unix socket: %s", resp.Status)
	}
}

func TestTLSSpeaksHTTP11Alone(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	writeCertificate(t, cert, key, 1)
	b := brokertest.Start(t, "--listen=127.0.0.1:0?cert="+cert+"&key="+key)
	for name, c := range map[string]struct {
		config *tls.Config
		want   string // empty: refused
	}{
		"TLS 1.2":      {&tls.Config{MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, "http/1.1"},
		"TLS 1.3":      {&tls.Config{NextProtos: []string{"h2", "http/1.1"}}, "http/1.1"},
		"TLS 1.1":      {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, ""},
		"HTTP/2 alone": {&tls.Config{NextProtos: []string{"h2"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.InsecureSkipVerify = true
			nc, err := tls.Dial("tcp", address(b.Listen[1]), c.config)
			if err != nil {
				if c.want != "" {
					t.Error(err)
				}
				return
			}
			defer func() { _ = nc.Close() }()
			if got := nc.ConnectionState().NegotiatedProtocol; got != c.want {
				t.Errorf("negotiated %q, want %q", got, c.want)
			}
		})
	}
}

func TestCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	writeCertificate(t, cert, key, 1)
	b := brokertest.Start(t, "--listen=127.0.0.1:0?cert="+cert+"&key="+key)
	old := wstest.Dial(t, b.Listen[1]+"/", nil)
	serial := func() int64 {
		nc, err := tls.Dial("tcp", address(b.Listen[1]), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		return nc.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	soon := func(what string, met func() bool) {
		t.Helper()
		for begin := time.Now(); !met(); time.Sleep(20 * time.Millisecond) {
			if time.Since(begin) > brokertest.Patience {
				t.Fatalf("no %s; stderr:\n%s", what, b.Stderr())
			}
		}
	}
	if n := serial(); n != 1 {
		t.Errorf("certificate %d", n)
	}
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	soon("refusal of a bad file", func() bool {
		if n := serial(); n != 1 {
			t.Fatalf("certificate %d instead of the old one", n)
		}
		return metric(t, b, `holdfast_tls_reloads_total{result="failed"}`) == "1"
	})
	writeCertificate(t, cert, key, 2)
	soon("new certificate", func() bool { return serial() == 2 })
	soon("line about the bad file", func() bool {
		return strings.Contains(b.Stderr(), "new TLS files cannot be used: the old ones stay")
	})
	old.Send(wstest.Ping("still here"))
	old.Expect(wire.Pong, "still here")
}

// writeCertificate makes a self-signed certificate for localhost.
func writeCertificate(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// refused tries a handshake that must be refused for that reason.
func refused(t *testing.T, b *brokertest.Broker, path string, status int, retryAfter, reason string) {
	t.Helper()
	refusedAs(t, b, path, nil, status, retryAfter, reason)
}

func refusedAs(t *testing.T, b *brokertest.Broker, path string, header http.Header, status int, retryAfter, reason string) {
	t.Helper()
	_, resp := wstest.TryDial(t, b.URL(path), header)
	wantRefused(t, b, path, resp, status, retryAfter, reason)
}

// wantRefused checks the answer of the only handshake that was refused for that reason.
func wantRefused(t *testing.T, b *brokertest.Broker, path string, resp *http.Response, status int, retryAfter, reason string) {
	t.Helper()
	_ = resp.Body.Close()
	if resp.StatusCode != status || resp.Header.Get("Retry-After") != retryAfter {
		t.Errorf("%s: %s, Retry-After %q; want %d, %q", path, resp.Status, resp.Header.Get("Retry-After"), status, retryAfter)
	}
	if n := metric(t, b, fmt.Sprintf("holdfast_connections_refused_total{reason=%q}", reason)); n != "1" {
		t.Errorf("%s: %q refusals counted as %s", path, n, reason)
	}
}

func TestConnectionLimits(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	b := brokertest.Start(t, "--clients-connections=5", "--listen=unix:"+socket, brokertest.Config(t, `
endpoints:
  - {path: /two, limits: {connections: 2}}
  - {path: /ip, limits: {connections_per_ip: 1}}
  - {path: /slow, limits: {new_connections: 1}}
`))
	events := bustest.Record(t, b.NATS, "holdfast.default.close.*")
	overUnix := "GET /ip HTTP/1.1\r\nHost: a\r\n" + upgradeFields + "\r\n"

	first := wstest.Dial(t, b.URL("/two"), nil)
	wstest.Dial(t, b.URL("/two"), nil)
	refused(t, b, "/two", 503, "5", "endpoint_full")
	first.Send(wstest.Close(1000, ""))
	events.Wait(1)
	again := wstest.Dial(t, b.URL("/two"), nil)

	wstest.Dial(t, b.URL("/ip"), nil)
	refused(t, b, "/ip", 429, "5", "client_full")
	raw(t, "unix", socket, overUnix)
	if resp := raw(t, "unix", socket, overUnix); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("a Unix socket has no address to count by: %s", resp.Status)
	}

	refused(t, b, "/slow", 503, "5", "broker_full")
	again.Reset()
	events.Wait(2)
	for n := 3; ; n++ { // until one comes within a second of another
		slow, resp := wstest.TryDial(t, b.URL("/slow"), nil)
		if resp.StatusCode != http.StatusSwitchingProtocols {
			wantRefused(t, b, "/slow", resp, 503, "1", "endpoint_rate")
			break
		}
		slow.Send(wstest.Close(1000, ""))
		events.Wait(n)
	}
}

package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// stage is a listener, and what it refused.
type stage struct {
	*Listener

	refused chan string
}

func listen(t *testing.T, network, address string, l Listener) *stage {
	t.Helper()
	nl, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nl.Close() })
	s := &stage{&l, make(chan string, 1)}
	l.Listener = nl
	if l.Timeout == 0 {
		l.Timeout = patience
	}
	l.Refused = func(_ net.Addr, reason string) { s.refused <- reason }
	return s
}

// dial connects, sends, and answers both ends.
func (s *stage) dial(t *testing.T, sent string) (client, server net.Conn) {
	t.Helper()
	client = s.knock(t, sent)
	server, err := s.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	_ = server.SetDeadline(time.Time{})
	return client, server
}

func (s *stage) knock(t *testing.T, sent string) net.Conn {
	t.Helper()
	client, err := net.Dial(s.Addr().Network(), s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if _, err := io.WriteString(client, sent); err != nil {
		t.Fatal(err)
	}
	return client
}

func loopback(t *testing.T, required bool) *stage {
	return listen(t, "tcp", "127.0.0.1:0", Listener{Trusted: networks(t, "127.0.0.0/8"), Required: required})
}

func TestAddressOfTheHeader(t *testing.T) {
	client, server := loopback(t, true).dial(t, "PROXY TCP4 192.0.2.7 203.0.113.1 51022 443\r\nhello")
	if got := server.RemoteAddr().String(); got != "192.0.2.7:51022" {
		t.Errorf("from %s", got)
	}
	if _, err := server.(syscall.Conn).SyscallConn(); !errors.Is(err, errUnread) {
		t.Errorf("its descriptor, while five bytes are not read: %v", err)
	}
	if got := read(t, server, 5); got != "hello" {
		t.Errorf("%q behind the header", got)
	}
	if _, err := server.(syscall.Conn).SyscallConn(); err != nil {
		t.Errorf("its descriptor: %v", err)
	}
	_, _ = io.WriteString(client, "world")
	if got := read(t, server, 5); got != "world" {
		t.Errorf("%q after it", got)
	}
}

func TestAddressOfTheHeaderByReading(t *testing.T) {
	_, server := loopback(t, true).dial(t, version2(commandProxy, familyTCP6, tcp6...)+"hello")
	if got := read(t, server, 5); got != "hello" {
		t.Errorf("%q behind the header", got)
	}
	if got := server.RemoteAddr().String(); got != "[2001:db8::7]:51022" {
		t.Errorf("from %s", got)
	}
}

func TestHeaderThatComesInPieces(t *testing.T) {
	client, server := loopback(t, true).dial(t, "")
	header := version2(commandProxy, familyTCP4, append(tcp4[:12:12], make([]byte, 3*firstRead)...)...)
	go func() {
		for _, piece := range []string{header[:7], header[7:30], header[30:], "hello"} {
			_, _ = io.WriteString(client, piece)
		}
	}()
	if got := server.RemoteAddr().String(); got != "192.0.2.7:51022" {
		t.Errorf("from %s", got)
	}
	if got := read(t, server, 5); got != "hello" {
		t.Errorf("%q behind the header", got)
	}
}

func TestPeersOwnAddress(t *testing.T) {
	for name, sent := range map[string]string{
		"health check": version2(commandLocal, familyNone), "unknown": "PROXY UNKNOWN\r\n", "no header": "",
	} {
		client, server := loopback(t, false).dial(t, sent+"hello")
		if got := read(t, server, 5); got != "hello" || server.RemoteAddr().String() != client.LocalAddr().String() {
			t.Errorf("%s: %q from %s", name, got, server.RemoteAddr())
		}
	}
}

func TestRefusedConnections(t *testing.T) {
	for name, c := range map[string]struct {
		required bool
		sent     string
		want     string
	}{
		"missing":   {true, "GET / HTTP/1.1\r\n", Missing},
		"malformed": {false, "PROXY TCP4 me\r\n", Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			s := loopback(t, c.required)
			client, server := s.dial(t, c.sent)
			if n, err := server.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("%d bytes were read, %v", n, err)
			}
			if got := <-s.refused; got != c.want {
				t.Errorf("refused as %q", got)
			}
			closed(t, client)
		})
	}
}

func TestHeaderThatDoesNotCome(t *testing.T) {
	for _, sent := range []string{"", "PROXY TC"} {
		s := listen(t, "tcp", "127.0.0.1:0", Listener{Trusted: networks(t, "127.0.0.1"), Timeout: time.Millisecond})
		client, server := s.dial(t, sent)
		_ = server.RemoteAddr()
		if got := <-s.refused; got != Late {
			t.Errorf("after %q: refused as %q", sent, got)
		}
		closed(t, client)
	}
}

func TestPeersThatAreNotTrusted(t *testing.T) {
	for name, required := range map[string]bool{"required": true, "optional": false} {
		t.Run(name, func(t *testing.T) {
			s := listen(t, "tcp", "127.0.0.1:0", Listener{Trusted: networks(t, "10.0.0.0/8"), Required: required})
			go func() {
				for {
					nc, err := s.Accept()
					if err != nil {
						return
					}
					_ = nc.RemoteAddr()
				}
			}()
			client := s.knock(t, "PROXY TCP4 192.0.2.7 203.0.113.1 51022 443\r\n")
			if got := <-s.refused; got != Untrusted {
				t.Errorf("refused as %q", got)
			}
			closed(t, client)
		})
	}
}

func TestUnixSocketOfAProxy(t *testing.T) {
	s := listen(t, "unix", filepath.Join(t.TempDir(), "s"), Listener{Trusted: networks(t, Unix), Required: true})
	_, server := s.dial(t, "PROXY TCP4 192.0.2.7 203.0.113.1 51022 443\r\n")
	if got := server.RemoteAddr().String(); got != "192.0.2.7:51022" {
		t.Errorf("from %s", got)
	}
}

func read(t *testing.T, nc net.Conn, n int) string {
	t.Helper()
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	var b strings.Builder
	if _, err := io.CopyN(&b, nc, int64(n)); err != nil {
		t.Fatalf("%q, then %v", b.String(), err)
	}
	return b.String()
}

// closed waits for the end of a connection.
func closed(t *testing.T, nc net.Conn) {
	t.Helper()
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	if n, err := nc.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it goes on: %d bytes, %v", n, err)
	}
}

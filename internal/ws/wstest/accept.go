package wstest

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws"
)

// TCP answers the two ends of a loopback connection.
func TCP(t testing.TB) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// Connect makes a connection of the engine, which is not started, over the server's end of a stream; the
// peer has read the answer to its handshake.
func Connect(t testing.TB, e *ws.Engine, cfg *ws.Config, server, client net.Conn) (*ws.Conn, *Peer) {
	t.Helper()
	conn, p, _ := upgrade(t, e, ws.Accepted{}, cfg, server, client)
	return conn, p
}

// Handshake is Connect for a request with that header, and answers the answer's.
func Handshake(t testing.TB, e *ws.Engine, cfg *ws.Config, request http.Header) (*ws.Conn, *Peer, http.Header) {
	t.Helper()
	server, client := TCP(t)
	return HandshakeOver(t, e, cfg, request, server, client)
}

// HandshakeOver is Handshake over any stream.
func HandshakeOver(t testing.TB, e *ws.Engine, cfg *ws.Config, request http.Header, server, client net.Conn) (*ws.Conn, *Peer, http.Header) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = defaultHeader(request)
	accepted, refusal := ws.Check(r, ws.AcceptOptions{})
	if refusal != nil {
		t.Fatal(refusal)
	}
	return upgrade(t, e, accepted, cfg, server, client)
}

func upgrade(t testing.TB, e *ws.Engine, a ws.Accepted, cfg *ws.Config, server, client net.Conn) (*ws.Conn, *Peer, http.Header) {
	t.Helper()
	p := NewPeer(t, client)
	var header http.Header
	answered := make(chan error, 1)
	go func() {
		resp, err := http.ReadResponse(p.in, &http.Request{Method: http.MethodGet})
		if err == nil {
			header = resp.Header
			err = resp.Body.Close()
		}
		answered <- err
	}()
	conn, err := e.Upgrade(hijacked{nc: server}, a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	return conn, p, header
}

// hijacked is the ResponseWriter of a request that was read from nc.
type hijacked struct {
	http.ResponseWriter
	nc net.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.nc, bufio.NewReadWriter(bufio.NewReader(h.nc), bufio.NewWriter(h.nc)), nil
}

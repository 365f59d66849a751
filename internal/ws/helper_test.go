package ws_test

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// driver is what drives plain sockets in the tests, which all run once with each.
var driver ws.Driver

func TestMain(m *testing.M) { goleak.VerifyTestMain(everyDriver{m}) }

type everyDriver struct{ *testing.M }

func (m everyDriver) Run() (code int) {
	for _, driver = range []ws.Driver{ws.DriverEpoll, ws.DriverPortable} {
		fmt.Println("driver:", driver)
		code = max(code, m.M.Run())
		if f := flag.Lookup("test.fuzz"); f != nil && f.Value.String() != "" {
			break // fuzzing is not made to begin again
		}
	}
	return code
}

func newEngine(t testing.TB) *ws.Engine {
	e := ws.NewEngine(ws.EngineConfig{Driver: driver, Resolution: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(e.Close)
	return e
}

// link is a connection with both its ends.
type link struct {
	*ws.Conn
	peer *wstest.Peer
	rec  *wstest.Recorder
}

// connected makes a connection over loopback TCP and starts it; set may change its recorder before.
func connected(t testing.TB, cfg ws.Config, set func(*link)) *link {
	t.Helper()
	server, client := wstest.TCP(t)
	return started(t, newEngine(t), cfg, server, client, set)
}

// piped is connected over a pipe, for tests on virtual time.
func piped(t testing.TB, cfg ws.Config, set func(*link)) *link {
	t.Helper()
	server, client := net.Pipe()
	return started(t, newEngine(t), cfg, server, client, set)
}

func started(t testing.TB, e *ws.Engine, cfg ws.Config, server, client net.Conn, set func(*link)) *link {
	t.Helper()
	l := &link{rec: wstest.NewRecorder(t)}
	l.Conn, l.peer = wstest.Connect(t, e, e.Prepare(cfg), server, client)
	t.Cleanup(func() { l.Terminate(0) })
	if set != nil {
		set(l)
	}
	l.Start(l.rec, 0)
	return l
}

// echo answers each message with itself.
func echo(t testing.TB) func(*link) {
	return func(l *link) {
		l.rec.Message = func(op wire.Opcode, payload []byte) bool {
			m := ws.Message{Opcode: op, Payload: append([]byte(nil), payload...)}
			if _, err := l.Send(&m, nil); err != nil {
				t.Error("echo: ", err)
			}
			return true
		}
	}
}

// serve starts an HTTP server whose connections are given to use before they are started.
func serve(t testing.TB, cfg ws.Config, secure bool, use func(*link)) (url string) {
	t.Helper()
	e := newEngine(t)
	prepared := e.Prepare(cfg)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, refusal := ws.Check(r, ws.AcceptOptions{Subprotocols: []string{"chat"}, Origins: []string{ws.SameOrigin}})
		if refusal != nil {
			http.Error(w, refusal.Text, refusal.Status)
			return
		}
		l := &link{rec: wstest.NewRecorder(t)}
		var err error
		if l.Conn, err = e.Upgrade(w, a, prepared); err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Terminate(0) })
		use(l)
		l.Start(l.rec, 0)
	})
	s := httptest.NewUnstartedServer(h)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http")
}

// outcomes is a Done that hands its outcome to a channel, which fails the test if it is called twice.
func outcome(t testing.TB) (ws.Done, <-chan ws.Outcome) {
	ch := make(chan ws.Outcome, 1)
	return func(o ws.Outcome) {
		select {
		case ch <- o:
		default:
			t.Error("an outcome was told twice")
		}
	}, ch
}

func text(s string) *ws.Message { return &ws.Message{Opcode: wire.Text, Payload: []byte(s)} }
func binaryMessage(n int) *ws.Message {
	return &ws.Message{Opcode: wire.Binary, Payload: make([]byte, n)}
}

func mustSend(t testing.TB, c *ws.Conn, m *ws.Message, done ws.Done) ws.Sent {
	t.Helper()
	sent, err := c.Send(m, done)
	if err != nil {
		t.Fatal("send: ", err)
	}
	return sent
}

// eventually waits for what has no event of its own. It polls, so it is for real sockets only.
func eventually(t testing.TB, what string, ready func() bool) {
	t.Helper()
	deadline := time.Now().Add(wstest.Patience)
	for !ready() {
		if time.Now().After(deadline) {
			t.Fatal(what, " did not come about")
		}
		time.Sleep(time.Millisecond)
	}
}

// clog sends messages that the peer does not read until the socket is full.
func clog(t testing.TB, c *ws.Conn) (sent int) {
	t.Helper()
	for {
		s, err := c.Send(binaryMessage(64<<10), nil)
		if err != nil {
			t.Fatal("clog: ", err)
		}
		if sent++; s.Buffered >= 64<<10 {
			return sent
		}
	}
}

func inner(nc net.Conn) net.Conn { return nc.(*tls.Conn).NetConn() }

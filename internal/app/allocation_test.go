//go:build !race

package app

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// The race detector makes pools forget, so these run without it.

// wired is a connection with everything behind it, from its socket to a NATS server in a process of its own.
type wired struct {
	conn *hub.Conn
	bus  *bus.Bus
	peer *wstest.Peer
}

func connected(t *testing.T) *wired {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	b, err := bus.Connect(t.Context(), bus.Config{URLs: []string{bustest.StartProcess(t).URL}, Name: "test", Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	engine := ws.NewEngine(ws.EngineConfig{Logger: logger})
	c := Endpoint{Path: "/", Namespace: "default"}
	c.Heartbeat.Interval = Duration(30 * time.Second)
	ep := newEndpoint(c, engine, 1<<20)
	ep.log = logger
	server, client := wstest.TCP(t)
	conn, peer := wstest.Connect(t, engine, ep.socket, server, client)
	s := &socket{ws: conn, at: ep}
	if s.conn, err = hub.New(hub.NewNodeID(), b.Publisher()).Open(ep.hub, &hub.Facts{}, s); err != nil {
		t.Fatal(err)
	}
	conn.Start(s, 0)
	t.Cleanup(func() {
		conn.Terminate(0)
		engine.Close()
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &wired{conn: s.conn, bus: b, peer: peer}
}

// burst is how many messages are sent one behind the other.
const burst = 1000

// TestMessageInCostsNoAllocation: from the socket, by way of the core and the outbox, until the server has confirmed it.
// The NATS client allocates to ask for a confirmation, which is of all that was published before.
func TestMessageInCostsNoAllocation(t *testing.T) {
	w := connected(t)
	var frames []byte
	for range burst {
		frames = wstest.Binary(make([]byte, 128)).Append(frames)
	}
	confirmed := w.bus.Publisher().Stats().Confirmed
	n := testing.AllocsPerRun(20, func() {
		w.peer.Raw(frames)
		for confirmed += burst; w.bus.Publisher().Stats().Confirmed < confirmed; {
			runtime.Gosched()
		}
	})
	if n > burst/100 {
		t.Errorf("%v allocations for %d messages", n, burst)
	}
}

// TestMessageOutCostsNoAllocation: from the core to the socket, at once, by way of the queue, and shared by many.
func TestMessageOutCostsNoAllocation(t *testing.T) {
	w := connected(t)
	payload := bytes.Repeat([]byte("x"), 128)
	in := make([]byte, wire.HeaderSize(len(payload))+len(payload))
	for name, m := range map[string]*hub.Message{
		"at once": {Opcode: hub.Binary, Payload: payload},
		"later":   {Opcode: hub.Binary, Payload: payload, Later: true},
		"shared":  {Opcode: hub.Binary, Payload: payload, Prepared: new(hub.Prepared)},
	} {
		var cork hub.Cork
		if n := testing.AllocsPerRun(burst, func() {
			sent, err := w.conn.Send(m, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			cork.Hold(w.conn, sent)
			cork.Flush()
			if _, err := io.ReadFull(w.peer.Conn, in); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for each", name, n)
		}
	}
}

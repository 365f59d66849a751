//go:build !race

package ws_test

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// The race detector makes pools forget, so these run without it.

func TestMessageInTakesNoAllocation(t *testing.T) {
	got := make(chan struct{}, 1)
	server, client := wstest.TCP(t)
	e := newEngine(t)
	c, p := wstest.Connect(t, e, e.Prepare(ws.Config{}), server, client)
	t.Cleanup(func() { c.Terminate(0) })
	c.Start(&signalHandler{got: got}, 0)
	frame := wstest.Binary(make([]byte, 128)).Append(nil)
	expectNoAllocation(t, func() {
		p.Raw(frame)
		<-got
	})
}

type signalHandler struct {
	quickHandler
	got chan struct{}
}

func (h *signalHandler) OnMessage(wire.Opcode, []byte) bool {
	h.got <- struct{}{}
	return true
}

func TestMessageOutTakesNoAllocation(t *testing.T) {
	for name, m := range map[string]*ws.Message{"ordinary": text(long), "shared": sharing(long)} {
		t.Run(name, func(t *testing.T) {
			l := connected(t, ws.Config{}, nil)
			in := make([]byte, wire.HeaderSize(len(long))+len(long))
			expectNoAllocation(t, func() {
				mustSend(t, l.Conn, m, nil)
				if _, err := io.ReadFull(l.peer.Conn, in); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestHeldPeerCostsWhatItSent: of a peer that is held after each of many small frames, not everything that is behind a
// frame is copied each time.
func TestHeldPeerCostsWhatItSent(t *testing.T) {
	offered := make(chan struct{}, 1)
	server, client := wstest.TCP(t)
	e := newEngine(t)
	c, p := wstest.Connect(t, e, e.Prepare(ws.Config{}), server, client)
	t.Cleanup(func() { c.Terminate(0) })
	c.Start(&reluctantHandler{offered: offered}, 0)

	const frames = 8000
	sent := bytes.Repeat(wstest.Binary([]byte("x")).Append(nil), frames)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p.Raw(sent)
	for range frames {
		<-offered
		c.Release(ws.HoldBusy)
	}
	runtime.ReadMemStats(&after)
	if cost := (after.TotalAlloc - before.TotalAlloc) / frames; cost > 1024 {
		t.Errorf("%d bytes of memory for each of %d frames, want 1024 at most", cost, frames)
	}
}

// reluctantHandler takes every message when it is offered for the second time.
type reluctantHandler struct {
	quickHandler
	offered chan struct{}
	refused bool
}

func (h *reluctantHandler) OnMessage(wire.Opcode, []byte) bool {
	if h.refused = !h.refused; h.refused {
		h.offered <- struct{}{}
	}
	return !h.refused
}

func expectNoAllocation(t *testing.T, work func()) {
	t.Helper()
	if n := testing.AllocsPerRun(1000, work); n != 0 {
		t.Errorf("%v allocations for each", n)
	}
}

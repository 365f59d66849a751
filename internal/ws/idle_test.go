package ws_test

import (
	"io"
	"runtime"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // pools keep what they have for one collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	const conns, limit = 300, 5 << 10
	e := newEngine(t)
	cfg := e.Prepare(ws.Config{})
	payload := make([]byte, 100<<10)
	before := heapInUse()
	var keep []any
	for range conns {
		server, client := wstest.TCP(t)
		c, p := wstest.Connect(t, e, cfg, server, client)
		t.Cleanup(func() { c.Terminate(0) })
		c.Start(&quickHandler{c}, 0)
		go func() { _, _ = p.Write(wstest.Binary(payload).Append(nil)) }()
		if _, err := io.CopyN(io.Discard, p.Conn, int64(wire.HeaderSize(len(payload))+len(payload))); err != nil {
			t.Fatal(err)
		}
		keep = append(keep, c)
		p.Forget()
	}
	each := (int64(heapInUse()) - int64(before)) / conns
	t.Logf("%d bytes for each connection", each)
	if each > limit {
		t.Errorf("an idle connection and its client hold %d bytes, want %d at most", each, limit)
	}
	runtime.KeepAlive(keep)
}

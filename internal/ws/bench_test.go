package ws_test

import (
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// quickHandler echoes without recording.
type quickHandler struct{ c *ws.Conn }

func (h *quickHandler) OnMessage(op wire.Opcode, payload []byte) bool {
	_, err := h.c.Send(&ws.Message{Opcode: op, Payload: append([]byte(nil), payload...)}, nil)
	return err == nil
}
func (h *quickHandler) OnPing([]byte) bool { return true }
func (h *quickHandler) OnPong([]byte) bool { return true }
func (h *quickHandler) OnWritable()        {}
func (h *quickHandler) OnClose(ws.End)     {}

func quick(b *testing.B, e *ws.Engine, cfg ws.Config) (*ws.Conn, *wstest.Peer) {
	server, client := wstest.TCP(b)
	c, p := wstest.Connect(b, e, e.Prepare(cfg), server, client)
	c.Start(&quickHandler{c}, 0)
	b.Cleanup(func() { c.Terminate(0) })
	return c, p
}

func BenchmarkEcho(b *testing.B) {
	for _, bench := range []struct {
		name            string
		conns, inFlight int
	}{{"1connection", 1, 1}, {"100connections_8inFlight", 100, 8}} {
		b.Run(bench.name, func(b *testing.B) { benchmarkEcho(b, bench.conns, bench.inFlight) })
	}
}

func benchmarkEcho(b *testing.B, conns, inFlight int) {
	e := newEngine(b)
	out := wstest.Binary(make([]byte, 128)).Append(nil)
	size := wire.HeaderSize(128) + 128
	peers := make([]*wstest.Peer, conns)
	for i := range peers {
		_, peers[i] = quick(b, e, ws.Config{})
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, p := range peers {
		n := b.N / conns
		if i < b.N%conns {
			n++
		}
		wg.Go(func() {
			in := make([]byte, size)
			sent := 0
			for ; sent < min(inFlight, n); sent++ {
				_, _ = p.Write(out)
			}
			for range n {
				if _, err := io.ReadFull(p.Conn, in); err != nil {
					b.Error(err)
					return
				}
				if sent < n {
					_, _ = p.Write(out)
					sent++
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSendIntoAnIdleConnection(b *testing.B) {
	for name, cf := range map[string]ws.Confirmation{"queued": ws.Queued, "written": ws.Written} {
		b.Run(name, func(b *testing.B) {
			c, p := quick(b, newEngine(b), ws.Config{SendQueueBytes: 64 << 20, SendQueueMessages: 1 << 20})
			go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
			m := ws.Message{Opcode: wire.Binary, Payload: make([]byte, 128), Confirmation: cf}
			done := func(ws.Outcome) {}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Send(&m, done); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What limits cost: none, those of the connection, and those that it shares with others.
func BenchmarkReceive(b *testing.B) {
	var over atomic.Uint64
	for _, bench := range []struct {
		name   string
		rates  ws.Rates
		quotas int
	}{{name: "unlimited"}, {name: "rates", rates: ws.Rates{Messages: 1 << 30, Bytes: 1 << 40}}, {name: "quotas", quotas: 3}} {
		b.Run(bench.name, func(b *testing.B) {
			e := newEngine(b)
			quotas := make([]*ws.Quota, bench.quotas)
			for i := range quotas {
				quotas[i] = e.NewQuota(1<<30, 1<<40, &over)
			}
			benchmarkReceive(b, e, ws.Config{Rates: bench.rates}, quotas)
		})
	}
}

func benchmarkReceive(b *testing.B, e *ws.Engine, cfg ws.Config, quotas []*ws.Quota) {
	server, client := wstest.TCP(b)
	c, p := wstest.Connect(b, e, e.Prepare(cfg), server, client)
	c.SetQuotas(quotas...)
	h := &countingHandler{want: b.N, done: make(chan struct{})}
	c.Start(h, 0)
	b.Cleanup(func() { c.Terminate(0) })
	one := wstest.Binary(make([]byte, 128)).Append(nil)
	var many []byte
	for range 400 {
		many = append(many, one...)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; left -= 400 {
		p.Raw(many[:min(left, 400)*len(one)])
	}
	<-h.done
}

type countingHandler struct {
	quickHandler
	got, want int
	done      chan struct{}
}

func (h *countingHandler) OnMessage(wire.Opcode, []byte) bool {
	if h.got++; h.got == h.want {
		close(h.done)
	}
	return true
}

package ws_test

import (
	"fmt"
	"io"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// BenchmarkFanOut sends one message to 1,000 connections; ns/delivery is the processor's time for
// that, without the reading by their peers.
func BenchmarkFanOut(b *testing.B) {
	for _, size := range []int{128, 16 << 10} {
		for name, sharing := range map[string]bool{"each": false, "shared": true} {
			b.Run(fmt.Sprintf("%s/%dB", name, size), func(b *testing.B) { benchmarkFanOut(b, size, sharing) })
		}
	}
}

func benchmarkFanOut(b *testing.B, size int, sharing bool) {
	const members = 1000
	e := newEngine(b)
	conns, peers := make([]*ws.Conn, members), make([]*wstest.Peer, members)
	for i := range conns {
		conns[i], peers[i] = quick(b, e, ws.Config{})
		peers[i].Forget()
	}
	payload := make([]byte, size)
	in := make([]byte, wire.HeaderSize(size)+size)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var spent int64
	b.ReportAllocs()
	for b.Loop() {
		start := threadTime()
		m := ws.Message{Opcode: wire.Binary, Payload: payload}
		if sharing {
			m.Shared = ws.NewShared(m.Opcode, m.Payload)
		}
		for _, c := range conns {
			if _, err := c.Send(&m, nil); err != nil {
				b.Fatal(err)
			}
		}
		spent += threadTime() - start
		for _, p := range peers {
			if _, err := io.ReadFull(p.Conn, in); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(spent)/float64(b.N)/members, "ns/delivery")
}

// threadTime is how much processor time this thread has taken.
func threadTime() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return t.Nano()
}

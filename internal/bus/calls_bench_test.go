package bus

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
)

// BenchmarkCall is one call after the other through a NATS server in another process.
func BenchmarkCall(b *testing.B) {
	for name, size := range map[string]int{"100B": 100, "4KiB": 4 << 10, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			url := bustest.StartProcess(b, maxPayload(b, 8<<20)...).URL
			caller, callee := startPeer(b, url, echo), startPeer(b, url, echo)
			request := make([]byte, size)
			var times []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				if got := caller.ask(b.Context(), callee.id, request); got.err != nil {
					b.Fatal(got.err)
				}
				times = append(times, time.Since(began))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, "p50-µs")
			b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, "p99-µs")
		})
	}
}

// BenchmarkCallPipelined has 64 calls under way, as a SendStream has batches.
func BenchmarkCallPipelined(b *testing.B) {
	url := bustest.StartProcess(b).URL
	caller, callee := startPeer(b, url, echo), startPeer(b, url, echo)
	request := make([]byte, 100)
	var wg sync.WaitGroup
	room := make(chan struct{}, 64)
	b.ReportAllocs()
	for b.Loop() {
		room <- struct{}{}
		wg.Add(1)
		caller.Begin(b.Context(), callee.id, request, func(_ []byte, _ bool, err error) {
			if err != nil {
				b.Error(err)
			}
			<-room
			wg.Done()
		})
	}
	wg.Wait()
}

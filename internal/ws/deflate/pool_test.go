package deflate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// ceiling makes a pool in which there is room for this besides the inflaters.
func ceiling(room int64) *Pool { return NewPool(room + int64(runtime.GOMAXPROCS(0))*inflaterSize) }

func TestIdleSessionWithoutContextHoldsNothing(t *testing.T) {
	pool := NewPool(0)
	for range 1000 {
		mustOpen(t, pool, params(15, 15, false), 1)
	}
	if pool.Memory() != 0 {
		t.Errorf("%d bytes", pool.Memory())
	}
}

func TestContextsAreAccountedFor(t *testing.T) {
	pool := ceiling(100 << 10)
	first := mustOpen(t, pool, params(15, 15, true), 1)
	mustOpen(t, pool, params(12, 15, true), 1) // 4 and 32 KiB fit beside it exactly
	if pool.Memory() != 100<<10 {
		t.Errorf("%d bytes", pool.Memory())
	}
	if _, ok := pool.Open(params(8, 8, true), 1); ok {
		t.Error("a context over the ceiling")
	}
	mustOpen(t, pool, params(15, 15, false), 1) // which needs none
	first.Close()
	first.Close() // once is enough
	if pool.Memory() != 36<<10 {
		t.Errorf("%d bytes after a connection has ended", pool.Memory())
	}
	mustOpen(t, pool, params(15, 15, true), 1)
	if got := pool.Refused(); got != (Refused{Connections: 1}) {
		t.Errorf("%+v", got)
	}
}

func TestOverTheCeilingNothingIsCompressed(t *testing.T) {
	pool := ceiling(memories[1] - 1)
	s := mustOpen(t, pool, params(15, 15, false), 1)
	message := bytes.Repeat([]byte("Hello"), 1000)
	if _, ok := s.Compress(nil, message); ok {
		t.Error("compressed without room")
	}
	// A message that is compressed already goes on, without a compressor.
	parts := append(s.Fragment(nil, message, false), s.Fragment(nil, bytes.Repeat(message, 20), true)...)
	if got := mustInflate(t, s, parts); len(got) != 21*len(message) {
		t.Errorf("%d bytes", len(got))
	}
	if got := pool.Refused(); got != (Refused{Messages: 3}) || pool.Memory() > inflaterSize {
		t.Errorf("%+v, %d bytes", got, pool.Memory())
	}
}

func TestIdleCompressorsGiveWay(t *testing.T) {
	pool := ceiling(memories[6] + 1000)
	message := bytes.Repeat([]byte("Hello"), 1000)
	for range 3 {
		for _, level := range []int{1, 6} {
			if _, ok := mustOpen(t, pool, params(15, 15, false), level).Compress(nil, message); !ok {
				t.Fatal("not compressed")
			}
			if pool.Memory() != memories[level] {
				t.Errorf("level %d: %d bytes", level, pool.Memory())
			}
		}
	}
	mustOpen(t, pool, params(15, 15, true), 1) // contexts drive out what is idle, too
	if pool.Memory() != 64<<10 {
		t.Errorf("%d bytes", pool.Memory())
	}
}

// TestManyConnectionsStayBelowTheCeiling, and nothing that they say changes.
func TestManyConnectionsStayBelowTheCeiling(t *testing.T) {
	pool := ceiling(3 << 20)
	var sessions [16]struct{ server, client *Session }
	for n := range sessions { // of which those with contexts keep 1 MiB
		agreed := params(15, 15, n%2 == 0)
		sessions[n].server, sessions[n].client = mustOpen(t, pool, agreed, 1+n%9), mustOpen(t, pool, swapped(agreed), 1)
	}
	var wg sync.WaitGroup
	for n, with := range sessions {
		s, client := with.server, with.client
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 0))
			for range 50 {
				message := document(random, 2000)
				if payload, ok := s.Compress(nil, message); ok {
					if got, fault := client.Inflate(payload, Message{Text: true}); fault != nil || !bytes.Equal(got, message) {
						t.Error("a message changed: ", fault)
					}
				}
				if memory := pool.Memory(); memory > pool.ceiling+int64(cap(pool.inflaters))*inflaterSize {
					t.Errorf("%d bytes", memory)
				}
			}
		})
	}
	wg.Wait()
}

// TestMemoryIsWhatIsAllocated: the account is of what the library really takes.
func TestMemoryIsWhatIsAllocated(t *testing.T) {
	message := document(rand.New(rand.NewPCG(1, 1)), 300_000)
	dst := make([]byte, 0, 400_000)
	for level := range memories {
		k := Kind{level: level, bits: 15}
		if level == 0 {
			k.bits = 12
		}
		got := allocated(func() { newCompressor(k).compress(dst, nil, message, cap(dst)) })
		if got > k.memory() || got < k.memory()*9/10 {
			t.Errorf("level %d: %d bytes, accounted as %d", level, got, k.memory())
		}
	}
	payload, _ := newCompressor(Kind{level: 9, bits: 15}).compress(nil, nil, message, len(message))
	out := Message{Buffers: fixed(make([]byte, 0, 400_000)), Limit: 400_000}
	if got := allocated(func() { _, _ = newInflater().inflate(payload, nil, &out) }); got > inflaterSize {
		t.Errorf("inflater: %d bytes, accounted as %d", got, inflaterSize)
	} else {
		t.Logf("inflater: %d bytes", got)
	}
}

// fixed lends one buffer.
type fixed []byte

func (f fixed) Get(int) []byte { return f }
func (f fixed) Put([]byte)     {}

func allocated(do func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

func TestBoundHoldsForTheWorstThatWeSend(t *testing.T) {
	s := mustOpen(t, NewPool(0), params(15, 15, false), 1)
	for _, size := range []int{0, 1, 100, 70_000} {
		message := noise(rand.New(rand.NewPCG(1, 1)), size)
		for _, payload := range [][]byte{s.Fragment(nil, message, true), append(appendStored(nil, message), 0)} {
			if int64(len(payload)) > Bound(int64(size)) {
				t.Errorf("%d bytes became %d", size, len(payload))
			}
		}
	}
	if Bound(1<<62) < 0 || Bound(1<<63-1) < 0 {
		t.Error("overflow")
	}
}

func BenchmarkCompress(b *testing.B) {
	for _, level := range []int{1, 6} {
		for _, size := range []int{1 << 10, 16 << 10} {
			for _, context := range []bool{false, true} {
				b.Run(fmt.Sprintf("level=%d/size=%d/context=%v", level, size, context), func(b *testing.B) {
					s := mustOpen(b, NewPool(0), params(15, 15, context), level)
					random := rand.New(rand.NewPCG(1, 1))
					var messages [64][]byte
					for i := range messages {
						messages[i] = document(random, size)
						s.sent.add(messages[i])
					}
					dst := make([]byte, 0, size)
					n, total := 0, 0
					b.ReportAllocs()
					for b.Loop() {
						out, _ := s.Compress(dst, messages[n%len(messages)])
						n, total = n+1, total+len(out)
					}
					b.ReportMetric(float64(total)/float64(n), "bytes")
				})
			}
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		for _, context := range []bool{false, true} {
			b.Run(fmt.Sprintf("size=%d/context=%v", size, context), func(b *testing.B) {
				agreed := params(15, 15, context)
				pool := NewPool(0)
				message := document(rand.New(rand.NewPCG(1, 1)), size)
				payload, _ := mustOpen(b, pool, params(15, 15, false), 1).Compress(nil, message)
				s := mustOpen(b, pool, agreed, 1)
				m := Message{Text: true, Limit: 1 << 20, Buffers: fixed(make([]byte, 0, 1<<20))}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, fault := s.Inflate(payload, m); fault != nil {
						b.Fatal(fault)
					}
				}
			})
		}
	}
}

var _ wire.Buffers = fixed{}

package wire_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// readerWith returns a Reader over counting buffers.
func readerWith(t testing.TB, cfg wire.ReaderConfig) (*wire.Reader, *lender) {
	buffers := newLender(t)
	cfg.Buffers = buffers
	r := new(wire.Reader)
	r.Reset(&cfg)
	return r, buffers
}

func TestWholeFrameIsReadWithoutCopy(t *testing.T) {
	r, buffers := readerWith(t, wire.ReaderConfig{})
	for _, op := range []wire.Opcode{wire.Text, wire.Binary, wire.Ping, wire.Pong} {
		chunk := join(clientFrame(op, true, "payload"), clientFrame(wire.Ping, true, "next"))
		ev, n, fault := r.Next(chunk)
		if fault != nil || string(ev.Payload) != "payload" {
			t.Fatalf("%v: %+v, %v", op, ev, fault)
		}
		if unsafe.SliceData(ev.Payload) != &chunk[n-len("payload")] {
			t.Errorf("%v: payload was copied", op)
		}
		next := slices.Clone(chunk[n:])
		_ = append(ev.Payload, "overflow"...)
		if !bytes.Equal(chunk[n:], next) {
			t.Errorf("%v: appending to the payload wrote into the next frame", op)
		}
	}
	if buffers.requested > 0 {
		t.Errorf("%d bytes of buffers were requested", buffers.requested)
	}
}

func TestPayloadWholeInItsChunkIsNotCopied(t *testing.T) {
	r, buffers := readerWith(t, wire.ReaderConfig{})
	frame := join(clientFrame(wire.Text, false, ""), clientFrame(wire.Continuation, true, "payload"))
	header := len(frame) - len("payload")
	r.Next(frame[:6])
	r.Next(frame[6:header])
	ev, _, fault := r.Next(frame[header:])
	if fault != nil || unsafe.SliceData(ev.Payload) != &frame[header] || buffers.requested > 0 {
		t.Errorf("%+v, %v, %d bytes of buffers requested", ev, fault, buffers.requested)
	}
}

func TestWholeFrameAllocatesNothing(t *testing.T) {
	for _, size := range []int{0, 128, 16 << 10, 100_000} {
		r, _ := readerWith(t, wire.ReaderConfig{MessageLimit: 1 << 20})
		frame := clientFrame(wire.Text, true, strings.Repeat("x", size))
		chunk := make([]byte, len(frame))
		allocs := testing.AllocsPerRun(100, func() {
			copy(chunk, frame)
			if ev, _, fault := r.Next(chunk); fault != nil || ev.Kind != wire.MessageEvent {
				t.Fatal(ev, fault)
			}
		})
		if allocs != 0 {
			t.Errorf("%d bytes: %v allocations", size, allocs)
		}
	}
}

func TestBufferGrowsWithWhatArrivedNotWithWhatIsClaimed(t *testing.T) {
	r, buffers := readerWith(t, wire.ReaderConfig{})
	lie := wire.AppendHeader(nil, wire.Header{Fin: true, Opcode: wire.Binary, Masked: true, Length: 1<<63 - 1})
	if _, fault := feed(t, r, lie); fault != nil || buffers.requested != 0 {
		t.Fatalf("the header alone: %d bytes requested, %v", buffers.requested, fault)
	}
	arrived := 0
	for range 1000 {
		if _, fault := feed(t, r, make([]byte, 100)); fault != nil {
			t.Fatal(fault)
		}
		if arrived += 100; buffers.largest > 2*arrived {
			t.Fatalf("%d bytes arrived, %d requested at once", arrived, buffers.largest)
		}
	}
	if buffers.requested > 4*arrived {
		t.Errorf("%d bytes arrived, %d requested in all: growth is not geometric", arrived, buffers.requested)
	}
	r.Discard()
	if len(buffers.out) > 0 {
		t.Errorf("%d buffers are missing", len(buffers.out))
	}
}

func TestBufferNeverExceedsTheMessageOrTheLimit(t *testing.T) {
	const size = 10_000
	whole := clientFrame(wire.Binary, true, strings.Repeat("x", size))
	fragments := join(clientFrame(wire.Binary, false, strings.Repeat("x", size-10)), clientFrame(wire.Continuation, true, "0123456789"))
	for name, stream := range map[string][]byte{"one frame": whole, "fragments": fragments} {
		for _, chunkSize := range []int{1, 7, 999, 6000, 9999} {
			r, buffers := readerWith(t, wire.ReaderConfig{MessageLimit: size})
			for chunk := range slices.Chunk(stream, chunkSize) {
				if _, fault := feed(t, r, chunk); fault != nil {
					t.Fatal(fault)
				}
			}
			if buffers.largest > size || buffers.requested > 3*size+wire.MaxControlPayload*len(stream)/chunkSize {
				t.Errorf("%s by %d: %d bytes at once, %d in all", name, chunkSize, buffers.largest, buffers.requested)
			}
		}
	}
}

func TestBufferIsKeptForTheEventAndThenGivenBack(t *testing.T) {
	frame := clientFrame(wire.Text, true, "payload")
	for name, end := range map[string]func(*wire.Reader){
		"by Release": func(r *wire.Reader) { r.Release() },
		"by Next":    func(r *wire.Reader) { r.Next(nil) },
		"by Discard": func(r *wire.Reader) { r.Discard() },
		"by Reset":   func(r *wire.Reader) { r.Reset(&wire.ReaderConfig{}) },
	} {
		t.Run(name, func(t *testing.T) {
			r, buffers := readerWith(t, wire.ReaderConfig{})
			feed(t, r, frame[:8])
			ev, _, fault := r.Next(slices.Clone(frame[8:]))
			if fault != nil || string(ev.Payload) != "payload" || len(buffers.out) != 1 {
				t.Fatalf("%+v, %v, %d buffers", ev, fault, len(buffers.out))
			}
			end(r)
			end(r)
			if len(buffers.out) != 0 || r.InMessage() {
				t.Errorf("%d buffers are still lent", len(buffers.out))
			}
		})
	}
}

func TestReleaseKeepsTheUnfinishedMessage(t *testing.T) {
	r, buffers := readerWith(t, wire.ReaderConfig{})
	between := clientFrame(wire.Ping, true, "ping")
	feed(t, r, clientFrame(wire.Text, false, "Hel"))
	feed(t, r, between[:8])
	ev, _, _ := r.Next(slices.Clone(between[8:]))
	if string(ev.Payload) != "ping" || len(buffers.out) != 2 {
		t.Fatalf("%+v with %d buffers", ev, len(buffers.out))
	}
	r.Release()
	if len(buffers.out) != 1 || !r.InMessage() {
		t.Errorf("%d buffers, in a message is %v", len(buffers.out), r.InMessage())
	}
	got, fault := feed(t, r, clientFrame(wire.Continuation, true, "lo"))
	if fault != nil || !slices.Equal(got, []found{message(wire.Text, "Hello")}) || len(buffers.out) != 0 {
		t.Errorf("%+v, %v, %d buffers", got, fault, len(buffers.out))
	}
}

func BenchmarkReader(b *testing.B) {
	for _, c := range []struct {
		name  string
		op    wire.Opcode
		size  int
		chunk int
	}{
		{"text/128B", wire.Text, 128, 1 << 20},
		{"binary/128B", wire.Binary, 128, 1 << 20},
		{"text/16KiB", wire.Text, 16 << 10, 1 << 20},
		{"binary/16KiB", wire.Binary, 16 << 10, 1 << 20},
		{"text/16KiB-in-4KiB-chunks", wire.Text, 16 << 10, 4 << 10},
	} {
		b.Run(c.name, func(b *testing.B) {
			var r wire.Reader
			r.Reset(&wire.ReaderConfig{MessageLimit: 1 << 20, Buffers: &oneBuffer{}})
			// A zero key leaves the bytes as they are, so that unmasking in place can be done again and again.
			h := wire.Header{Fin: true, Opcode: c.op, Masked: true, Length: uint64(c.size)}
			frame := append(wire.AppendHeader(nil, h), strings.Repeat("x", c.size)...)
			chunks := slices.Collect(slices.Chunk(frame, c.chunk))
			b.SetBytes(int64(c.size))
			b.ReportAllocs()
			for b.Loop() {
				for _, chunk := range chunks {
					if _, _, fault := r.Next(chunk); fault != nil {
						b.Fatal(fault)
					}
				}
			}
		})
	}
}

// oneBuffer is a pool for one Reader.
type oneBuffer struct{ free [][]byte }

func (p *oneBuffer) Get(size int) []byte {
	for i, buf := range p.free {
		if cap(buf) >= size {
			p.free = slices.Delete(p.free, i, i+1)
			return buf[:0]
		}
	}
	return make([]byte, 0, size)
}

func (p *oneBuffer) Put(buf []byte) { p.free = append(p.free, buf) }

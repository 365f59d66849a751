package ws

import (
	"math/bits"
	"sync"
)

// chunkSize is what is read or written in one system call: two messages of 16 KiB and more fit, which
// halves the cost of such traffic against 32 KiB (measured).
const chunkSize = 64 << 10

type chunk = [chunkSize]byte

// buffers lends memory to connections: chunks for one system call, and sized buffers for messages that
// lie in several chunks (wire.Buffers). What is kept for later is bounded; the rest is the collector's.
type buffers struct {
	chunks sync.Pool
	lists  [maxClass - minClass + 1]chan []byte
}

// Sized buffers come in powers of two from 512 bytes to 4 MiB; a list keeps up to 4 MiB of one size.
const (
	minClass = 9
	maxClass = 22
)

func newBuffers() *buffers {
	b := &buffers{chunks: sync.Pool{New: func() any { return new(chunk) }}}
	for i := range b.lists {
		b.lists[i] = make(chan []byte, 1<<(maxClass-minClass-i))
	}
	return b
}

func (b *buffers) chunk() *chunk     { return b.chunks.Get().(*chunk) }
func (b *buffers) putChunk(c *chunk) { b.chunks.Put(c) }

// Get implements wire.Buffers.
func (b *buffers) Get(size int) []byte {
	class := max(bits.Len(uint(max(size, 1)-1)), minClass)
	if class > maxClass {
		return make([]byte, 0, size)
	}
	select {
	case buf := <-b.lists[class-minClass]:
		return buf
	default:
		return make([]byte, 0, 1<<class)
	}
}

// Put implements wire.Buffers.
func (b *buffers) Put(buf []byte) {
	class := bits.Len(uint(cap(buf))) - 1
	if class < minClass || class > maxClass || cap(buf) != 1<<class {
		return
	}
	select {
	case b.lists[class-minClass] <- buf[:0]:
	default:
	}
}

package deflate

import (
	"bytes"
	"math"
	"sync/atomic"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Session is what one connection keeps of compression. Compress and Fragment belong to who writes, Inflate to who
// reads: they may run beside each other, but not beside themselves, and must be called in the order of the wire.
type Session struct {
	pool     *Pool
	kind     Kind
	sent     window // the server's context
	received window // the client's
	closed   atomic.Bool
}

func (s *Session) memory() int64 { return int64(s.sent.size + s.received.size) }

// Kind says how the session compresses.
func (s *Session) Kind() Kind { return s.kind }

// Contextual says that what the session compresses may refer to what it compressed before, so nobody else can be sent it.
func (s *Session) Contextual() bool { return s.sent.size > 0 }

// Close ends the account of the contexts. Anyone may call it, also twice.
func (s *Session) Close() {
	if !s.closed.Swap(true) {
		s.pool.release(s.memory())
	}
}

// Compress appends a whole message to dst as it is to be sent, with RSV1 (RFC 7692 7.2.1). It returns false, and dst is
// free again, for a message that is to be sent as it is: it would not shrink, or there is no room for a compressor.
// Without a context the result depends on nothing but the payload, the level and the window.
func (s *Session) Compress(dst, payload []byte) (out []byte, ok bool) {
	if out, ok = s.compress(dst, payload, len(payload)+len(syncTail)-1); !ok {
		return nil, false
	}
	s.sent.add(payload)
	return out[:len(out)-len(syncTail)], true
}

// Fragment appends a fragment of a message of which the first was sent with RSV1 (RFC 7692 6.1). If there is no room for
// a compressor, it is wrapped without being compressed: the receiver is going to inflate it. Without a context each
// fragment is compressed by itself, so that nothing is held while the next is waited for.
func (s *Session) Fragment(dst, payload []byte, last bool) []byte {
	start := len(dst)
	if len(payload) > 0 {
		out, ok := s.compress(dst, payload, math.MaxInt)
		if !ok {
			out = appendStored(dst, payload)
		}
		dst = out
		s.sent.add(payload)
	}
	switch {
	case !last:
		return dst
	case bytes.HasSuffix(dst[start:], syncTail):
		return dst[:len(dst)-len(syncTail)]
	}
	// What was written ends with a whole byte. This one begins the empty block whose rest the receiver adds
	// (RFC 7692 7.2.3.6).
	return append(dst, 0)
}

func (s *Session) compress(dst, payload []byte, most int) ([]byte, bool) {
	c := s.pool.compressor(s.kind)
	if c == nil {
		return nil, false
	}
	out, ok := c.compress(dst, s.sent.bytes, payload, most)
	s.pool.takeBack(s.kind, c)
	return out, ok
}

// Message says how to inflate one.
type Message struct {
	Text    bool         // it must be UTF-8
	Limit   int64        // of its size in bytes once inflated; 0 or less: none
	Buffers wire.Buffers // lends the memory for it; nil: the Go heap
}

// Inflate returns a message that came with RSV1, in a buffer of m.Buffers that the caller gives back. It stops at the
// first byte over the limit, and at the first that no text can go on with. On a fault it has given the buffer back.
func (s *Session) Inflate(payload []byte, m Message) ([]byte, *wire.Fault) {
	if m.Limit <= 0 {
		m.Limit = math.MaxInt
	}
	message, fault := s.inflate(payload, &m)
	if fault != nil {
		m.put(message)
		return nil, fault
	}
	s.received.add(message)
	return message, nil
}

func (s *Session) inflate(payload []byte, m *Message) ([]byte, *wire.Fault) {
	i := s.pool.inflater()
	defer func() { s.pool.inflaters <- i }() // whatever happens: they are counted
	return i.inflate(payload, s.received.bytes, m)
}

func (m *Message) get(size int) []byte {
	if m.Buffers == nil {
		return make([]byte, 0, size)
	}
	return m.Buffers.Get(size)
}

func (m *Message) put(buf []byte) {
	if m.Buffers != nil {
		m.Buffers.Put(buf)
	}
}

// Bound is how long a message of size bytes may be when it is compressed: an eighth more is what zlib makes of noise
// at its worst, and the rest is for peers that flush a lot.
func Bound(size int64) int64 {
	if size > math.MaxInt64/2 {
		return size
	}
	return size + size/8 + 64<<10
}

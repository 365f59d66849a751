package ws

import (
	"sync"
	"sync/atomic"

	"github.com/holdfast-broker/holdfast/internal/ws/deflate"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Shared is a whole message that goes to many connections: it is framed once, and compressed once for all
// of them that compress it to the same bytes, which are those without a context of their own. It may be
// sent from any number of goroutines.
type Shared struct {
	op      wire.Opcode
	payload []byte
	plain   framed

	mu           sync.Mutex
	compressions map[deflate.Kind]*sharedCompression
}

// framed is a frame of a Shared as it goes on the wire.
type framed struct {
	of     *Shared
	header int // size of the header
	bytes  []byte
}

func (f *framed) payload() []byte { return f.bytes[f.header:] }

// sharedCompression is made by the first who needs it, while others wait.
type sharedCompression struct {
	once   sync.Once
	framed atomic.Pointer[framed] // nil: it is not made yet; that of the plain message: nothing else is to be sent
}

// NewShared makes a frame of a message: op is wire.Text or wire.Binary. payload must not change afterwards;
// text must be UTF-8.
func NewShared(op wire.Opcode, payload []byte) *Shared {
	s := &Shared{op: op, payload: payload}
	s.plain = s.frame(payload, false)
	return s
}

func (s *Shared) frame(payload []byte, compressed bool) framed {
	header := wire.HeaderSize(len(payload))
	b := make([]byte, 0, header+len(payload))
	b = wire.AppendHeader(b, wire.Header{Fin: true, RSV1: compressed, Opcode: s.op, Length: uint64(len(payload))})
	return framed{of: s, header: header, bytes: append(b, payload...)}
}

// compress answers the frame for sessions like this one, which must have no context. What found no compressor once stays
// as it is: a broadcast does not ask for each connection.
func (s *Shared) compress(session *deflate.Session, buffers *buffers) *framed {
	c := s.compression(session.Kind())
	c.once.Do(func() {
		ready, buf := &s.plain, buffers.Get(len(s.payload))
		if out, ok := session.Compress(buf, s.payload); ok {
			f := s.frame(out, true)
			ready, buf = &f, out
		}
		buffers.Put(buf)
		c.framed.Store(ready)
	})
	return c.framed.Load()
}

// compressed is what compress has answered for such sessions; nil if nobody has asked yet.
func (s *Shared) compressed(session *deflate.Session) *framed {
	return s.compression(session.Kind()).framed.Load()
}

func (s *Shared) compression(k deflate.Kind) *sharedCompression {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.compressions[k]
	if c == nil {
		if s.compressions == nil {
			s.compressions = make(map[deflate.Kind]*sharedCompression)
		}
		c = new(sharedCompression)
		s.compressions[k] = c
	}
	return c
}

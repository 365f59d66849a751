package ws

import (
	"net/http"

	"github.com/holdfast-broker/holdfast/internal/ws/deflate"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// DefaultCompressionThreshold is the size in bytes below which a message is not worth the work.
const DefaultCompressionThreshold = 1 << 10

// Compression says whether an endpoint agrees to compress messages (permessage-deflate, RFC 7692), and how. The zero
// value is off.
type Compression struct {
	Enabled bool
	// Level is 1 (fast) to 9 (small); it has no effect with a window below 15 bits. 0: deflate.DefaultLevel.
	Level int
	// Threshold is the size of the smallest message, or first fragment of one, that is compressed when
	// Message.Compress does not say. 0: DefaultCompressionThreshold; negative: all are.
	Threshold int
	// ServerContextTakeover lets what we send refer to what we sent before: smaller, but a window of memory for each
	// connection, and the time to look through it for each message.
	ServerContextTakeover bool
	// ClientContextTakeover lets the peer do so: a window of memory for each connection.
	ClientContextTakeover bool
	// ServerMaxWindowBits and ClientMaxWindowBits bound the windows: 8 (256 bytes) to 15 (32 KiB). 0: 15.
	ServerMaxWindowBits, ClientMaxWindowBits int
}

// prepared fills in the defaults.
func (c Compression) prepared() Compression {
	setDefault(&c.Threshold, DefaultCompressionThreshold)
	setDefault(&c.ServerMaxWindowBits, wire.MaxWindowBits)
	setDefault(&c.ClientMaxWindowBits, wire.MaxWindowBits)
	return c
}

func (c *Compression) preferences() wire.DeflateParams {
	return wire.DeflateParams{
		ServerNoContextTakeover: !c.ServerContextTakeover, ClientNoContextTakeover: !c.ClientContextTakeover,
		ServerMaxWindowBits: c.ServerMaxWindowBits, ClientMaxWindowBits: c.ClientMaxWindowBits,
	}
}

// compressed is what a connection has that agreed to compress.
type compressed struct {
	session    *deflate.Session
	extensions string // the answer to the handshake
}

// agree finds an offer of the client to agree to; nil if there is none, or no room for what it would have us keep.
func (e *Engine) agree(header http.Header, cfg *Config) *compressed {
	if !cfg.Compression.Enabled {
		return nil
	}
	offers, err := wire.Extensions(header)
	if err != nil {
		return nil // as an endpoint that does not compress: a connection without extensions is worth more than none
	}
	agreed, answer, ok := wire.NegotiateDeflate(offers, cfg.Compression.preferences())
	if !ok {
		return nil
	}
	session, ok := e.deflate.Open(agreed, cfg.Compression.Level)
	if !ok {
		return nil
	}
	return &compressed{session: session, extensions: answer}
}

// Extensions is what the connection agreed to, as Sec-WebSocket-Extensions says it; empty: nothing.
func (c *Conn) Extensions() string { return c.compressed.answer() }

func (c *compressed) answer() string {
	if c == nil {
		return ""
	}
	return c.extensions
}

// forget ends the account of what the connection kept. It may be called twice.
func (c *compressed) forget() {
	if c != nil {
		c.session.Close()
	}
}

// inflate makes a compressed message one that is not; the Handler of a connection that is closing gets none. The buffer
// that the message lies in is to be given back after use.
func (c *Conn) inflate(e *wire.Event) (buf []byte, fault *wire.Fault) {
	if !e.Compressed || c.closing.Load() {
		return nil, nil
	}
	buf, fault = c.compressed.session.Inflate(e.Payload, deflate.Message{
		Text: e.Opcode == wire.Text, Limit: c.cfg.MessageSize, Buffers: c.cfg.engine.buffers,
	})
	e.Payload, e.Compressed = buf, false
	c.reader.Release()
	return buf, fault
}

// compresses: the message is to be compressed. Of one in fragments, the first decides for all.
func (c *Conn) compresses(m *Message) bool {
	switch {
	case c.compressed == nil:
		return false
	case m.Shared != nil && !m.More && c.compressed.session.Contextual():
		return false // nobody could share what refers to a context
	case m.Compress != nil:
		return *m.Compress
	}
	return len(m.Payload) >= c.cfg.Compression.Threshold
}

// compress fills a batch up behind a frame that must be compressed before it can begin, and behind all such that come
// after it; false if nothing is left to write, and then the caller is not the writer any more. It holds no lock while it
// compresses: the current frame is the writer's.
func (c *Conn) compress(b *batch) bool {
	for b.compress {
		c.compressFrame(&c.queue.current)
		b.compress = false
		c.writeMu.Lock()
		more := c.fillLocked(b)
		c.writeMu.Unlock()
		if !more {
			return false
		}
	}
	return true
}

func (c *Conn) compressFrame(f *outFrame) {
	f.compress = false
	if f.ready != nil {
		c.compressShared(f)
		return
	}
	buf := c.cfg.engine.buffers.Get(len(f.payload))
	first := f.op != wire.Continuation
	if first && f.fin {
		out, ok := c.compressed.session.Compress(buf, f.payload)
		if !ok {
			c.cfg.engine.buffers.Put(buf)
			return
		}
		f.replace(out, true)
		return
	}
	f.replace(c.compressed.session.Fragment(buf, f.payload, f.fin), first)
}

func (c *Conn) compressShared(f *outFrame) {
	shared := f.ready.of
	if ready := shared.compress(c.compressed.session, c.cfg.engine.buffers); ready != &shared.plain {
		f.replace(nil, true)
		f.share(ready)
	}
}

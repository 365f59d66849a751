package deflate

import (
	"errors"

	"github.com/klauspost/compress/flate"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Kind says which compressors may stand in for each other, and so which sessions without a context compress a message
// to the same bytes.
type Kind struct {
	level int // 0 with a small window
	bits  int
}

// kindOf: klauspost/compress has levels for the full window alone. For smaller ones, down to 8 bits, which zlib cannot
// do, it has one way to compress, about as thorough as level 5.
func kindOf(bits, level int) Kind {
	switch {
	case bits < wire.MaxWindowBits:
		return Kind{bits: bits}
	case level == 0:
		level = DefaultLevel
	}
	return Kind{level: level, bits: bits}
}

// memories is what a compressor allocates, by level; 0 stands for those with a small window. Measured, and a test
// compares.
var memories = [10]int64{1082 << 10, 818 << 10, 1202 << 10, 1202 << 10, 946 << 10, 1074 << 10, 1074 << 10, 1010 << 10, 1010 << 10, 1402 << 10}

func (k Kind) memory() int64 { return memories[k.level] }

// compressor compresses one message at a time.
type compressor struct {
	flate *flate.Writer
	out   sink
}

func newCompressor(k Kind) *compressor {
	c := new(compressor)
	if k.level == 0 {
		c.flate, _ = flate.NewWriterWindow(&c.out, 1<<k.bits) // fails for sizes that are no window
	} else {
		c.flate, _ = flate.NewWriter(&c.out, k.level) // fails for levels that are none
	}
	return c
}

// compress appends payload, compressed and flushed to a whole byte, to dst; context is what the receiver saw before. It
// returns false if that would take more than most bytes.
func (c *compressor) compress(dst, context, payload []byte, most int) ([]byte, bool) {
	c.out = sink{buf: dst, room: most}
	c.flate.ResetDict(&c.out, context)
	_, err := c.flate.Write(payload)
	if err == nil {
		err = c.flate.Flush()
	}
	out := c.out.buf
	c.out = sink{}
	if len(context) > 0 {
		c.flate.ResetDict(&c.out, nil) // or it would hold on to the context
	}
	return out, err == nil
}

// sink collects what a compressor writes.
type sink struct {
	buf  []byte
	room int // bytes
}

var errNoRoom = errors.New("no room")

// Write implements io.Writer. Its error makes the compressor give up at once.
func (s *sink) Write(b []byte) (int, error) {
	if len(b) > s.room {
		return 0, errNoRoom
	}
	s.buf = append(s.buf, b...)
	s.room -= len(b)
	return len(b), nil
}

// maxStored is how much a stored block holds (RFC 1951 3.2.4).
const maxStored = 1<<16 - 1

// appendStored appends payload in blocks that are not compressed (RFC 1951 3.2.4), which takes no compressor.
func appendStored(dst, payload []byte) []byte {
	for len(payload) > 0 {
		n := min(len(payload), maxStored)
		dst = append(dst, 0, byte(n), byte(n>>8), ^byte(n), ^byte(n>>8))
		dst = append(dst, payload[:n]...)
		payload = payload[n:]
	}
	return dst
}

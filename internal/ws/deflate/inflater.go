package deflate

import (
	"bufio"
	"errors"
	"io"
	"slices"

	"github.com/klauspost/compress/flate"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// syncTail ends what a compressor flushes. The sender of a message leaves it out, and the receiver puts it back (RFC 7692
// 7.2.1 and 7.2.2).
var syncTail = []byte{0x00, 0x00, 0xff, 0xff}

// inputTail is what an inflater reads behind a message: syncTail, and an empty block that says it is the last, so that
// the end of the data is told from data that was cut.
var inputTail = []byte{0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff}

const (
	// inflaterSize is what an inflater takes in bytes: 43 KiB, and more for the tables of a hostile stream.
	inflaterSize = 80 << 10
	inputSize    = 4 << 10
	maxWindow    = 1 << wire.MaxWindowBits

	// maxStreams is how many blocks of one message may say that they are the last. RFC 7692 7.2.1 sets no limit, but
	// each costs the copy of a window, and fits in two bytes.
	maxStreams = 256
	// guess is how many times its size a message is expected to have when it is inflated.
	guess    = 4
	leastGet = 512
)

// inflater inflates one message at a time.
type inflater struct {
	flate  io.Reader     // also a flate.Resetter
	input  *bufio.Reader // flate reads it as fast as a slice, which would have to be a copy with the tail behind it
	source source
	more   [1]byte // for what may follow a message that has reached the limit
}

func newInflater() *inflater {
	i := new(inflater)
	i.input = bufio.NewReaderSize(&i.source, inputSize)
	i.flate = flate.NewReader(i.input)
	return i
}

// inflate returns the message as far as it got; its buffer is the caller's also with a fault.
func (i *inflater) inflate(payload, context []byte, m *Message) (out []byte, fault *wire.Fault) {
	i.source = source{rest: payload}
	i.input.Reset(&i.source)
	i.begin(context)
	defer func() { i.source = source{} }() // the payload is not ours to hold
	var text wire.UTF8
	out = m.get(int(min(m.Limit, int64(max(guess*len(payload), leastGet)))))
	for streams := 1; ; {
		start := len(out)
		var err error
		out, err = i.read(out, m)
		if m.Text && !text.Next(out[start:]) {
			return out, wire.FaultInvalidUTF8
		}
		switch {
		case err == nil:
		case errors.Is(err, errTooLong):
			return out, wire.FaultMessageTooLong
		case !errors.Is(err, io.EOF):
			return out, wire.FaultInvalidCompressedData
		case i.left() <= len(inputTail): // the end, said by us or by the sender
			if m.Text && !text.Complete() {
				return out, wire.FaultInvalidUTF8
			}
			return out, nil
		default: // RFC 7692 7.2.1: "Both DEFLATE blocks with the 'BFINAL' bit set to 0 and … to 1 may be used."
			if streams++; streams > maxStreams {
				return out, wire.FaultInvalidCompressedData
			}
			i.begin(lastOf(context, out))
		}
	}
}

func (i *inflater) begin(context []byte) {
	_ = i.flate.(flate.Resetter).Reset(i.input, context) // returns nil
}

var errTooLong = errors.New("message is longer than the limit")

// read appends what the inflater has next.
func (i *inflater) read(out []byte, m *Message) ([]byte, error) {
	if int64(len(out)) == m.Limit {
		n, err := i.flate.Read(i.more[:])
		if n > 0 {
			err = errTooLong
		}
		return out, err
	}
	if len(out) == cap(out) {
		grown := append(m.get(int(min(m.Limit, 2*int64(cap(out))))), out...)
		m.put(out)
		out = grown
	}
	n, err := i.flate.Read(out[len(out):int(min(m.Limit, int64(cap(out))))])
	return out[:len(out)+n], err
}

// left is how many bytes were not needed, those of inputTail included.
func (i *inflater) left() int { return i.input.Buffered() + i.source.left() }

// lastOf returns what of a context and the message behind it lies in a window.
func lastOf(context, message []byte) []byte {
	if len(message) >= maxWindow || len(context) == 0 {
		return message[max(0, len(message)-maxWindow):]
	}
	both := slices.Concat(context, message)
	return both[max(0, len(both)-maxWindow):]
}

// source is a message and inputTail behind it.
type source struct {
	rest []byte
	tail bool // rest is of inputTail
}

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.tail {
			return 0, io.EOF
		}
		s.rest, s.tail = inputTail, true
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *source) left() int {
	if s.tail {
		return len(s.rest)
	}
	return len(s.rest) + len(inputTail)
}

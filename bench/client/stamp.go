//go:build linux

package client

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"time"
)

// StampSize is the size of the smallest message, in bytes.
const StampSize = 4 + 4 + 8 + 8

// Stamp begins a message, so that whoever gets it can tell whether it is the right one.
type Stamp struct {
	Index uint32 // of the connection
	Seq   uint64 // of the message, from 0, per connection and direction
	Sent  int64  // as Now
}

// filler is the rest of a message, compared byte by byte. Random: no layer may guess it.
var filler = func() []byte {
	b := make([]byte, 64<<10)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(b)
	return b
}()

// AppendMessage appends a message of size bytes, from StampSize to 64 KiB.
func (s Stamp) AppendMessage(dst []byte, size int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	dst = binary.BigEndian.AppendUint32(dst, s.Index)
	dst = binary.BigEndian.AppendUint64(dst, s.Seq)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Sent))
	return append(dst, filler[:size-StampSize]...)
}

// ReadStamp reads a message; false if it is not one that was sent, in any byte.
func ReadStamp(message []byte) (Stamp, bool) {
	if len(message) < StampSize || uint32(len(message)) != binary.BigEndian.Uint32(message) ||
		!bytes.Equal(message[StampSize:], filler[:len(message)-StampSize]) {
		return Stamp{}, false
	}
	return Stamp{
		Index: binary.BigEndian.Uint32(message[4:]),
		Seq:   binary.BigEndian.Uint64(message[8:]),
		Sent:  int64(binary.BigEndian.Uint64(message[16:])),
	}, true
}

var start = time.Now()

// Now is a monotonic time in nanoseconds.
func Now() int64 { return int64(time.Since(start)) }

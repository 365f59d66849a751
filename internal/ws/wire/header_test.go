package wire_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func TestHeaderRoundTripAtEveryLengthEdge(t *testing.T) {
	lengths := []uint64{0, 1, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537, math.MaxInt32, 1 << 31, math.MaxInt64}
	for _, length := range lengths {
		for _, masked := range []bool{false, true} {
			h := wire.Header{Fin: true, Opcode: wire.Binary, Masked: masked, Length: length}
			if masked {
				h.Mask = testMask
			}
			checkRoundTrip(t, h)
		}
	}
}

func TestHeaderRoundTripOfRandomHeaders(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	flag := func() bool { return random.IntN(2) == 0 }
	for range 10_000 {
		h := wire.Header{
			Fin: flag(), RSV1: flag(), RSV2: flag(), RSV3: flag(), Masked: flag(),
			Opcode: wire.Opcode(random.IntN(16)),
			Length: random.Uint64() >> (1 + random.IntN(63)),
		}
		if h.Masked {
			h.Mask = [4]byte{byte(random.Int()), byte(random.Int()), byte(random.Int()), byte(random.Int())}
		}
		checkRoundTrip(t, h)
	}
}

// checkRoundTrip writes h and reads it back, from as many bytes as it has and from fewer.
func checkRoundTrip(t *testing.T, h wire.Header) {
	t.Helper()
	b := wire.AppendHeader([]byte("before"), h)[len("before"):]
	if len(b) > wire.MaxHeaderSize {
		t.Fatalf("%+v: %d bytes", h, len(b))
	}
	if got, n, fault := wire.ParseHeader(append(b, "after"...)); got != h || n != len(b) || fault != nil {
		t.Fatalf("wrote %+v, read %+v, %d bytes, %v", h, got, n, fault)
	}
	for size := range b {
		if got, n, fault := wire.ParseHeader(b[:size]); got != (wire.Header{}) || n != 0 || fault != nil {
			t.Fatalf("%+v from %d of %d bytes: %+v, %d, %v", h, size, len(b), got, n, fault)
		}
	}
}

func TestLengthMustBeInShortestForm(t *testing.T) {
	for name, c := range map[string]struct {
		length  []byte // from the second byte of the header
		refused bool
	}{
		"0 in 16 bits":        {[]byte{126, 0, 0}, true},
		"125 in 16 bits":      {[]byte{126, 0, 125}, true},
		"126 in 16 bits":      {[]byte{126, 0, 126}, false},
		"0 in 64 bits":        {[]byte{127, 0, 0, 0, 0, 0, 0, 0, 0}, true},
		"126 in 64 bits":      {[]byte{127, 0, 0, 0, 0, 0, 0, 0, 126}, true},
		"65535 in 64 bits":    {[]byte{127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, true},
		"65536 in 64 bits":    {[]byte{127, 0, 0, 0, 0, 0, 1, 0, 0}, false},
		"2^63-1":              {[]byte{127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, false},
		"2^63, top bit set":   {[]byte{127, 0x80, 0, 0, 0, 0, 0, 0, 0}, true},
		"2^64-1, top bit set": {[]byte{127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true},
		"masked, key not yet": {[]byte{0x80 | 126, 0, 1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, n, fault := wire.ParseHeader(append([]byte{0x82}, c.length...))
			if !c.refused {
				if fault != nil || n == 0 {
					t.Fatalf("refused: %v", fault)
				}
				return
			}
			checkFault(t, fault, wire.UnsupportedDataPayloadLength, 1002, "RFC 6455 5.2")
		})
	}
}

func TestServerFrameIsUnmaskedAndAsLongAsHeaderSizeSays(t *testing.T) {
	for _, size := range []int{0, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte("x"), size)
		b := wire.AppendFrame(nil, wire.Text, false, payload)
		h, n, fault := wire.ParseHeader(b)
		want := wire.Header{Opcode: wire.Text, Length: uint64(size)}
		if h != want || fault != nil || n != wire.HeaderSize(size) || !bytes.Equal(b[n:], payload) {
			t.Errorf("size %d: %+v, header of %d bytes, fault %v", size, h, n, fault)
		}
	}
}

func TestOpcodeNames(t *testing.T) {
	for op, want := range map[wire.Opcode]string{
		wire.Continuation: "continuation", wire.Text: "text", wire.Binary: "binary", 0x3: "reserved(0x3)",
		wire.Close: "close", wire.Ping: "ping", wire.Pong: "pong", 0xf: "reserved(0xf)",
	} {
		if got := op.String(); got != want {
			t.Errorf("opcode %d is %q, want %q", byte(op), got, want)
		}
		if op.IsControl() != (op >= wire.Close) {
			t.Errorf("opcode %v: IsControl is %v", op, op.IsControl())
		}
	}
}

// FuzzParseHeader: a header means what the model reads from it, and is written back to the same bytes, so there is one
// encoding of every header.
func FuzzParseHeader(f *testing.F) {
	for _, length := range []uint64{0, 125, 126, 65535, 65536, math.MaxInt64} {
		f.Add(wire.AppendHeader(nil, wire.Header{Fin: true, Opcode: wire.Text, Masked: true, Length: length}))
	}
	f.Add([]byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x82, 126, 0, 125})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, fault := wire.ParseHeader(b)
		want, size, legal := modelHeader(t, b)
		if h != want || n != size || (fault == nil) != legal {
			t.Fatalf("% x reads as %+v, %d bytes, %v; want %+v, %d bytes, legal: %v", b, h, n, fault, want, size, legal)
		}
		if fault != nil {
			checkFault(t, fault, wire.UnsupportedDataPayloadLength, 1002, "RFC 6455 5.2")
		} else if n > 0 && !bytes.Equal(wire.AppendHeader(nil, h), b[:n]) {
			t.Fatalf("% x is written back as % x", b[:n], wire.AppendHeader(nil, h))
		}
	})
}

// modelHeader reads a header off the picture in RFC 6455 5.2, whose columns are the indices of bits here. 0 bytes of a
// legal one: more are needed.
func modelHeader(t *testing.T, b []byte) (h wire.Header, n int, legal bool) {
	t.Helper()
	rest := bytes.NewReader(b)
	missing := func(v any) bool { return binary.Read(rest, binary.BigEndian, v) != nil }
	number := func(bits string) uint64 {
		v, err := strconv.ParseUint(bits, 2, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	var start uint16
	if missing(&start) {
		return wire.Header{}, 0, true
	}
	bits := fmt.Sprintf("%016b", start)
	h = wire.Header{
		Fin: bits[0] == '1', RSV1: bits[1] == '1', RSV2: bits[2] == '1', RSV3: bits[3] == '1',
		Opcode: wire.Opcode(number(bits[4:8])), Masked: bits[8] == '1', Length: number(bits[9:16]),
	}
	shortest := func(length uint64) uint64 {
		switch {
		case length < 126:
			return length
		case length < 1<<16:
			return 126
		}
		return 127
	}
	form, length16 := h.Length, uint16(0)
	switch {
	case form == 126 && missing(&length16), form == 127 && missing(&h.Length):
		return wire.Header{}, 0, true
	case form == 126:
		h.Length = uint64(length16)
	}
	if shortest(h.Length) != form || h.Length > math.MaxInt64 {
		return wire.Header{}, 0, false
	}
	if h.Masked && missing(&h.Mask) {
		return wire.Header{}, 0, true
	}
	return h, len(b) - rest.Len(), true
}

func BenchmarkHeader(b *testing.B) {
	for name, length := range map[string]uint64{"7-bit": 125, "16-bit": 1 << 10, "64-bit": 1 << 20} {
		header := wire.AppendHeader(nil, wire.Header{Fin: true, Opcode: wire.Binary, Masked: true, Mask: testMask, Length: length})
		b.Run("parse/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, _, fault := wire.ParseHeader(header); fault != nil {
					b.Fatal(fault)
				}
			}
		})
		b.Run("append/"+name, func(b *testing.B) {
			h := wire.Header{Fin: true, Opcode: wire.Binary, Length: length}
			var dst []byte
			for b.Loop() {
				dst = wire.AppendHeader(dst[:0], h)
			}
		})
	}
}

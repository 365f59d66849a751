package deflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestExamplesOfTheRFC are those of RFC 7692 7.2.3, and what its words allow besides.
func TestExamplesOfTheRFC(t *testing.T) {
	for name, c := range map[string]struct{ payload, want string }{
		"7.2.3.1 one block":        {"f2 48 cd c9 c9 07 00", "Hello"},
		"7.2.3.2 shared window":    {"f2 00 11 00 00", "Hello"}, // behind the one before
		"7.2.3.3 not compressed":   {"00 05 00 fa ff 48 65 6c 6c 6f 00", "Hello"},
		"7.2.3.4 BFINAL":           {"f3 48 cd c9 c9 07 00 00", "Hello"},
		"7.2.3.5 two blocks":       {"f2 48 05 00 00 00 ff ff ca c9 c9 07 00", "Hello"},
		"7.2.3.6 empty":            {"00", ""},
		"BFINAL twice":             {"f3 48 cd c9 c9 07 00 f3 48 cd c9 c9 07 00 00", "HelloHello"},
		"BFINAL, window goes on":   {"f3 48 cd c9 c9 07 00 f3 00 11 00 00", "HelloHello"},
		"BFINAL and nothing more":  {"f3 48 cd c9 c9 07 00", "Hello"}, // against 7.2.1, but what zlib's users take
		"empty blocks before":      {"02 00 00 00 ff ff f2 48 cd c9 c9 07 00", "Hello"},
		"flushed before the end":   {"f2 48 cd c9 c9 07 00 00 00 ff ff 00", "Hello"},
		"several ways of a block":  {"00 01 00 fe ff 48 f2 48 cd c9 c9 07 00", "HHello"},
		"a stored block of zeroes": {"00 02 00 fd ff 00 00 00", "\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, NewPool(0), params(15, 15, true), 1)
			if name == "7.2.3.2 shared window" {
				mustInflate(t, s, unhex(t, "f2 48 cd c9 c9 07 00"))
			}
			if got := mustInflate(t, s, unhex(t, c.payload)); string(got) != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestBrokenDataIsAFault(t *testing.T) {
	long := string(document(rand.New(rand.NewPCG(1, 1)), 5000))
	var cut bytes.Buffer
	w, _ := flate.NewWriter(&cut, 6)
	_, _ = w.Write([]byte(long))
	_ = w.Flush()
	for name, payload := range map[string][]byte{
		"nothing":             {},
		"block type 3":        unhex(t, "06 00"),
		"length check":        unhex(t, "00 05 00 00 00 48 65 6c 6c 6f 00"),
		"before the start":    unhex(t, "f2 00 11 00 00"),
		"noise":               noise(rand.New(rand.NewPCG(2, 2)), 1000),
		"cut":                 cut.Bytes()[:cut.Len()/2],
		"tail left in":        append([]byte("x"), cut.Bytes()...),
		"swallows the tail":   unhex(t, "00 20 00 df ff"),
		"very many BFINALs":   append(bytes.Repeat(unhex(t, "03 00"), maxStreams), 0),
		"incomplete code":     unhex(t, "04 e0 81 08 00 00 00 00 20 7f eb 0b 00 00"),
		"zlib's header first": append([]byte{0x78, 0x9c}, cut.Bytes()...),
	} {
		t.Run(name, func(t *testing.T) {
			buffers := &lender{t: t}
			s := mustOpen(t, NewPool(0), params(15, 15, false), 1)
			got, fault := s.Inflate(payload, Message{Limit: 1 << 20, Buffers: buffers})
			if fault != wire.FaultInvalidCompressedData || got != nil {
				t.Errorf("got %q, %v", got, fault)
			}
			buffers.returned()
			if got := mustInflate(t, s, unhex(t, "f2 48 cd c9 c9 07 00")); string(got) != "Hello" {
				t.Errorf("the next message is %q", got)
			}
		})
	}
}

func TestManyBFINALsAreFine(t *testing.T) {
	s := mustOpen(t, NewPool(0), params(15, 15, true), 1)
	hello := unhex(t, "f3 48 cd c9 c9 07 00")
	if got := mustInflate(t, s, append(bytes.Repeat(hello, maxStreams-1), 0)); len(got) != 5*(maxStreams-1) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestLimitCountsWhatIsInflated(t *testing.T) {
	pool := NewPool(0)
	s := mustOpen(t, pool, params(15, 15, false), 1)
	for _, size := range []int{1, 2, 511, 512, 513, 2048, 100_000} {
		message := bytes.Repeat([]byte("a"), size)
		payload := s.Fragment(nil, message, true)
		for _, limit := range []int{size - 1, size, size + 1} {
			if limit == 0 {
				continue
			}
			buffers := &lender{t: t}
			got, fault := s.Inflate(payload, Message{Limit: int64(limit), Buffers: buffers})
			switch {
			case limit >= size && (fault != nil || !bytes.Equal(got, message)):
				t.Errorf("%d bytes with a limit of %d: %v", size, limit, fault)
			case limit < size && fault != wire.FaultMessageTooLong:
				t.Errorf("%d bytes with a limit of %d: %v", size, limit, fault)
			}
			if got != nil {
				buffers.Put(got)
			}
			buffers.returned()
		}
	}
}

// bomb is DEFLATE data of about 1 MiB that inflates to about 1 GiB of zeros.
func bomb(t testing.TB) []byte {
	t.Helper()
	var part bytes.Buffer
	w, _ := flate.NewWriter(&part, 9)
	_, _ = w.Write(make([]byte, 4<<20))
	_ = w.Flush()
	return append(bytes.Repeat(part.Bytes(), 256), 0)
}

func TestBombIsRefusedInBoundedMemory(t *testing.T) {
	const limit = 1 << 20
	s := mustOpen(t, NewPool(0), params(15, 15, true), 1)
	payload := bomb(t)
	t.Logf("%d bytes on the wire", len(payload))
	mustInflate(t, s, unhex(t, "00")) // so that the inflater is there
	buffers := &lender{t: t}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, fault := s.Inflate(payload, Message{Limit: limit, Buffers: buffers})
	runtime.ReadMemStats(&after)
	if fault != wire.FaultMessageTooLong {
		t.Fatal(fault)
	}
	buffers.returned()
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d bytes allocated", allocated)
	if buffers.requested > limit || allocated > limit+64<<10 {
		t.Errorf("%d bytes lent, %d allocated, with a limit of %d", buffers.requested, allocated, limit)
	}
}

func TestBufferGrowsWithTheMessage(t *testing.T) {
	s := mustOpen(t, NewPool(0), params(15, 15, false), 1)
	payload := s.Fragment(nil, make([]byte, 900_000), true)
	buffers := &lender{t: t}
	got, fault := s.Inflate(payload, Message{Limit: 64 << 20, Buffers: buffers})
	if fault != nil || len(got) != 900_000 {
		t.Fatal(fault)
	}
	buffers.Put(got)
	buffers.returned()
	if buffers.requested > 4*len(got) {
		t.Errorf("%d bytes lent for a message of %d", buffers.requested, len(got))
	}
}

func TestTextIsCheckedWhileItIsInflated(t *testing.T) {
	s := mustOpen(t, NewPool(0), params(15, 15, false), 1)
	for text, want := range map[string]*wire.Fault{
		"": nil, "κόσμε": nil, strings.Repeat("κόσμε", 20_000): nil,
		"\xff": wire.FaultInvalidUTF8, "κόσμ\xce": wire.FaultInvalidUTF8,
		strings.Repeat("κ", 40_000) + "\xed\xa0\x80": wire.FaultInvalidUTF8,
	} {
		payload := s.Fragment(nil, []byte(text), true)
		buffers := &lender{t: t}
		got, fault := s.Inflate(payload, Message{Text: true, Limit: 1 << 20, Buffers: buffers})
		if fault != want || fault == nil && string(got) != text {
			t.Errorf("%.20q: %v, want %v", text, fault, want)
		}
		if _, fault := s.Inflate(payload, Message{Limit: 1 << 20}); fault != nil {
			t.Errorf("%.20q as binary: %v", text, fault)
		}
	}
	// The text is lost at its first byte: the bomb behind it is never inflated.
	payload := append(s.Fragment(nil, []byte("\xff"), false), bomb(t)...)
	buffers := &lender{t: t}
	if _, fault := s.Inflate(payload, Message{Text: true, Limit: 1 << 30, Buffers: buffers}); fault != wire.FaultInvalidUTF8 {
		t.Error(fault)
	}
	if buffers.requested > guess*len(payload) {
		t.Errorf("%d bytes lent", buffers.requested)
	}
}

func TestWindowOfEightBitsLooksBackNine(t *testing.T) {
	s := mustOpen(t, NewPool(0), params(15, 8, true), 1)
	if s.received.size != 512 || s.sent.size != 1<<15 {
		t.Errorf("windows are %d and %d", s.sent.size, s.received.size)
	}
}

// FuzzInflate: on any data, with any context, ours and the standard library's inflater come to the same.
func FuzzInflate(f *testing.F) {
	random := rand.New(rand.NewPCG(5, 5))
	s, _ := NewPool(0).Open(params(15, 15, false), 6)
	for _, size := range []int{0, 5, 300, 40_000} {
		f.Add(s.Fragment(nil, document(random, size), true), []byte{}, uint16(size))
		f.Add(s.Fragment(nil, noise(random, size), true), noise(random, size), uint16(0))
	}
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x00\x11\x00\x00"), []byte("Hello"), uint16(9))
	f.Fuzz(func(t *testing.T, payload, context []byte, limit uint16) {
		s := mustOpen(t, NewPool(0), params(15, 15, true), 1)
		s.received.add(context)
		buffers := &lender{t: t}
		got, fault := s.Inflate(payload, Message{Limit: int64(limit) + 1, Buffers: buffers})
		want, err := standard(payload, context, int(limit)+1)
		if (fault == nil) != (err == nil) || !bytes.Equal(got, want) { // of two faults, either may be found first
			t.Fatalf("got %d bytes, %v; want %d, %v", len(got), fault, len(want), err)
		}
		if got != nil {
			buffers.Put(got)
		}
		buffers.returned()
	})
}

// FuzzRoundTrip: what goes in comes out, however it is cut.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("Hello, Hello"), uint64(1), byte(0x77), byte(1))
	f.Fuzz(func(t *testing.T, message []byte, seed uint64, bits, level byte) {
		agreed := params(8+int(bits%8), 8+int(bits>>4%8), bits&8 != 0)
		pool := NewPool(0)
		server, client := mustOpen(t, pool, agreed, 1+int(level%9)), mustOpen(t, pool, swapped(agreed), 1)
		random := rand.New(rand.NewPCG(seed, seed))
		for range 3 {
			if payload, ok := server.Compress(nil, message); ok && !bytes.Equal(mustInflate(t, client, payload), message) {
				t.Fatal("a whole message changed")
			}
			if payload := fragmented(server, message, random); !bytes.Equal(mustInflate(t, client, payload), message) {
				t.Fatal("a message in fragments changed")
			}
		}
	})
}

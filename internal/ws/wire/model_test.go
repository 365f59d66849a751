package wire_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// model reads a whole stream at once, slowly and with nothing but RFC 6455 in mind: it shares no code with the Reader
// and knows no chunks. Each method takes one step; the stream ends where bytes are missing.
type model struct {
	cfg    wire.ReaderConfig
	stream []byte
	events []found
	fault  wire.FaultName

	inMessage  bool // between the first and the last fragment
	opcode     wire.Opcode
	compressed bool
	fragments  int
	content    []byte
}

// runModel returns what a stream means: the events, and the fault that ends it or "".
func runModel(cfg wire.ReaderConfig, stream []byte) ([]found, wire.FaultName) {
	m := model{cfg: cfg, stream: stream}
	for m.frame() {
	}
	return m.events, m.fault
}

func (m *model) fail(name wire.FaultName) bool {
	m.fault = name
	return false
}

// frame reads one frame and reports whether there may be another.
func (m *model) frame() bool {
	if len(m.stream) < 2 {
		return false
	}
	first, second := m.stream[0], m.stream[1]
	if name := m.judge(first, second); name != "" {
		return m.fail(name)
	}
	size, length := 2, uint64(second%128)
	if extra := map[uint64]int{126: 2, 127: 8}[length]; extra > 0 {
		if size += extra; len(m.stream) < size {
			return false
		}
		length = 0
		for _, b := range m.stream[2:size] {
			length = length*256 + uint64(b)
		}
		if extra == 2 && length < 126 || extra == 8 && (length < 65536 || length >= 1<<63) {
			return m.fail(wire.UnsupportedDataPayloadLength)
		}
	}
	var mask []byte
	if !m.cfg.Client {
		if size += 4; len(m.stream) < size {
			return false
		}
		mask = m.stream[size-4 : size]
	}
	op := wire.Opcode(first % 16)
	if name := m.admit(op, first, length); name != "" {
		return m.fail(name)
	}
	m.stream = m.stream[size:]
	return m.payload(op, first >= 128, mask, length)
}

// judge applies the rules for the first two bytes.
func (m *model) judge(first, second byte) wire.FaultName {
	fin, rsv1, rsv23, op := first&128 > 0, first&64 > 0, first&48 > 0, first%16
	switch {
	case rsv1 && !m.cfg.RSV1:
		return wire.UnexpectedRSV1
	case rsv1 && op != 1 && op != 2 && op != 3 && op != 4 && op != 5 && op != 6 && op != 7:
		return wire.UnexpectedRSV1
	case rsv23:
		return wire.UnexpectedRSV23
	case !slices.Contains([]byte{0, 1, 2, 8, 9, 10}, op):
		return wire.InvalidOpcode
	case op == 0 && !m.inMessage, (op == 1 || op == 2) && m.inMessage:
		return wire.InvalidOpcode
	case op >= 8 && !fin:
		return wire.ExpectedFIN
	case second < 128 && !m.cfg.Client:
		return wire.ExpectedMask
	case second >= 128 && m.cfg.Client:
		return wire.UnexpectedMask
	case op >= 8 && second%128 > 125:
		return wire.InvalidControlPayloadLength
	}
	return ""
}

// admit counts a frame against the limits.
func (m *model) admit(op wire.Opcode, first byte, length uint64) wire.FaultName {
	if op >= 8 {
		return ""
	}
	if op != 0 {
		m.inMessage, m.opcode, m.compressed = true, op, first&64 > 0
		m.fragments, m.content = 0, nil
	}
	m.fragments++
	if m.fragments > m.cfg.FragmentLimit {
		return wire.TooManyFragments
	}
	if uint64(len(m.content))+length > uint64(m.cfg.MessageLimit) {
		return wire.UnsupportedMessageLength
	}
	return ""
}

func (m *model) payload(op wire.Opcode, fin bool, mask []byte, length uint64) bool {
	var payload []byte
	for uint64(len(payload)) < length && len(m.stream) > 0 {
		b := m.stream[0]
		if mask != nil {
			b ^= mask[len(payload)%4]
		}
		payload, m.stream = append(payload, b), m.stream[1:]
	}
	whole := uint64(len(payload)) == length
	if op >= 8 {
		return whole && m.control(op, payload)
	}
	m.content = append(m.content, payload...)
	text := m.opcode == wire.Text && !m.compressed
	if text && !mayBecomeText(m.content) || text && whole && fin && !utf8.Valid(m.content) {
		return m.fail(wire.InvalidUTF8)
	}
	if whole && fin {
		m.events = append(m.events, found{wire.MessageEvent, m.opcode, m.compressed, string(m.content), 0, ""})
		m.inMessage = false
	}
	return whole
}

func (m *model) control(op wire.Opcode, payload []byte) bool {
	ev := found{Opcode: op, Payload: string(payload)}
	switch op {
	case wire.Ping:
		ev.Kind = wire.PingEvent
	case wire.Pong:
		ev.Kind = wire.PongEvent
	default:
		ev.Kind, ev.Code = wire.CloseEvent, 1005
		if len(payload) == 1 {
			return m.fail(wire.InvalidControlPayloadLength)
		}
		if len(payload) > 1 {
			ev.Code, ev.Reason = uint16(payload[0])*256+uint16(payload[1]), string(payload[2:])
			switch c := ev.Code; {
			case c < 1000, c > 1003 && c < 1007, c > 1014 && c < 3000, c > 4999:
				return m.fail(wire.InvalidCloseCode)
			case !utf8.ValidString(ev.Reason):
				return m.fail(wire.InvalidUTF8)
			}
		}
	}
	m.events = append(m.events, ev)
	return true
}

// compareWithModel reads a stream in chunks and compares with what the model says of the whole.
func compareWithModel(t *testing.T, cfg wire.ReaderConfig, stream []byte, chunks [][]byte) {
	t.Helper()
	want, name := runModel(cfg, stream)
	got, fault := read(t, cfg, chunks...)
	if !slices.Equal(got, want) {
		t.Fatalf("% x\nin %d chunks: %+v\nwant: %+v", stream, len(chunks), got, want)
	}
	if fault == nil {
		if name != "" {
			t.Fatalf("% x\nno fault, want %s", stream, name)
		}
		return
	}
	checkWellMade(t, fault)
	if fault.Name != name {
		t.Fatalf("% x\nfault %v, want %q", stream, fault, name)
	}
}

// cut cuts b at random places.
func cut(b []byte, random *rand.Rand) (chunks [][]byte) {
	most := 1 + random.IntN(64)
	for len(b) > 0 {
		n := min(len(b), 1+random.IntN(most))
		chunks, b = append(chunks, b[:n]), b[n:]
	}
	return chunks
}

// FuzzReader: however a stream is cut, the Reader finds in it what the model finds, and leaves no buffer behind.
func FuzzReader(f *testing.F) {
	for i, stream := range sampleStreams() {
		f.Add(stream, uint64(i), uint8(0))
		f.Add(stream, uint64(i), uint8(i%8))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64, setting uint8) {
		cfg := wire.ReaderConfig{
			MessageLimit:  []int64{1 << 40, 130}[setting&1],
			FragmentLimit: []int{100, 3}[setting>>1&1],
			RSV1:          setting&4 != 0,
			Client:        setting&8 != 0,
		}
		if setting&16 != 0 && !cfg.Client {
			stream = remask(stream)
		}
		random := rand.New(rand.NewPCG(seed, 0))
		compareWithModel(t, cfg, stream, [][]byte{stream})
		compareWithModel(t, cfg, stream, cut(stream, random))
		compareWithModel(t, cfg, stream, bytewise(stream))
	})
}

// remask sets the mask bit and a zero key in each frame of an unmasked stream: it lets the fuzzer get past the first
// rule that nearly every random stream breaks.
func remask(stream []byte) (masked []byte) {
	for len(stream) >= 2 {
		h, n, fault := wire.ParseHeader(stream)
		if fault != nil || n == 0 {
			break
		}
		size := min(uint64(len(stream)-n), h.Length)
		payload := stream[n : n+int(size)]
		h.Masked = true
		masked = append(wire.AppendHeader(masked, h), payload...)
		stream = stream[n+int(size):]
	}
	return append(masked, stream...)
}

func TestRandomFramesAgreeWithModel(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		var stream []byte
		for range 1 + random.IntN(8) {
			stream = append(stream, randomFrame(random)...)
		}
		cfg := wire.ReaderConfig{MessageLimit: int64(1 + random.IntN(2000)), FragmentLimit: 1 + random.IntN(6), RSV1: random.IntN(2) == 0}
		compareWithModel(t, cfg, stream, cut(stream, random))
	}
}

// randomFrame is mostly a legal one.
func randomFrame(random *rand.Rand) []byte {
	ops := []wire.Opcode{0, 0, 0, wire.Text, wire.Text, wire.Binary, wire.Ping, wire.Pong, wire.Close}
	h := wire.Header{Fin: random.IntN(3) > 0, Opcode: ops[random.IntN(len(ops))], RSV1: random.IntN(20) == 0}
	if h.Opcode.IsControl() {
		h.Fin = true
	}
	texts := []string{"", "a", "€", "\xe2\x82", "\xac", "𝄞", "\xf0\x9d", "\x84\x9e", "\x03\xe8", "\x03\xe8bye"}
	var payload strings.Builder
	for range random.IntN(3) {
		payload.WriteString(texts[random.IntN(len(texts))])
	}
	if random.IntN(6) == 0 {
		payload.Write(make([]byte, random.IntN(300)))
	}
	return maskedFrame(h, payload.String())
}

package wire_test

import (
	"slices"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// clientFrame is a whole frame as a client sends it.
func clientFrame(op wire.Opcode, fin bool, payload string) []byte {
	return maskedFrame(wire.Header{Fin: fin, Opcode: op}, payload)
}

func maskedFrame(h wire.Header, payload string) []byte {
	h.Masked, h.Mask, h.Length = true, testMask, uint64(len(payload))
	b := wire.AppendHeader(nil, h)
	start := len(b)
	b = append(b, payload...)
	wire.Mask(b[start:], testMask, 0)
	return b
}

func join(frames ...[]byte) []byte { return slices.Concat(frames...) }

// lender is Buffers that keeps count and gives exactly what was asked for.
type lender struct {
	t         testing.TB
	out       map[*byte]int // lent buffers and their size
	requested int           // bytes, in all
	largest   int           // bytes, of one request
}

func newLender(t testing.TB) *lender { return &lender{t: t, out: map[*byte]int{}} }

func (l *lender) Get(size int) []byte {
	if size <= 0 {
		l.t.Errorf("Get(%d): a buffer for nothing", size)
		size = 1
	}
	buf := make([]byte, 0, size)
	l.out[&buf[:1][0]] = size
	l.requested += size
	l.largest = max(l.largest, size)
	return buf
}

func (l *lender) Put(buf []byte) {
	if cap(buf) == 0 {
		l.t.Fatal("Put of no buffer")
	}
	first := &buf[:1][0]
	if size, lent := l.out[first]; !lent || size != cap(buf) {
		l.t.Fatalf("Put of a buffer that was not lent, or twice: cap %d", cap(buf))
	}
	clear(buf[:cap(buf)]) // whoever still reads it gets zeros
	delete(l.out, first)
}

// found is an event that outlives its payload.
type found struct {
	Kind       wire.Kind
	Opcode     wire.Opcode
	Compressed bool
	Payload    string
	Code       uint16
	Reason     string
}

func message(op wire.Opcode, payload string) found {
	return found{Kind: wire.MessageEvent, Opcode: op, Payload: payload}
}

func ping(payload string) found {
	return found{Kind: wire.PingEvent, Opcode: wire.Ping, Payload: payload}
}

// feed gives a copy of chunk to r and collects what it finds, up to a fault.
func feed(t testing.TB, r *wire.Reader, chunk []byte) (events []found, fault *wire.Fault) {
	t.Helper()
	chunk = slices.Clone(chunk)
	for {
		ev, n, fault := r.Next(chunk)
		switch {
		case fault != nil && (n != 0 || ev.Kind != wire.NoEvent):
			t.Fatalf("fault %v came with %d bytes and event %v", fault, n, ev)
		case fault != nil:
			return events, fault
		case ev.Kind == wire.NoEvent && n != len(chunk):
			t.Fatalf("no event, but %d of %d bytes taken", n, len(chunk))
		case ev.Kind == wire.NoEvent:
			return events, nil
		}
		events = append(events, found{ev.Kind, ev.Opcode, ev.Compressed, string(ev.Payload), ev.Code, ev.Reason})
		clear(chunk[:n]) // what was taken belongs to the past
		r.Release()
		chunk = chunk[n:]
	}
}

// read feeds a fresh Reader with chunks, and then checks that it left no buffer behind.
func read(t testing.TB, cfg wire.ReaderConfig, chunks ...[]byte) ([]found, *wire.Fault) {
	t.Helper()
	buffers := newLender(t)
	cfg.Buffers = buffers
	var r wire.Reader
	r.Reset(&cfg)
	var all []found
	var fault *wire.Fault
	for _, chunk := range chunks {
		var events []found
		if events, fault = feed(t, &r, chunk); len(events) > 0 {
			all = append(all, events...)
		}
		if !r.InMessage() && len(buffers.out) > 0 {
			t.Fatalf("idle, but holds %d buffers", len(buffers.out))
		}
		if fault != nil {
			break
		}
	}
	if fault != nil {
		checkStaysFailed(t, &r, fault)
		if len(buffers.out) > 0 {
			t.Fatalf("failed, but holds %d buffers", len(buffers.out))
		}
	}
	r.Discard()
	if len(buffers.out) > 0 {
		t.Fatalf("discarded, but %d buffers are missing", len(buffers.out))
	}
	return all, fault
}

func checkStaysFailed(t testing.TB, r *wire.Reader, fault *wire.Fault) {
	t.Helper()
	again := clientFrame(wire.Ping, true, "")
	if ev, n, got := r.Next(again); got != fault || n != 0 || ev.Kind != wire.NoEvent {
		t.Fatalf("after %v: event %v, %d bytes, fault %v", fault, ev, n, got)
	}
}

// bytewise cuts b into chunks of one byte.
func bytewise(b []byte) [][]byte { return slices.Collect(slices.Chunk(b, 1)) }

// checkFault compares a fault by what is stable: name, close code and section. "" means no fault.
func checkFault(t testing.TB, got *wire.Fault, name wire.FaultName, code uint16, section string) {
	t.Helper()
	if got == nil {
		if name != "" {
			t.Fatalf("no fault, want %s", name)
		}
		return
	}
	if got.Name != name || got.Code != code || got.Section != section {
		t.Fatalf("fault %v with code %d, want %s with code %d (%s)", got, got.Code, name, code, section)
	}
	checkWellMade(t, got)
}

// checkWellMade checks what every fault promises.
func checkWellMade(t testing.TB, fault *wire.Fault) {
	t.Helper()
	if !wire.ValidCloseCode(fault.Code) {
		t.Errorf("%v: close code %d cannot be sent", fault, fault.Code)
	}
	if len(fault.Text) == 0 || len(fault.Text) > wire.MaxReason || !isLine(fault.Text) {
		t.Errorf("%v: text cannot be a close reason", fault)
	}
	if code, known := documentedFaults[fault.Name]; !known || code != fault.Code {
		t.Errorf("%v: not a documented fault with code %d", fault, fault.Code)
	}
}

// isLine reports whether s is one line of printable ASCII.
func isLine(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// documentedFaults are the names that the public schema has, and UNEXPECTED_MASK, which only clients meet.
var documentedFaults = map[wire.FaultName]uint16{
	"EXPECTED_FIN":                    1002,
	"EXPECTED_MASK":                   1002,
	"INVALID_CLOSE_CODE":              1002,
	"INVALID_COMPRESSED_DATA":         1007,
	"INVALID_CONTROL_PAYLOAD_LENGTH":  1002,
	"INVALID_OPCODE":                  1002,
	"INVALID_UTF8":                    1007,
	"TOO_MANY_FRAGMENTS":              1008,
	"UNEXPECTED_MASK":                 1002,
	"UNEXPECTED_RSV_1":                1002,
	"UNEXPECTED_RSV_2_3":              1002,
	"UNSUPPORTED_DATA_PAYLOAD_LENGTH": 1002,
	"UNSUPPORTED_MESSAGE_LENGTH":      1009,
}

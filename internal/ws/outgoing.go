package ws

import "github.com/holdfast-broker/holdfast/internal/ws/wire"

// outFrame is one frame to write.
type outFrame struct {
	op           wire.Opcode
	fin          bool
	begun        bool // the header is on its way
	ends         bool // the last frame of a message
	compress     bool // before it begins
	rsv1         bool // it begins a message that is compressed
	replaced     bool // payload is compressed, and plain is how long it was
	confirmation Confirmation
	payload      []byte // what is left of it
	buf          []byte // what payload was compressed into; else nil
	plain        int
	ready        *framed // of a Shared: the frame as it goes on the wire; else nil
	done         Done
}

// outMessage is one message: a frame, or fragments that come one by one.
type outMessage struct {
	expires   int64 // 0: never
	begun     bool  // a frame of it was taken: it must be completed
	compress  bool  // fragments: each is to be compressed
	frames    []outFrame
	single    [1]outFrame // backs frames of a message that is whole
	op        wire.Opcode // of fragments
	number    uint64      // of fragments, else 0
	open      bool        // fragments: more will come
	continued int64       // fragments: when the last one came
}

func newFrame(op wire.Opcode, m *Message, done Done, compress bool) outFrame {
	f := outFrame{op: op, fin: !m.More, payload: m.Payload, done: done, compress: compress}
	if done != nil {
		f.confirmation = m.Confirmation
	}
	if m.Shared != nil && !m.More && m.Fragment == 0 {
		f.share(&m.Shared.plain)
	}
	return f
}

// share makes a frame one of a Shared.
func (f *outFrame) share(ready *framed) { f.ready, f.payload = ready, ready.payload() }

// replace makes a frame one that carries its payload compressed.
func (f *outFrame) replace(compressed []byte, first bool) {
	f.plain, f.replaced, f.rsv1 = len(f.payload), true, first
	f.payload, f.buf = compressed, compressed
}

// counts is how many bytes of payload go off the account with the next n bytes of the frame, which are taken already: it
// was put there before it was compressed.
func (f *outFrame) counts(n int) int {
	switch {
	case !f.replaced:
		return n
	case len(f.payload) > 0:
		return 0
	}
	return f.plain
}

func (om *outMessage) expired(now int64) bool {
	return om.expires != 0 && now >= om.expires && !om.begun
}

// droppable: whole, and nothing of it is on its way.
func (om *outMessage) droppable() bool { return !om.open && !om.begun }

func (om *outMessage) size() (n int) {
	for i := range om.frames {
		n += len(om.frames[i].payload)
	}
	return n
}

func appendDone(dst []Done, d Done) []Done {
	if d == nil {
		return dst
	}
	return append(dst, d)
}

package wire

// Reader turns the bytes of one connection into events. It is fed chunks as they come from the socket, and holds a
// buffer only while a frame or message is unfinished. It must be Reset before use.
type Reader struct {
	cfg   *ReaderConfig // shared by all connections of an endpoint
	fault *Fault        // the first one, for good

	frame   frame
	message message

	// held is a header, or the payload of a control frame, whose end has not arrived. It has its own buffer because
	// control frames come between the fragments of a message (RFC 6455 5.4).
	held []byte
}

// frame is the frame that is being read; between frames, the last one.
type frame struct {
	remaining int // bytes of payload still to come
	mask      [maskSize]byte
	maskPos   byte
	opcode    Opcode
	fin       bool
	phase     phase
}

type phase byte

const (
	inHeader  phase = iota // the next byte belongs to a header
	inPayload              // … to the payload, or would if it were not empty
	lent                   // … to a header; until then the caller has the last event's payload, perhaps in our buffer
)

// message is the message that is being assembled.
type message struct {
	buf        []byte // what has come of it, unless it lies whole in one chunk
	fragments  int
	opcode     Opcode // Continuation: no message has begun
	compressed bool
	text       UTF8
}

// Reset makes the Reader ready for a new connection, whatever became of the one before.
func (r *Reader) Reset(cfg *ReaderConfig) {
	r.Discard()
	*r = Reader{cfg: cfg}
}

// Next reads chunk up to the end of the first event in it and says how many bytes those were; the caller goes on with
// chunk[n:]. NoEvent means that all of chunk was taken and more is needed. Payload bytes are unmasked in place.
//
// The payload of an event lies in chunk where it can (then nothing is copied or allocated), otherwise in a buffer. It
// is the caller's to read and change until the next call of a method other than InMessage.
//
// A fault ends the connection: n is 0, no buffer is held, and every further Next returns the same fault. After a
// CloseEvent the caller stops: RFC 6455 1.4 discards what follows, while Next would go on.
func (r *Reader) Next(chunk []byte) (ev Event, n int, fault *Fault) {
	r.Release()
	if r.fault != nil {
		return Event{}, 0, r.fault
	}
	var taken int
	for n < len(chunk) {
		if r.frame.phase == inHeader {
			if taken, fault = r.readHeader(chunk[n:]); fault != nil {
				return Event{}, 0, r.fail(fault)
			}
			n += taken
		}
		if r.frame.phase == inPayload {
			if taken, fault = r.readPayload(chunk[n:], &ev); fault != nil {
				return Event{}, 0, r.fail(fault)
			}
			if n += taken; ev.Kind != NoEvent {
				return ev, n, nil
			}
		}
	}
	return Event{}, n, nil
}

// Release ends the use of the last event's payload and gives its buffer back, if it had one. Next does so too: Release
// is for a caller that does not know when the next bytes come. What has arrived of an unfinished message stays.
func (r *Reader) Release() {
	if r.frame.phase != lent {
		return
	}
	r.frame.phase = inHeader
	if r.frame.opcode.IsControl() {
		r.release(&r.held)
	} else {
		r.release(&r.message.buf)
	}
}

// Discard ends the connection for the Reader: it gives back every buffer, also that of an unfinished message. After it
// only Reset, Discard and InMessage may be called.
func (r *Reader) Discard() {
	r.release(&r.held)
	r.release(&r.message.buf)
	r.frame, r.message = frame{}, message{}
}

// Held is how many bytes of memory an unfinished message takes.
func (r *Reader) Held() int { return cap(r.message.buf) }

// InMessage reports whether a header, frame or message has begun and not ended: the stream must not end here. A Reader
// for which it is false, and whose last event was released, holds no buffer.
func (r *Reader) InMessage() bool {
	switch r.frame.phase {
	case inHeader:
		return r.message.opcode != Continuation || len(r.held) > 0
	case inPayload:
		return true
	}
	return r.message.opcode != Continuation
}

func (r *Reader) fail(fault *Fault) *Fault {
	r.Discard()
	r.fault = fault
	return fault
}

func (r *Reader) release(buf *[]byte) {
	if *buf != nil {
		r.cfg.put(*buf)
		*buf = nil
	}
}

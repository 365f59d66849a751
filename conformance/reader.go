package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

type kind int

const (
	gotMessage kind = iota
	gotPing
	gotPong
	gotClose
	ended  // TCP is over
	broken // the broker broke the protocol
)

// event is something the broker did.
type event struct {
	kind       kind
	opcode     byte // of a message
	payload    []byte
	compressed bool
	frames     int
	code       uint16 // of a close frame; 1005 if it has none
	reason     string
	how        string // TCP ended, or what was broken
}

func (e event) String() string {
	switch e.kind {
	case gotMessage:
		s := opcodeNames[e.opcode] + " " + clip(e.payload)
		if e.frames > 1 {
			s += fmt.Sprintf(" in %d frames", e.frames)
		}
		if e.compressed {
			s += ", compressed"
		}
		return s
	case gotPing:
		return "ping " + clip(e.payload)
	case gotPong:
		return "pong " + clip(e.payload)
	case gotClose:
		return fmt.Sprintf("close %d %q", e.code, e.reason)
	case ended:
		return "TCP " + e.how
	}
	return "protocol broken by the broker: " + e.how
}

// reader makes events of the broker's frames, and finds what a server must not send.
type reader struct {
	in      *bufio.Reader
	codec   *codec
	message event // unfinished; frames is 0 when there is none
	closed  bool  // a close frame came
}

var errProtocol = errors.New("protocol")

func violation(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errProtocol}, args...)...)
}

// next waits for the next event.
func (r *reader) next() event {
	for {
		f, err := r.readFrame()
		if err == nil && r.closed {
			err = violation("a frame after the close frame (RFC 6455 5.5.1): %v", f)
		}
		var e event
		complete := false
		if err == nil {
			e, complete, err = r.take(f)
		}
		switch {
		case errors.Is(err, errProtocol):
			return event{kind: broken, how: err.Error()}
		case err != nil:
			return endOf(err)
		case complete:
			return e
		}
	}
}

// readFrame reads a frame and judges its header as a client must (RFC 6455 5.1, 5.2, 5.5).
func (r *reader) readFrame() (frame, error) {
	var start [2]byte
	if _, err := io.ReadFull(r.in, start[:]); err != nil {
		return frame{}, err
	}
	f := frame{opcode: start[0] & 0x0F, more: start[0]&0x80 == 0, rsv: start[0] >> 4 & 7}
	length, err := r.readLength(start[1])
	switch {
	case err != nil:
		return frame{}, inside(err)
	case start[1]&0x80 != 0:
		return frame{}, violation("a masked frame (5.1)")
	case f.rsv&^rsv1 != 0, f.rsv != 0 && (r.codec == nil || f.opcode != opText && f.opcode != opBinary):
		return frame{}, violation("reserved bits %03b on opcode %#x (5.2)", f.rsv, f.opcode)
	case opcodeNames[f.opcode] == "":
		return frame{}, violation("reserved opcode %#x (5.2)", f.opcode)
	case f.opcode >= opClose && (f.more || length > 125):
		return frame{}, violation("a control frame of %d bytes, FIN=%v (5.5)", length, !f.more)
	case length > 64<<20:
		return frame{}, violation("a frame of %d bytes, more than any test sends", length)
	}
	f.payload = make([]byte, length)
	_, err = io.ReadFull(r.in, f.payload)
	return f, inside(err)
}

func (r *reader) readLength(second byte) (uint64, error) {
	var extended [8]byte
	switch length := uint64(second & 0x7F); length {
	case 126:
		_, err := io.ReadFull(r.in, extended[6:])
		if length = binary.BigEndian.Uint64(extended[:]); err == nil && length <= 125 {
			err = violation("length %d in 16 bits (5.2)", length)
		}
		return length, err
	case 127:
		_, err := io.ReadFull(r.in, extended[:])
		if length = binary.BigEndian.Uint64(extended[:]); err == nil && length <= 0xFFFF {
			err = violation("length %d in 64 bits (5.2)", length)
		}
		return length, err
	default:
		return length, nil
	}
}

// inside: an end within a frame is no orderly one.
func inside(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// take makes an event of a frame, unless it is a fragment that others follow.
func (r *reader) take(f frame) (e event, complete bool, err error) {
	switch f.opcode {
	case opPing:
		return event{kind: gotPing, payload: f.payload}, true, nil
	case opPong:
		return event{kind: gotPong, payload: f.payload}, true, nil
	case opClose:
		r.closed = true
		e, err = closeEvent(f.payload)
		return e, true, err
	}
	m := &r.message
	if (f.opcode == opContinuation) != (m.frames > 0) {
		return event{}, false, violation("%v, when %d fragments of a message had come (5.4)", f, m.frames)
	}
	if m.frames == 0 {
		*m = event{kind: gotMessage, opcode: f.opcode, compressed: f.rsv&rsv1 != 0}
	}
	m.frames++
	m.payload = append(m.payload, f.payload...)
	if f.more {
		return event{}, false, nil
	}
	e, r.message = r.message, event{}
	return e, true, r.finish(&e)
}

// finish inflates a message and checks its text.
func (r *reader) finish(e *event) (err error) {
	if e.compressed {
		if e.payload, err = r.codec.inflate(e.payload); err != nil {
			return violation("%v (RFC 7692 7.2.2)", err)
		}
	}
	if e.opcode == opText && !utf8.Valid(e.payload) {
		return violation("text that is not UTF-8 (5.6)")
	}
	return nil
}

func closeEvent(payload []byte) (event, error) {
	e := event{kind: gotClose, code: 1005}
	if len(payload) == 0 {
		return e, nil
	}
	if len(payload) == 1 {
		return e, violation("a close frame of one byte (5.5.1)")
	}
	e.code, e.reason = binary.BigEndian.Uint16(payload), string(payload[2:])
	if !sendable(e.code) || !utf8.ValidString(e.reason) {
		return e, violation("close code %d, reason %q (7.4)", e.code, e.reason)
	}
	return e, nil
}

// sendable: the close codes that may stand in a frame (RFC 6455 7.4 and the IANA registry).
func sendable(code uint16) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}

package wire

import "strconv"

// Opcode says what a frame carries (RFC 6455 5.2). Only the low four bits exist on the wire.
type Opcode byte

// The opcodes of RFC 6455 11.8. 0x3 to 0x7 and 0xB to 0xF are reserved.
const (
	Continuation Opcode = 0x0 // the next fragment of a message
	Text         Opcode = 0x1 // a message of UTF-8, or its first fragment
	Binary       Opcode = 0x2 // a message of any bytes, or its first fragment
	Close        Opcode = 0x8 // the closing handshake; see ParseClose
	Ping         Opcode = 0x9 // to be answered with a Pong that carries the same payload
	Pong         Opcode = 0xA // the answer, or an unasked sign of life
)

// IsControl reports whether the opcode is one of control frames, reserved ones included (RFC 6455 5.5).
func (o Opcode) IsControl() bool { return o&0x8 != 0 }

// isReserved reports whether no RFC gives the opcode a meaning (RFC 6455 5.2).
func (o Opcode) isReserved() bool { return o > Pong || o > Binary && o < Close }

// String returns the opcode's name in lower case, such as "text"; a reserved one is written "reserved(0x3)".
func (o Opcode) String() string {
	switch o {
	case Continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return "reserved(0x" + strconv.FormatUint(uint64(o), 16) + ")"
}

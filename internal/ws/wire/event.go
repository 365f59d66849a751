package wire

// Kind says what a Reader found.
type Kind byte

// The kinds of events.
const (
	NoEvent      Kind = iota // more bytes are needed
	MessageEvent             // a whole message, assembled
	PingEvent                // to be answered (RFC 6455 5.5.2)
	PongEvent                // RFC 6455 5.5.3
	CloseEvent               // to be answered, and the last that counts (RFC 6455 5.5.1)
)

// String returns the name of the kind in lower case, such as "message".
func (k Kind) String() string {
	switch k {
	case MessageEvent:
		return "message"
	case PingEvent:
		return "ping"
	case PongEvent:
		return "pong"
	case CloseEvent:
		return "close"
	}
	return "none"
}

// Event is one thing that a peer said. The zero Event is NoEvent.
type Event struct {
	Kind       Kind
	Opcode     Opcode // of a message Text or Binary, else that of the control frame
	Compressed bool   // a message that must be inflated, and if it is text then checked for UTF-8; needs ReaderConfig.RSV1
	Payload    []byte // of the message or control frame; see Reader.Next for how long it lives
	Code       uint16 // of a close; NoStatusReceived if the frame had none
	Reason     string // of a close; a copy
}

// setControl makes ev the event of a whole control frame.
func (ev *Event) setControl(op Opcode, payload []byte) (fault *Fault) {
	ev.Opcode, ev.Payload = op, payload
	switch op {
	case Ping:
		ev.Kind = PingEvent
	case Pong:
		ev.Kind = PongEvent
	default: // Check let no other through
		ev.Kind = CloseEvent
		ev.Code, ev.Reason, fault = ParseClose(payload)
	}
	return fault
}

package hub

import "time"

// Kind of an event.
type Kind uint8

// The kinds, in the order of the public schema.
const (
	_ Kind = iota
	KindOpen
	KindMessage
	KindClose
	KindPing
	KindPong
	KindWritable
)

// String is the kind's token in a NATS subject.
func (k Kind) String() string {
	switch k {
	case KindOpen:
		return "open"
	case KindMessage:
		return "message"
	case KindClose:
		return "close"
	case KindPing:
		return "ping"
	case KindPong:
		return "pong"
	case KindWritable:
		return "writable"
	}
	return "unknown"
}

// Opcode of a message.
type Opcode uint8

// The two kinds of message of RFC 6455 5.6.
const (
	Text   Opcode = 1
	Binary Opcode = 2
)

// String is the value of the Holdfast-Opcode header.
func (o Opcode) String() string {
	if o == Text {
		return "text"
	}
	return "binary"
}

// Attribute is one name and value that a backend attached to a connection.
type Attribute struct{ Name, Value string }

// Event is one thing that happened on a connection.
type Event struct {
	Kind   Kind
	Opcode Opcode // of a KindMessage
	Conn   *Conn  // whose ID, namespace and endpoint the event bears
	// Seq counts open, message and close from 1; the other kinds carry that of the event before.
	Seq  uint64
	User string
	// Attributes are those that the endpoint's EventAttributes names, on a KindMessage. Not to be
	// modified.
	Attributes []Attribute
	// Payload of a message, ping or pong. Valid only until Publish returns.
	Payload []byte
	Info    *Info   // on KindOpen
	Closed  *Closed // on KindClose
}

// Publisher is what the core asks of the bus.
type Publisher interface {
	// Publish takes an event and sees to it that it reaches the bus, in the order of the calls. It
	// never blocks and keeps nothing that e points to but Conn, Info and Closed.
	//
	// It answers false when it has no room: the event is not taken, and once there is room it calls
	// e.Conn.Room, from another goroutine. Events that cannot be held back (open, close, writable) are
	// always taken; false for an open means that it is taken but not published yet, and then Room is
	// called as soon as other events of the connection may follow.
	Publish(e Event) bool
}

// Cause says who or what ended a connection.
type Cause uint8

// The causes, in the order of the public schema.
const (
	_ Cause = iota
	CausePeerClose
	CauseBackendClose
	CauseBackendTerminate
	CauseProtocolFault
	CauseMessageTooLarge
	CauseSlowConsumer
	CauseMessageAbandoned
	CausePingTimeout
	CauseIdleTimeout
	CauseExpired
	CauseRateLimited
	CauseNodeDrain
	CauseNodeLost
	CauseTransportError
	CauseInternal
	causeEnd
)

var causeNames = [causeEnd]string{
	"CAUSE_UNSPECIFIED", "PEER_CLOSE", "BACKEND_CLOSE", "BACKEND_TERMINATE", "PROTOCOL_FAULT",
	"MESSAGE_TOO_LARGE", "SLOW_CONSUMER", "MESSAGE_ABANDONED", "PING_TIMEOUT", "IDLE_TIMEOUT", "EXPIRED",
	"RATE_LIMITED", "NODE_DRAIN", "NODE_LOST", "TRANSPORT_ERROR", "INTERNAL",
}

// String is the cause's name in the public schema.
func (c Cause) String() string {
	if c >= causeEnd {
		c = 0
	}
	return causeNames[c]
}

// Causes lists every cause, for tables that must cover them all.
func Causes() []Cause {
	all := make([]Cause, 0, causeEnd-1)
	for c := Cause(1); c < causeEnd; c++ {
		all = append(all, c)
	}
	return all
}

// Closed says how a connection ended and what passed through it.
type Closed struct {
	ID         ID
	Namespace  string
	Endpoint   string
	User       string
	Attributes []Attribute // sorted by name
	End        End
	OpenTime   time.Time
	CloseTime  time.Time
	Traffic    Traffic
}

// End is how a socket ended.
type End struct {
	// Code and Reason are the peer's: 1005 when its close frame had no code, 1006 when none came.
	Code   uint16
	Reason string
	// SentCode and SentReason are ours; 0 when no close frame was sent, 1005 when one without a code.
	SentCode   uint16
	SentReason string
	WasClean   bool
	Cause      Cause
	// Fault is the stable name of the broken protocol rule; empty when none was.
	Fault string
	// Detail is one line for people.
	Detail string
}

// Traffic counts whole messages and their payload bytes.
type Traffic struct {
	MessagesIn, BytesIn, MessagesOut, BytesOut uint64
}

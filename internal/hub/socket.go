package hub

import (
	"sync"
	"time"
)

// Confirmation is what a sender wants to know.
type Confirmation uint8

// The confirmations, each including the one before.
const (
	Queued   Confirmation = iota // in the send queue
	Written                      // the kernel took the last byte
	Received                     // the peer answered a ping sent behind it
)

// Message is one message, or one fragment of one, for a client.
type Message struct {
	Opcode  Opcode
	Payload []byte // kept until written: not to be modified after Send
	// More: fragments follow. Fragment continues the unfinished message of that number; 0 begins one.
	More     bool
	Fragment uint64
	// Compress: nil leaves it to the endpoint.
	Compress     *bool
	Confirmation Confirmation
	ExpireAfter  time.Duration // 0: never
	// Later: others may follow at once, and Socket.Flush after the last, so that they are written together.
	Later bool
	// Lent: Payload is a small part of something that is not to be kept for it. What is queued is a copy.
	Lent bool
	// Prepared is there for a whole message that goes to many sockets; else nil.
	Prepared *Prepared
}

// Prepared is shared by all sends of one message: sockets keep there what needs to be made only once.
type Prepared struct {
	once  sync.Once
	value any
}

// Value answers what produce made; it is called once.
func (p *Prepared) Value(produce func() any) any {
	p.once.Do(func() { p.value = produce() })
	return p.value
}

// Sent tells what became of a message that a socket has taken.
type Sent struct {
	Buffered uint64 // payload bytes in the send queue behind it
	Fragment uint64 // number of the unfinished message, when More was set
	Waits    bool   // for Socket.Flush; only the first of those that do says so
}

// Outcome is the end of a confirmation: Err is nil when what was asked for has happened, else one of
// ErrExpired, ErrQueueFull (dropped from the queue), ErrClosing (the connection ended before it was
// written), ErrNotConfirmed (it was written; whether it arrived is unknown).
type Outcome struct {
	Err error
	RTT time.Duration // with Received
}

// Done is told the outcome exactly once, on any goroutine, perhaps before the call that it was given
// to has returned. It must not block.
type Done func(Outcome)

// Socket is what the core asks of a client connection. Nothing blocks. An error means that nothing was
// taken and done is never called; with Queued done is never called either and may be nil.
type Socket interface {
	sender
	// Close begins the closing handshake for that cause, after what is queued. Code and reason are
	// valid. written, if not nil, is called when the frame is written or the connection has ended.
	// On a socket that is closing it only registers written.
	Close(code uint16, reason string, cause Cause, written Done)
	// Terminate ends the TCP connection at once.
	Terminate(cause Cause)
	// Shed drops what the socket holds in memory and closes it with 1013, for CauseSlowConsumer.
	Shed()
	// Pause returns when no further event can come until Resume.
	Pause()
	// Resume ends a Pause.
	Resume()
	// Room says that the bus has room for the event that it refused.
	Room()
	// Rename says whose connection it is from now on; empty: nobody's any more. It is called with locks of the connection
	// held, and must not call it.
	Rename(user string)
	// State of the socket now.
	State() SocketState
}

// sender is the part of a Socket that sends.
type sender interface {
	// Send fails with ErrClosing, ErrQueueFull, ErrPaused, ErrRateLimited, or InvalidFragment or
	// MessageTooLarge. It neither changes nor keeps m, which others may share.
	Send(m *Message, done Done) (Sent, error)
	// Flush writes what was sent to be written later.
	Flush()
	// Abandon says that nobody will continue the unfinished message of that number: it closes the
	// connection with 1011 if the message is still unfinished.
	Abandon(fragment uint64)
	// Ping fails like Send; payload is at most 125 bytes.
	Ping(payload []byte, c Confirmation, done Done) error
	// Pong sends an unsolicited pong.
	Pong(payload []byte, c Confirmation, done Done) error
}

// SocketState is what a socket knows of itself.
type SocketState struct {
	Closing     bool
	Paused      bool // by Pause, or since the start
	Buffered    uint64
	Unfinished  uint64 // bytes of input that are held: of a message that has not come as a whole, and behind a Pause, a limit or a full bus
	RTT         time.Duration
	MessagesOut uint64
	BytesOut    uint64
}

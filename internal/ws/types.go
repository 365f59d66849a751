package ws

import (
	"errors"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Handler is told what happens on a connection. Its methods must not block, because the goroutine that calls
// them has other connections to look after, and must not call Hold or Release of the same connection; who
// calls these must not have a lock that a method, or a Done, takes.
//
// OnMessage, OnPing and OnPong answer whether they took the event. On false the connection keeps it,
// reads no further, and offers it again once Release(HoldBusy) was called. Payloads are valid until
// the method returns.
type Handler interface {
	// OnMessage: the peer sent a whole message; op is wire.Text or wire.Binary.
	OnMessage(op wire.Opcode, payload []byte) bool
	// OnPing: the peer sent a ping, which is being answered.
	OnPing(payload []byte) bool
	// OnPong: the peer sent a pong that answers no ping of ours.
	OnPong(payload []byte) bool
	// OnWritable: the send queue, which had refused a message, is empty. It may run beside the
	// other methods, on another goroutine.
	OnWritable()
	// OnClose: the connection has ended. It is called once, after everything else.
	OnClose(End)
}

// Hold is a reason not to read a connection. Several may hold at once.
type Hold uint32

const (
	// HoldPaused: somebody asked for it.
	HoldPaused Hold = 1 << iota
	// HoldBusy: the Handler did not take an event.
	HoldBusy
	// HoldRate: the peer is over one of its Rates, or has overdrawn a Quota. The connection ends it itself.
	HoldRate
	// HoldOpening: nobody may have heard of the connection yet, or has only just.
	HoldOpening
)

// unheard are the reasons for which nothing can be confirmed as received: who began them knows, or nobody knows how long
// they last. The others are over soon, and a receipt waits for that.
const unheard = uint32(HoldPaused | HoldBusy)

// Confirmation is what a sender wants to know.
type Confirmation uint8

const (
	// Queued: the message is in the send queue. Nothing is reported later.
	Queued Confirmation = iota
	// Written: the kernel took its last byte.
	Written
	// Received: the peer answered a ping sent behind it.
	Received
)

// Message is one message to send, or one fragment of one.
type Message struct {
	Opcode  wire.Opcode // wire.Text or wire.Binary; of a further fragment that of the first
	Payload []byte      // must not change after Send; text must be UTF-8
	// Shared is made of the same Opcode and Payload, for a message that goes to many connections. It has no
	// effect on fragments.
	Shared *Shared
	// More: further fragments follow. Fragment continues the unfinished message of that number; 0
	// begins a message.
	More     bool
	Fragment uint64
	// Compress: nil leaves it to Config.Compression. Where no compression was agreed to it has no effect, and of a
	// message in fragments only the first one's counts.
	Compress     *bool
	Confirmation Confirmation
	ExpireAfter  time.Duration // not written when still queued after this long; 0: no limit
	// Later: others may follow at once, and Flush after the last, so that they are written together. It has no effect
	// on fragments.
	Later bool
	// Lent: Payload is a small part of something that is not to be kept for it. What is queued is a copy.
	Lent bool
}

// Sent tells what became of a message that was taken.
type Sent struct {
	Buffered int    // payload bytes that still wait to be written
	Fragment uint64 // number of the message, if More was set
	Waits    bool   // for Flush; only the first of those that do says so
}

// Outcome ends a confirmation. Err is nil if it was given, else ErrExpired, ErrQueueFull (dropped from
// the queue), ErrNotConfirmed or ErrClosing.
type Outcome struct {
	Err error
	RTT time.Duration // of the ping, with Received
}

// Done is told the outcome, exactly once, on any goroutine, perhaps before the call that it was given
// to has returned. Like the methods of Handler it must not block, nor call Hold or Release.
type Done func(Outcome)

// Refusals. They mean that nothing was taken.
var (
	ErrClosing      = errors.New("connection is closing")
	ErrQueueFull    = errors.New("send queue is full")
	ErrTooLarge     = errors.New("message is larger than the send queue")
	ErrHeld         = errors.New("connection is not read at present")
	ErrTooManyPings = errors.New("too many unanswered pings")
	ErrFragment     = errors.New("no such unfinished message")
	ErrExpired      = errors.New("message expired in the send queue")
	ErrNotConfirmed = errors.New("not confirmed")
)

// Cause says who or what ended a connection.
type Cause uint8

// The causes.
const (
	_              Cause = iota
	PeerClose            // the peer began the closing handshake
	LocalClose           // Close was called
	LocalTerminate       // Terminate was called
	ProtocolFault        // the peer broke the protocol
	MessageTooBig        // the peer's message was over the limit
	SlowConsumer         // the send queue was full and the policy is QueueClose
	Abandoned            // a message in fragments was not continued
	PingTimeout          // no sign of life after a ping, or, on Linux, nothing sent was acknowledged
	Transport            // the stream ended or failed without a close frame
	Panic                // a Handler panicked
	Idle                 // no message for Config.IdleTimeout
	Expired              // Config.Lifetime is over
	RateLimited          // the peer was over one of its Rates and the policy is RateClose
)

// End is how a connection ended.
type End struct {
	// Code and Reason are the peer's: wire.NoStatusReceived when its close frame had no code,
	// wire.AbnormalClosure when none came.
	Code   uint16
	Reason string
	// SentCode and SentReason are ours; 0 when no close frame was written.
	SentCode   uint16
	SentReason string
	// WasClean: close frames went both ways.
	WasClean bool
	Cause    Cause
	// Tag is what Close or Terminate was called with.
	Tag    uint8
	Fault  *wire.Fault // with ProtocolFault and MessageTooBig
	Detail string      // one line for people
}

// State is a connection at one moment.
type State struct {
	Closing     bool
	Held        Hold
	Buffered    int           // payload bytes that wait to be written
	Unfinished  int           // bytes of input that are held: of a message that has not come as a whole, and behind a Hold
	RTT         time.Duration // of the last answered ping; 0 before the first
	MessagesOut uint64        // whole messages taken by the kernel
	BytesOut    uint64        // and their payload
}

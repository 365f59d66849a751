package ws

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Conn is one WebSocket connection, server side.
//
// Its life: Upgrade makes it, Start begins to read. It is OPEN until a close frame is received or one
// is to be sent, then CLOSING, and over once both went, the stream failed, or a time limit passed.
// Whoever ends it sets over and interrupts the driver; that stops to read, waits for the one who writes,
// closes the stream, answers what is pending, and calls OnClose.
type Conn struct {
	// static
	cfg        *Config
	driver     driver
	compressed *compressed // nil: nothing is

	alarm alarm  // guarded by the clock
	acked uint64 // by the peer's side, when the clock's goroutine looked last

	// seen by all
	lastSign atomic.Int64 // clock time of the last sign of life, or of the end of a hold
	rtt      atomic.Int64 // of the last answered ping; 0 before
	limits   atomic.Pointer[limits]
	started  atomic.Bool
	over     atomic.Bool   // nothing more is read or written
	closing  atomic.Bool   // no further message is taken or given to the Handler
	held     atomic.Uint32 // set of Hold; written under readMu

	// readMu is held while a chunk is processed, never while waiting for one. writeMu may be taken
	// while it is held, never the reverse.
	readMu sync.Mutex
	reader *wire.Reader // nil: no frame or message is unfinished
	kept   *kept        // input that a hold interrupted

	// writeMu is never held across a system call or a callback.
	writeMu sync.Mutex
	handler Handler    // nil before Start
	queue   *sendQueue // nil: empty
	ending  *ending    // nil: nothing ends the connection
	pings   pings
	out     struct{ messages, bytes uint64 }

	deaf     bool  // the stream is no longer WebSocket: read and discard; guarded by readMu
	peerDone bool  // the peer's close frame came; guarded by readMu
	pongDue  bool  // a ping of this chunk is to be answered; of who reads alone
	writing  bool  // someone is the writer: everybody else only queues; guarded by writeMu
	direct   int32 // payload of a message that is written past the queue, as long as there is none; guarded by writeMu
}

// ending is how the connection ends, as far as it is known, and how far that has come; guarded by writeMu.
type ending struct {
	End
	caused    bool // Cause is set: the first to end a connection says why
	peer      bool // the peer's close frame came
	lingers   bool // the peer is not understood any more, and only gets time to read our close frame
	closeDue  bool // our close frame, with code and reason, is to be written behind what is queued
	closeSent bool // it is on its way
	code      uint16
	reason    string
	deadline  int64  // clock time at which waiting for the peer ends; 0: not waiting
	written   []Done // to be told when it is written
}

// begin makes a zero Conn one of that Config. early is what the peer sent with its handshake.
func (c *Conn) begin(cfg *Config, with *compressed, early []byte) {
	c.cfg, c.compressed = cfg, with
	if early != nil {
		c.kept = &kept{rest: early, memory: len(early)}
	}
}

// endingLocked is for whoever ends the connection.
func (c *Conn) endingLocked() *ending {
	if c.ending == nil {
		c.ending = &ending{End: End{Code: wire.AbnormalClosure}}
	}
	return c.ending
}

// closeStateLocked says how far our close frame is: nobody wants one, it waits, or it went.
func (c *Conn) closeStateLocked() (due, sent bool) {
	if e := c.ending; e != nil {
		return e.closeDue, e.closeSent
	}
	return false, false
}

// Start begins to read, and tells h. hold keeps it from reading yet. A Conn
// must be started or terminated; until then it can be sent to.
func (c *Conn) Start(h Handler, hold Hold) {
	now := c.cfg.engine.clock.now()
	c.lastSign.Store(now)
	c.readMu.Lock()
	c.held.Store(c.held.Load() | uint32(hold))
	c.readMu.Unlock()
	c.writeMu.Lock()
	c.handler = h
	c.beginLife(now)
	c.pings.begin(now, c.cfg.HeartbeatInterval)
	c.armLocked(now)
	c.writeMu.Unlock()
	c.started.Store(true)
	c.driver.start()
	c.kick() // a send may have been refused already
}

// State answers how the connection is.
func (c *Conn) State() State {
	unfinished := c.unfinished() // readMu is never taken under writeMu
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return State{
		Closing: c.closing.Load() || c.over.Load(), Held: Hold(c.held.Load()), Buffered: c.bufferedLocked(),
		Unfinished: unfinished,
		RTT:        time.Duration(c.rtt.Load()), MessagesOut: c.out.messages, BytesOut: c.out.bytes,
	}
}

// finishWith ends the connection at once; the cause counts if it is the first.
func (c *Conn) finishWith(cause Cause, detail string) {
	c.writeMu.Lock()
	c.causeLocked(cause, 0, nil, detail)
	c.writeMu.Unlock()
	c.stop()
}

// stop lets the connection come to its end. It does not wait for that, because it may run on the goroutine
// that has to bring it about.
func (c *Conn) stop() {
	c.over.Store(true)
	c.driver.interrupt()
	if !c.started.Load() {
		c.driver.abandon()
		c.compressed.forget()
	}
}

func (c *Conn) causeLocked(cause Cause, tag uint8, fault *wire.Fault, detail string) bool {
	e := c.endingLocked()
	if e.caused {
		return false
	}
	e.caused = true
	e.Cause, e.Tag, e.Fault, e.Detail = cause, tag, fault, detail
	return true
}

// streamEnded ends the connection when its stream did. An end without an error is no cause yet: of a socket that failed,
// the kernel tells only the first who asks, which may be the writer, and everybody else that it has ended.
func (c *Conn) streamEnded(err error) {
	if errors.Is(err, io.EOF) {
		c.stop()
		return
	}
	c.streamFailed(err)
}

// streamFailed ends the connection when its stream failed. A timeout is the kernel's, to which the peer has acknowledged
// nothing for as long as the heartbeat allows (see limitUnacknowledged): whichever of the two notices first, it is one
// cause.
func (c *Conn) streamFailed(err error) {
	cause := Transport
	if c.cfg.HeartbeatInterval > 0 && errors.Is(err, syscall.ETIMEDOUT) {
		cause = PingTimeout
	}
	c.finishWith(cause, err.Error())
}

// deafen ends the connection after a panic, when the rest of the chunk that was being read is lost.
func (c *Conn) deafen() {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.kept = nil
	c.breakOff(Panic, wire.InternalError, nil, panicText)
}

// conclude is the last that happens to a connection, once: it is over, and nobody reads or writes any more.
func (c *Conn) conclude() {
	c.readMu.Lock()
	c.discardReader()
	c.kept = nil
	c.readMu.Unlock()

	c.writeMu.Lock() // whoever takes it from now on sees that it is over
	c.causeLocked(Transport, 0, nil, "stream ended without a close frame")
	e := c.endingLocked()
	unsent := append(c.abandonQueueLocked(), e.written...)
	unconfirmed := c.pings.clear()
	e.written = nil
	e.WasClean = e.peer && e.SentCode != 0
	end := e.End
	c.writeMu.Unlock()
	c.driver.close(end.WasClean)
	c.compressed.forget()
	c.cfg.engine.clock.disarm(c)
	c.answer(unsent, ErrClosing)
	c.answer(unconfirmed, ErrNotConfirmed)
	c.ended(end)
}

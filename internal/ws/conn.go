package ws

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Conn is one WebSocket connection, server side.
//
// Its life: Upgrade makes it, Start begins to read. It is OPEN until a close frame is received or one
// is to be sent, then CLOSING, and over once both went, the stream failed, or a time limit passed.
// Whoever ends it sets over and closes the transport; the reading goroutine then finds its way out,
// waits for the one that writes, answers what is pending, and calls OnClose.
type Conn struct {
	// static after Start
	engine    *Engine
	cfg       *Config
	transport transport
	handler   Handler
	early     []byte // what the client sent behind its handshake

	alarm alarm // guarded by the clock

	// seen by all
	over     atomic.Bool   // nothing more is read or written
	closing  atomic.Bool   // no further message is taken or given to the Handler
	held     atomic.Uint32 // set of Hold; written under readMu
	lastRead atomic.Int64  // clock time of the last bytes, or of the end of a hold
	rtt      atomic.Int64  // of the last answered ping; 0 before
	wake     atomic.Pointer[chan struct{}]

	// readMu is held while a chunk is processed, never while waiting for one.
	readMu   sync.Mutex
	reader   wire.Reader
	kept     *kept // input that a hold interrupted
	deaf     bool  // the stream is no longer WebSocket: read and discard
	pongDue  bool  // a ping of this chunk is to be answered
	peerDone bool  // the peer's close frame came

	// writeMu is never held across a system call or a callback.
	writeMu sync.Mutex
	queue   sendQueue
	writing bool // someone is the writer: everybody else only queues
	end     End  // as far as it is known
	ending  endState
	pings   pings
	out     struct{ messages, bytes uint64 }
}

// endState is how far the end has come, guarded by writeMu.
type endState struct {
	caused    bool // end.Cause is set: the first to end a connection says why
	peer      bool // the peer's close frame came
	closeDue  bool // our close frame, with code and reason, is to be written behind what is queued
	closeSent bool // it is on its way
	code      uint16
	reason    string
	deadline  int64  // clock time at which waiting for the peer ends; 0: not waiting
	written   []Done // to be told when it is written
}

func newConn(e *Engine, cfg *Config, nc net.Conn, early []byte) *Conn {
	c := &Conn{engine: e, cfg: cfg, transport: newTransport(nc, e.buffers), early: early}
	c.reader.Reset(&cfg.reader)
	c.end.Code = wire.AbnormalClosure
	return c
}

// Start begins to read, on a goroutine of its own, and tells h. hold keeps it from reading yet.
func (c *Conn) Start(h Handler, hold Hold) {
	c.handler = h
	c.held.Store(uint32(hold))
	now := c.engine.clock.now()
	c.lastRead.Store(now)
	c.writeMu.Lock()
	c.pings.begin(now, c.cfg.HeartbeatInterval)
	c.armLocked(now)
	c.writeMu.Unlock()
	c.engine.running.Go(c.serve)
}

// State answers how the connection is.
func (c *Conn) State() State {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.stateLocked()
}

func (c *Conn) stateLocked() State {
	return State{
		Closing: c.closing.Load() || c.over.Load(), Held: Hold(c.held.Load()), Buffered: c.queue.bytes,
		RTT: time.Duration(c.rtt.Load()), MessagesOut: c.out.messages, BytesOut: c.out.bytes,
	}
}

// serve is the life of the reading goroutine.
func (c *Conn) serve() {
	defer c.finish()
	defer c.recovered()
	if c.early != nil {
		early := c.early
		c.early = nil
		if !c.take(early) && !c.awaitInput() {
			return
		}
	}
	for c.awaitInput() {
		if err := c.transport.read(c.take); err != nil {
			c.streamEnded(err)
			return
		}
	}
}

// streamEnded ends the connection when its stream did.
func (c *Conn) streamEnded(err error) {
	detail := err.Error()
	if errors.Is(err, io.EOF) {
		detail = "stream ended without a close frame"
		c.await(func() bool { return c.readable() || c.over.Load() }) // no event reaches a Handler that holds
	}
	c.finishWith(Transport, detail)
}

// finishWith ends the connection at once; the cause counts if it is the first.
func (c *Conn) finishWith(cause Cause, detail string) {
	c.writeMu.Lock()
	c.causeLocked(cause, 0, nil, detail)
	c.writeMu.Unlock()
	c.stop()
}

// stop lets every goroutine of the connection come to its end.
func (c *Conn) stop() {
	c.over.Store(true)
	c.transport.close()
	c.signal()
}

func (c *Conn) causeLocked(cause Cause, tag uint8, fault *wire.Fault, detail string) bool {
	if c.ending.caused {
		return false
	}
	c.ending.caused = true
	c.end.Cause, c.end.Tag, c.end.Fault, c.end.Detail = cause, tag, fault, detail
	return true
}

// finish is the last thing the reading goroutine does.
func (c *Conn) finish() {
	c.stop()
	c.engine.clock.disarm(c)
	c.awaitWriter()
	c.readMu.Lock()
	c.reader.Discard()
	c.kept = nil
	c.readMu.Unlock()

	c.writeMu.Lock()
	unsent := append(c.queue.abandon(), c.ending.written...)
	unconfirmed := c.pings.clear()
	c.ending.written = nil
	end := c.end
	end.WasClean = c.ending.peer && end.SentCode != 0
	c.writeMu.Unlock()
	answer(unsent, ErrClosing)
	answer(unconfirmed, ErrNotConfirmed)
	c.handler.OnClose(end)
}

func answer(dones []Done, err error) {
	for _, d := range dones {
		d(Outcome{Err: err})
	}
}

// recovered turns a panic of the Handler into the end of this one connection.
func (c *Conn) recovered() {
	v := recover()
	if v == nil {
		return
	}
	c.engine.panics.Add(1)
	c.engine.logger.Error("panic on a connection", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	c.writeMu.Lock()
	c.causeLocked(Panic, 0, nil, "internal error")
	c.writeMu.Unlock()
	c.closeWith(wire.InternalError, "internal error", nil)
	c.drain()
}

// signal wakes the reading goroutine where it waits for something else than input.
func (c *Conn) signal() {
	if ch := c.wake.Load(); ch != nil {
		select {
		case *ch <- struct{}{}:
		default:
		}
	}
}

// await waits until ready answers true. ready reads only what a signal follows the change of.
func (c *Conn) await(ready func() bool) {
	if ready() {
		return
	}
	ch := c.wake.Load()
	if ch == nil { // made on first use: most connections are never held
		made := make(chan struct{}, 1)
		ch = &made
		c.wake.Store(ch)
	}
	for !ready() {
		<-*ch
	}
}

// awaitWriter waits until nobody writes.
func (c *Conn) awaitWriter() {
	c.await(func() bool {
		c.writeMu.Lock()
		defer c.writeMu.Unlock()
		return !c.writing
	})
}

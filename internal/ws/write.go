package ws

import (
	"sync"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// batch is what goes to the kernel in one system call: frames, and who wants to know. It may also be
// without frames, when there is only something to tell.
type batch struct {
	buf      *chunk
	n        int // bytes in buf
	payload  int // of them payload of messages
	frames   int // of messages, that end in it
	messages int // that end in it
	dones    []Done
	closes   bool // the close frame is in it: the last batch

	expired  []Done  // of messages that were taken off the queue
	writable Handler // to be told that the queue is empty; else nil
}

// fillLimit leaves room in a batch for what is added without asking: two control frames and the header
// of a message's frame.
const fillLimit = chunkSize - 2*(2+wire.MaxControlPayload) - wire.MaxHeaderSize

var batches = sync.Pool{New: func() any { return new(batch) }}

func (c *Conn) freeBatch(b *batch) {
	c.engine.buffers.putChunk(b.buf)
	b.buf = nil
	b.reset()
	batches.Put(b)
}

// reset makes room for the next frames.
func (b *batch) reset() {
	clear(b.dones)
	*b = batch{buf: b.buf, dones: b.dones[:0]}
}

func (b *batch) empty() bool { return b.n == 0 && b.expired == nil && b.writable == nil }

// frame adds a whole frame, which must fit.
func (b *batch) frame(op wire.Opcode, payload []byte) {
	b.n = len(wire.AppendFrame(b.buf[:b.n], op, true, payload))
}

// kick writes what is queued, unless someone already does. It returns when all is written, or when the
// socket is full and a goroutine goes on.
func (c *Conn) kick() {
	c.writeMu.Lock()
	b := c.becomeWriterLocked()
	c.writeMu.Unlock()
	c.pump(b)
}

// becomeWriterLocked answers the first batch to write, which is the duty of the caller then, or nil.
func (c *Conn) becomeWriterLocked() *batch {
	if c.writing || c.over.Load() {
		return nil
	}
	b := batches.Get().(*batch)
	b.buf = c.engine.buffers.chunk()
	c.writing = true
	if !c.fillLocked(b) {
		c.freeBatch(b)
		return nil
	}
	return b
}

// maxInline is how many batches are written on the goroutine of a caller, who came for one message and
// is not to write for everybody else for ever.
const maxInline = 16

// pump is the writer until nothing is left. It never waits: when the socket is full it hands over.
func (c *Conn) pump(b *batch) {
	if b == nil {
		return
	}
	for count := 1; ; count++ {
		c.announce(b)
		n, err := c.writeNow(b, count)
		if err != nil {
			c.writeFailed(b, err)
			break
		}
		if n < b.n {
			c.handOver(b, n)
			return
		}
		if c.wrote(b); !c.next(b) {
			break
		}
	}
	c.freeBatch(b)
}

func (c *Conn) writeNow(b *batch, count int) (int, error) {
	if b.n == 0 || count > maxInline {
		return 0, nil
	}
	return c.transport.tryWrite(b.buf[:b.n])
}

func (c *Conn) handOver(b *batch, n int) {
	c.engine.running.Go(func() { c.flush(b, n) })
}

// flush is the writer that may wait for the socket, until nothing is left. n bytes are written.
func (c *Conn) flush(b *batch, n int) {
	defer c.freeBatch(b)
	for more := true; more; more = c.next(b) {
		c.announce(b)
		if b.n > 0 {
			if err := c.transport.write(b.buf[n:b.n]); err != nil {
				c.writeFailed(b, err)
				return
			}
		}
		n = 0
		c.wrote(b)
	}
}

// announce tells what a batch has to tell before it is written.
func (c *Conn) announce(b *batch) {
	c.answer(b.expired, ErrExpired)
	if b.writable != nil {
		c.writable(b.writable)
	}
	b.expired, b.writable = nil, nil
}

// wrote tells everybody that the kernel took a batch.
func (c *Conn) wrote(b *batch) {
	c.answer(b.dones, nil)
	if b.closes {
		c.closeWritten()
	}
}

// writeFailed ends the connection. The reading goroutine finds out and answers the rest.
func (c *Conn) writeFailed(b *batch, err error) {
	c.answer(b.dones, ErrClosing)
	c.finishWith(Transport, err.Error())
	c.writeMu.Lock()
	c.leaveLocked()
	c.writeMu.Unlock()
}

// next accounts for a batch that is written and makes the following one; false if there is none, and
// then nobody writes.
func (c *Conn) next(b *batch) bool {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.queue.bytes -= b.payload
	c.queue.count -= b.frames
	c.out.messages += uint64(b.messages)
	c.out.bytes += uint64(b.payload)
	b.reset()
	return c.fillLocked(b)
}

// leaveLocked: the writer is done.
func (c *Conn) leaveLocked() {
	c.writing = false
	if c.writerGone != nil {
		close(c.writerGone)
		c.writerGone = nil
	}
}

// fillLocked takes as many frames off the queue as fit. When there is nothing to write or to tell it
// answers false, and the caller is not the writer any more.
func (c *Conn) fillLocked(b *batch) bool {
	if !c.over.Load() && !c.ending.closeSent {
		c.framesLocked(b)
		if c.queue.refused && c.queue.count == 0 && c.handler != nil {
			c.queue.refused = false
			if !c.closing.Load() {
				b.writable = c.handler
			}
		}
	}
	if b.empty() {
		c.leaveLocked()
		return false
	}
	return true
}

func (c *Conn) framesLocked(b *batch) {
	now := c.engine.clock.now()
	owed := c.pings.due() // by the batch before, which had no room for its ping
	for b.n < fillLimit {
		if !c.queue.busy && (owed || c.pings.heartbeat.due) {
			c.pingLocked(b, now)
			owed = false
		}
		if !c.queue.next(now, &b.expired) {
			c.pingLocked(b, now) // one covers all sends of the batch
			c.closeFrameLocked(b)
			return
		}
		c.frameLocked(b, now)
	}
}

// frameLocked adds the current frame, or as much of it as fits.
func (c *Conn) frameLocked(b *batch, now int64) {
	f := &c.queue.current
	if !f.begun {
		f.begun = true
		h := wire.Header{Fin: f.fin, Opcode: f.op, Length: uint64(len(f.payload))}
		b.n = len(wire.AppendHeader(b.buf[:b.n], h))
		if f.op == wire.Ping {
			c.limitPingLocked(now)
			c.pings.sent(f, now)
		}
	}
	n := copy(b.buf[b.n:], f.payload)
	f.payload = f.payload[n:]
	b.n += n
	if !f.op.IsControl() {
		b.payload += n
	}
	if len(f.payload) > 0 {
		return
	}
	if !f.op.IsControl() {
		b.frames++
	}
	if f.ends {
		b.messages++
	}
	switch {
	case f.done == nil:
	case f.confirmation == Received:
		c.queue.receipts--
		c.pings.await(f.done)
	default:
		b.dones = append(b.dones, f.done)
	}
	c.queue.finish()
}

// pingLocked adds the ping that the heartbeat, or sends that wait for a receipt, ask for.
func (c *Conn) pingLocked(b *batch, now int64) {
	if c.pings.due() {
		c.limitPingLocked(now)
		payload := c.pings.next(now)
		b.frame(wire.Ping, payload[:])
	}
}

// limitPingLocked sees to it that the clock comes when the oldest ping is overdue.
func (c *Conn) limitPingLocked(now int64) {
	if len(c.pings.list) == 0 {
		c.engine.clock.arm(c, now+int64(c.cfg.HeartbeatTimeout))
	}
}

// closeFrameLocked adds our close frame once nothing else can be written.
func (c *Conn) closeFrameLocked(b *batch) {
	if !c.ending.closeDue {
		return
	}
	var payload [wire.MaxControlPayload]byte
	b.frame(wire.Close, wire.AppendClose(payload[:0], c.ending.code, c.ending.reason))
	c.ending.closeDue, c.ending.closeSent, b.closes = false, true, true
}

package ws

import (
	"sync"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// batch is what goes to the kernel in one system call: frames, and who wants to know. It may also be
// without frames, when there is only something to tell.
type batch struct {
	buf      *chunk // nil: no frame was made yet
	lent     []byte // of a Shared: goes to the kernel instead of what is in buf; else nil
	n        int    // bytes in buf or lent
	written  int    // of them, that the kernel has
	payload  int    // of them payload of messages
	frames   int    // of messages, that end in it
	messages int    // that end in it
	dones    []Done
	closes   bool  // the close frame is in it: the last batch
	compress bool  // it goes on with the current frame, once that is compressed
	failed   error // of the stream, which takes no more; else nil

	expired  []Done  // of messages that were taken off the queue
	writable Handler // to be told that the queue is empty; else nil
}

// fillLimit leaves room in a batch for what is added without asking: two control frames and the header
// of a message's frame.
const fillLimit = chunkSize - 2*(2+wire.MaxControlPayload) - wire.MaxHeaderSize

var batches = sync.Pool{New: func() any { return new(batch) }}

func (c *Conn) freeBatch(b *batch) {
	if b.buf != nil {
		c.cfg.engine.buffers.putChunk(b.buf)
		b.buf = nil
	}
	b.reset()
	batches.Put(b)
}

// reset makes room for the next frames.
func (b *batch) reset() {
	clear(b.dones)
	*b = batch{buf: b.buf, dones: b.dones[:0]}
}

// bytes are what goes to the kernel.
func (b *batch) bytes() []byte {
	if b.lent != nil {
		return b.lent
	}
	return b.buf[:b.n]
}

func (b *batch) empty() bool {
	return b.n == 0 && b.expired == nil && b.writable == nil && !b.compress
}

// frame adds a whole frame, which must fit.
func (b *batch) frame(op wire.Opcode, payload []byte) {
	b.n = len(wire.AppendFrame(b.buf[:b.n], op, true, payload))
}

// fillLocked takes as many frames off the queue as fit. When there is nothing to write or to tell it
// answers false, and the caller is not the writer any more.
func (c *Conn) fillLocked(b *batch) bool {
	if !c.owesLocked() {
		c.leaveLocked()
		return false
	}
	if b.buf == nil {
		b.buf = c.cfg.engine.buffers.chunk()
	}
	if _, closeSent := c.closeStateLocked(); !closeSent && !c.over.Load() {
		c.framesLocked(b)
		if q := c.queue; q != nil && q.refused && q.count == 0 && c.handler != nil {
			q.refused = false
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
	now, q := c.cfg.engine.clock.now(), c.takeQueueLocked()
	owed := b.n == 0 && c.pings.due() // by the batch before, which had no room for its ping
	for b.n < fillLimit {
		if !q.busy && (owed || c.pings.heartbeat.due) {
			c.pingLocked(b, now)
			owed = false
		}
		if !q.next(now, &b.expired) {
			c.pingLocked(b, now) // one covers all sends of the batch
			c.closeFrameLocked(b)
			return
		}
		if q.current.compress {
			b.compress = true
			return
		}
		if b.n == 0 && q.lends() {
			c.lendLocked(b, now)
			return
		}
		c.frameLocked(b, now)
	}
}

// frameLocked adds the current frame, or as much of it as fits.
func (c *Conn) frameLocked(b *batch, now int64) {
	f := &c.queue.current
	if !f.begun {
		c.beginLocked(b, now)
	}
	n := copy(b.buf[b.n:], f.payload)
	b.n += n
	c.takenLocked(b, n, now)
}

// lendLocked makes a batch of the current frame, of which nothing was taken yet, or of as much of it as a batch
// holds, without a copy.
func (c *Conn) lendLocked(b *batch, now int64) {
	f := &c.queue.current
	f.begun = true
	b.lent = f.ready.bytes[:min(len(f.ready.bytes), chunkSize)]
	b.n = len(b.lent)
	c.takenLocked(b, b.n-f.ready.header, now)
}

// takenLocked accounts for the next n bytes of the current frame's payload, which are in the batch.
func (c *Conn) takenLocked(b *batch, n int, now int64) {
	f := &c.queue.current
	f.payload = f.payload[n:]
	data := !f.op.IsControl()
	if data {
		b.payload += f.counts(n)
	}
	if len(f.payload) > 0 {
		return
	}
	if data {
		b.frames++
	}
	if f.ends {
		b.messages++
		c.messaged(now)
	}
	switch {
	case f.done == nil:
	case f.confirmation == Received:
		c.queue.receipts--
		c.pings.await(f.done)
	default:
		b.dones = append(b.dones, f.done)
	}
	c.cfg.engine.buffers.Put(f.buf)
	c.queue.finish()
}

// beginLocked adds the header of the current frame.
func (c *Conn) beginLocked(b *batch, now int64) {
	f := &c.queue.current
	f.begun = true
	h := wire.Header{Fin: f.fin, RSV1: f.rsv1, Opcode: f.op, Length: uint64(len(f.payload))}
	b.n = len(wire.AppendHeader(b.buf[:b.n], h))
	if f.op == wire.Ping {
		c.limitPingLocked(now)
		c.pings.sent(f, now)
	}
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
	if a := c.pings.asked; a == nil || len(a.list) == 0 {
		c.cfg.engine.clock.arm(c, now+int64(c.cfg.HeartbeatTimeout))
	}
}

// closeFrameLocked adds our close frame once nothing else can be written.
func (c *Conn) closeFrameLocked(b *batch) {
	if due, _ := c.closeStateLocked(); !due {
		return
	}
	var payload [wire.MaxControlPayload]byte
	b.frame(wire.Close, wire.AppendClose(payload[:0], c.ending.code, c.ending.reason))
	c.ending.closeDue, c.ending.closeSent, b.closes = false, true, true
}

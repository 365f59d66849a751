package ws

import (
	"sync"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// batch is what goes to the kernel in one system call: frames, and who wants to know.
type batch struct {
	buf      *chunk
	n        int // bytes in buf
	payload  int // of them payload
	messages int // messages that end in it
	dones    []Done
	closes   bool // the close frame is in it: the last batch
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func (c *Conn) newBatch() *batch {
	b := batches.Get().(*batch)
	b.buf = c.engine.buffers.chunk()
	return b
}

func (c *Conn) freeBatch(b *batch) {
	c.engine.buffers.putChunk(b.buf)
	clear(b.dones)
	*b = batch{dones: b.dones[:0]}
	batches.Put(b)
}

// reset makes room for the next frames.
func (b *batch) reset() {
	clear(b.dones)
	*b = batch{buf: b.buf, dones: b.dones[:0]}
}

// room is what is left of the buffer for a frame's payload behind its header.
func (b *batch) room() int { return chunkSize - b.n - wire.MaxHeaderSize }

// frame adds a whole frame, which must fit.
func (b *batch) frame(op wire.Opcode, fin bool, payload []byte) {
	b.n = len(wire.AppendFrame(b.buf[:b.n], op, fin, payload))
}

// kick writes what is queued, unless someone already does. It returns when all is written, or when the
// socket is full and a goroutine goes on.
func (c *Conn) kick() {
	c.writeMu.Lock()
	if c.writing || c.over.Load() {
		c.writeMu.Unlock()
		return
	}
	c.writing = true
	c.writeMu.Unlock()
	c.pump(c.newBatch())
}

// pump is the writer until nothing is left. It never waits: when the socket is full it hands over.
func (c *Conn) pump(b *batch) {
	for c.fill(b) {
		if !c.writeNow(b) {
			return
		}
	}
	c.freeBatch(b)
}

// writeNow writes a batch without waiting; false if another goroutine, or none, is the writer now.
func (c *Conn) writeNow(b *batch) bool {
	n, err := c.transport.tryWrite(b.buf[:b.n])
	if err != nil {
		c.writeFailed(b, err)
		return false
	}
	if n < b.n {
		c.engine.running.Go(func() { c.flush(b, n) })
		return false
	}
	c.wrote(b)
	return true
}

// flush is the writer that may wait for the socket, until nothing is left.
func (c *Conn) flush(b *batch, n int) {
	defer c.freeBatch(b)
	for {
		if err := c.transport.write(b.buf[n:b.n]); err != nil {
			c.writeFailed(b, err)
			return
		}
		c.wrote(b)
		if !c.fill(b) {
			return
		}
		n = 0
	}
}

// wrote tells everybody that the kernel took a batch.
func (c *Conn) wrote(b *batch) {
	c.writeMu.Lock()
	c.queue.written(b.payload, b.messages)
	c.out.messages += uint64(b.messages)
	c.out.bytes += uint64(b.payload)
	c.writeMu.Unlock()
	answer(b.dones, nil)
	if b.closes {
		c.closeWritten()
	}
	b.reset()
}

// writeFailed ends the connection. The reading goroutine finds out and answers the rest.
func (c *Conn) writeFailed(b *batch, err error) {
	answer(b.dones, ErrClosing)
	b.reset()
	c.finishWith(Transport, err.Error())
	c.writeMu.Lock()
	c.writing = false
	c.writeMu.Unlock()
	c.signal()
}

// fill takes as many frames off the queue as fit; false if there is none, and then nobody writes.
func (c *Conn) fill(b *batch) bool {
	c.writeMu.Lock()
	var expired []Done
	if !c.over.Load() && !c.ending.closeSent {
		expired = c.fillLocked(b)
	}
	idle := b.n == 0
	writable := false
	if idle {
		c.writing = false
		writable = c.queue.refused && c.queue.count == 0
		c.queue.refused = c.queue.refused && !writable
	}
	c.writeMu.Unlock()
	answer(expired, ErrExpired)
	if writable && !c.closing.Load() {
		c.handler.OnWritable()
	}
	if idle && c.over.Load() {
		c.signal()
	}
	return !idle
}

func (c *Conn) fillLocked(b *batch) (expired []Done) {
	now := c.engine.clock.now()
	late := func(om *outMessage) { expired = om.dones(expired) }
	for b.room() > 0 {
		// A ping covers all sends of a batch: it stands behind them, or first in the next batch.
		if !c.queue.busy && (c.pings.heartbeat.due || b.n == 0) {
			c.pingLocked(b, now)
		}
		if !c.queue.next(now, late) {
			c.pingLocked(b, now)
			c.closeFrameLocked(b)
			break
		}
		c.frameLocked(b, now)
	}
	return expired
}

// frameLocked adds the current frame, or as much of it as fits.
func (c *Conn) frameLocked(b *batch, now int64) {
	f := &c.queue.current
	if !f.begun {
		f.begun = true
		h := wire.Header{Fin: f.fin, Opcode: f.op, Length: uint64(len(f.payload))}
		b.n = len(wire.AppendHeader(b.buf[:b.n], h))
		if f.op == wire.Ping {
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
	if f.ends {
		b.messages++
	}
	switch {
	case f.done == nil:
	case f.confirmation == Received:
		c.pings.await(f.done)
	default:
		b.dones = append(b.dones, f.done)
	}
	c.queue.finish()
}

// pingLocked adds the ping that the heartbeat, or sends that wait for a receipt, ask for.
func (c *Conn) pingLocked(b *batch, now int64) {
	if c.pings.due() && !c.ending.closeSent {
		payload := c.pings.next(now)
		b.frame(wire.Ping, true, payload[:])
	}
}

// closeFrameLocked adds our close frame once nothing else can be written.
func (c *Conn) closeFrameLocked(b *batch) {
	if !c.ending.closeDue {
		return
	}
	var payload [wire.MaxControlPayload]byte
	b.frame(wire.Close, true, wire.AppendClose(payload[:0], c.ending.code, c.ending.reason))
	c.ending.closeDue, c.ending.closeSent, b.closes = false, true, true
}

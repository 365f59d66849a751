package ws

import (
	"errors"
	"net"
)

// kick writes what is queued, unless someone already does. It returns when all is written, or when the
// stream is full and somebody else goes on.
func (c *Conn) kick() {
	c.writeMu.Lock()
	b := c.becomeWriterLocked()
	c.writeMu.Unlock()
	c.pump(b)
}

// becomeWriterLocked answers the first batch to write, which is the duty of the caller then, or nil.
func (c *Conn) becomeWriterLocked() *batch {
	if c.writing || c.over.Load() || !c.owesLocked() {
		return nil
	}
	b := batches.Get().(*batch)
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

// pump is the writer until nothing is left, which it answers. It never waits: when the stream is full, or has failed, it hands
// over.
func (c *Conn) pump(b *batch) (done bool) {
	if b == nil {
		return true
	}
	for count := 1; c.compress(b); count++ {
		c.announce(b)
		if b.failed = c.writeNow(b, count); b.failed != nil || b.written < b.n {
			c.driver.handOver(b)
			return false
		}
		if c.wrote(b); !c.next(b) {
			done = true
			break
		}
	}
	c.wroteAll(b)
	return done
}

func (c *Conn) writeNow(b *batch, count int) error {
	if b.n == 0 || count > maxInline {
		return nil
	}
	n, err := c.driver.tryWrite(b.bytes()[b.written:])
	b.written += n
	return err
}

// wroteAll is the last that the writer does, who is it no more.
func (c *Conn) wroteAll(b *batch) {
	c.freeBatch(b)
	if c.over.Load() {
		c.driver.writerLeft()
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

// writeFailed ends the connection; the writer is it no more. Who reads finds out and answers the rest. That a connection
// was over before it was written says nothing of why.
func (c *Conn) writeFailed(b *batch) {
	c.answer(b.dones, ErrClosing)
	switch {
	case b.failed == nil:
	case c.over.Load() && (isWake(b.failed) || errors.Is(b.failed, net.ErrClosed)):
	default:
		c.streamFailed(b.failed)
	}
	c.writeMu.Lock()
	c.leaveLocked()
	c.writeMu.Unlock()
}

// next accounts for a batch that is written and makes the following one; false if there is none, and
// then nobody writes.
func (c *Conn) next(b *batch) bool {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if q := c.queue; q != nil {
		q.bytes -= b.payload
		q.count -= b.frames
		c.parkQueueLocked()
	}
	c.direct = 0
	c.out.messages += uint64(b.messages)
	c.out.bytes += uint64(b.payload)
	b.reset()
	return c.fillLocked(b)
}

// owesLocked: there may be something to write or to tell.
func (c *Conn) owesLocked() bool {
	due, _ := c.closeStateLocked()
	return due || c.queue != nil || c.pings.due()
}

// leaveLocked: the writer is done.
func (c *Conn) leaveLocked() {
	c.writing, c.direct = false, 0
	c.parkQueueLocked()
}

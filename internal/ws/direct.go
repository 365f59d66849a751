package ws

// directLocked makes a batch of a whole message that meets a connection to which nothing else is to be written, as most
// do, and the caller its writer. It takes no queue, and what is of a Shared no buffer either: that goes to the stream from
// where it lies. Nil: the message has to go the ordinary way, or to be refused.
func (c *Conn) directLocked(m *Message, done Done) *batch {
	size := len(m.Payload)
	if !m.direct() || size == 0 || size > min(fillLimit, c.cfg.SendQueueBytes) ||
		c.writing || c.owesLocked() || c.closing.Load() || c.over.Load() {
		return nil
	}
	b := batches.Get().(*batch)
	if !c.frameDirect(b, m) {
		batches.Put(b)
		return nil
	}
	b.payload, b.frames, b.messages = size, 1, 1
	b.dones = appendDone(b.dones, done)
	if c.cfg.IdleTimeout > 0 {
		c.messaged(c.cfg.engine.clock.now())
	}
	c.writing, c.direct = true, int32(size)
	return b
}

// direct: there is nothing that only the queue can do for the message.
func (m *Message) direct() bool {
	return !m.More && m.Fragment == 0 && !m.Later && m.Confirmation != Received
}

// frameDirect makes the frame of a message the batch; false if it is yet to be compressed, which takes too long here.
func (c *Conn) frameDirect(b *batch, m *Message) bool {
	compresses := c.compresses(m)
	switch {
	case m.Shared != nil:
		ready := &m.Shared.plain
		if compresses {
			ready = m.Shared.compressed(c.compressed.session)
		}
		if ready == nil {
			return false
		}
		b.lent, b.n = ready.bytes, len(ready.bytes)
	case compresses:
		return false
	default:
		b.buf = c.cfg.engine.buffers.chunk()
		b.frame(m.Opcode, m.Payload)
	}
	return true
}

package ws

import "github.com/holdfast-broker/holdfast/internal/ws/wire"

// Close begins the closing handshake: what is queued is written, then the close frame; then input is
// read and discarded until the peer's close frame comes, or Config.CloseTimeout has passed since the
// call. code and reason must be valid for wire.AppendClose. tag comes back in End.Tag.
//
// written, if not nil, is told when the close frame is written, or with ErrClosing when the connection
// ended before. On a connection that is closing already, Close only waits with it.
func (c *Conn) Close(code uint16, reason string, tag uint8, written Done) {
	c.writeMu.Lock()
	c.causeLocked(LocalClose, tag, nil, "")
	c.writeMu.Unlock()
	c.closeWith(code, reason, written)
}

// Terminate ends the connection at once, without a close frame. tag comes back in End.Tag.
func (c *Conn) Terminate(tag uint8) {
	c.writeMu.Lock()
	c.causeLocked(LocalTerminate, tag, nil, "")
	c.writeMu.Unlock()
	c.stop()
}

// Refuse closes a connection whose peer sent a message that cannot be handled because of its size.
func (c *Conn) Refuse(detail string) { c.closeFor(MessageTooBig, wire.MessageTooBig, detail) }

// Shed closes the connection with 1013 and gives back at once what it holds, for want of memory: what waits to be
// written, and what has come of an unfinished message.
func (c *Conn) Shed(detail string) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.discardReader()
	c.kept = nil
	c.breakOff(SlowConsumer, wire.TryAgainLater, nil, detail)
}

// Abandon says that nobody will continue the unfinished message of that number.
func (c *Conn) Abandon(fragment uint64) {
	c.writeMu.Lock()
	open := c.queue != nil && c.queue.unfinished(fragment)
	c.writeMu.Unlock()
	if open {
		c.closeFor(Abandoned, wire.InternalError, "message abandoned")
	}
}

// closeFor closes for a cause of our own. What is queued is not waited for.
func (c *Conn) closeFor(cause Cause, code uint16, reason string) {
	c.writeMu.Lock()
	var dones []Done
	if c.causeLocked(cause, 0, nil, reason) {
		dones = c.clearQueueLocked()
	}
	c.writeMu.Unlock()
	c.closeWith(code, reason, nil)
	c.answer(dones, ErrClosing)
}

// closeWith sees to it that a close frame is written, once.
func (c *Conn) closeWith(code uint16, reason string, written Done) {
	c.writeMu.Lock()
	e := c.endingLocked()
	if sent := e.SentCode != 0; sent || c.over.Load() {
		c.writeMu.Unlock()
		c.answerClose(written, sent)
		return
	}
	e.written = appendDone(e.written, written)
	if !e.closeDue && !e.closeSent {
		e.closeDue, e.code, e.reason = true, code, reason
		c.closing.Store(true)
		c.limitClosingLocked()
	}
	var unread []Done
	if e.peer || e.lingers {
		unread = c.clearQueueLocked() // nobody reads it any more
	}
	c.writeMu.Unlock()
	c.answer(unread, ErrClosing)
	c.kick()
	if c.held.Load() != 0 {
		c.driver.wake() // it is read again now
	}
}

func (c *Conn) answerClose(written Done, sent bool) {
	switch {
	case written == nil:
	case sent:
		c.tell(written, Outcome{})
	default:
		c.tell(written, Outcome{Err: ErrClosing})
	}
}

func (c *Conn) limitClosingLocked() {
	e, limit := c.endingLocked(), c.cfg.CloseTimeout
	if e.lingers {
		limit = min(limit, lingerTimeout)
	}
	at := c.cfg.engine.clock.now() + int64(limit)
	if e.deadline == 0 || at < e.deadline {
		e.deadline = at
		c.cfg.engine.clock.arm(c, at)
	}
}

// closeWritten says that the kernel took our close frame.
func (c *Conn) closeWritten() {
	c.writeMu.Lock()
	e := c.endingLocked()
	e.SentCode, e.SentReason = e.code, e.reason
	written := e.written
	e.written = nil
	peer, lingers := e.peer, e.lingers
	c.writeMu.Unlock()
	c.answer(written, nil)
	switch {
	case peer: // RFC 6455 7.1.1: the server ends the TCP connection, and first
		c.stop()
	case lingers: // the peer will never be understood: let it read the frame and go
		c.driver.closeWrite()
	}
}

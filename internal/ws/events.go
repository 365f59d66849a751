package ws

import "github.com/holdfast-broker/holdfast/internal/ws/wire"

// react does what the protocol asks for, once, and answers what is left for the Handler.
func (c *Conn) react(e wire.Event) wire.Event {
	switch e.Kind {
	case wire.PingEvent:
		c.unasked()
		c.pinged(e.Payload)
	case wire.PongEvent:
		if c.ponged(e.Payload) {
			return wire.Event{}
		}
	case wire.CloseEvent:
		c.peerClosed(e.Code, e.Reason)
		return wire.Event{}
	}
	return e
}

// offer gives an event to the Handler; false if it has no room. A connection that is closing reads only
// to find the peer's close frame.
func (c *Conn) offer(e wire.Event) bool {
	if c.closing.Load() {
		return true
	}
	switch e.Kind {
	case wire.MessageEvent:
		return c.handler.OnMessage(e.Opcode, e.Payload)
	case wire.PingEvent:
		return c.handler.OnPing(e.Payload)
	case wire.PongEvent:
		return c.handler.OnPong(e.Payload)
	}
	return true
}

// unasked counts a control frame that answers nothing.
func (c *Conn) unasked() {
	if c.chargeControl() {
		c.slowDown()
	}
}

// pinged notes the pong that is due.
func (c *Conn) pinged(payload []byte) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if due, sent := c.closeStateLocked(); !due && !sent {
		c.takeQueueLocked().answer(payload)
		c.pongDue = true
	}
}

// answerPing writes the pongs to the pings of a chunk.
func (c *Conn) answerPing() {
	if c.pongDue {
		c.pongDue = false
		c.kick()
	}
}

// fail ends a connection whose peer broke the protocol.
func (c *Conn) fail(fault *wire.Fault) {
	cause := ProtocolFault
	if fault.Code == wire.MessageTooBig {
		cause = MessageTooBig
	}
	c.breakOff(cause, fault.Code, fault, fault.Text)
}

// breakOff ends a connection that cannot be read as WebSocket any more: the peer gets our close frame,
// then what it still sends is discarded for a moment, because closing at once could reset the
// connection before the frame was read.
func (c *Conn) breakOff(cause Cause, code uint16, fault *wire.Fault, text string) {
	c.deaf = true
	c.writeMu.Lock()
	c.causeLocked(cause, 0, fault, text)
	e := c.endingLocked()
	e.lingers = true
	c.limitClosingLocked()
	sent := e.SentCode != 0
	c.writeMu.Unlock()
	if sent {
		c.driver.closeWrite()
		return
	}
	c.closeWith(code, text, nil)
}

// peerClosed answers the peer's close frame, or ends the connection if it was the answer to ours.
func (c *Conn) peerClosed(code uint16, reason string) {
	c.peerDone = true
	c.closing.Store(true)
	c.writeMu.Lock()
	e := c.endingLocked()
	e.Code, e.Reason = code, reason
	e.peer = true
	c.causeLocked(PeerClose, 0, nil, "")
	written := e.SentCode != 0
	c.writeMu.Unlock()
	if written {
		c.stop()
		return
	}
	// RFC 6455 5.5.1: the answer usually repeats the code. If ours is on its way already, then whoever
	// writes it ends the connection.
	c.closeWith(code, "", nil)
}

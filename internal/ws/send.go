package ws

import (
	"bytes"
	"errors"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// errSlowConsumer tells Send to close the connection, which it cannot do under the lock.
var errSlowConsumer = errors.New("slow consumer")

// Send queues a message or fragment, or refuses it: ErrClosing, ErrQueueFull, ErrTooLarge, ErrHeld and
// ErrTooManyPings (with Received), ErrFragment. When nothing else waits it is written before Send
// returns, unless it is Later. done is told the outcome of a confirmation above Queued.
func (c *Conn) Send(m *Message, done Done) (Sent, error) {
	if m.Confirmation == Queued {
		done = nil
	}
	c.writeMu.Lock()
	if b := c.directLocked(m, done); b != nil {
		c.writeMu.Unlock()
		return Sent{Buffered: c.write(b)}, nil
	}
	waits := c.waitsLocked()
	if waits && !c.queue.room(len(m.Payload), c.cfg) {
		c.writeMu.Unlock()
		c.kick() // what waits for Flush is nobody's backlog
		c.writeMu.Lock()
		waits = c.waitsLocked()
	}
	sent, dropped, err := c.acceptLocked(m, done)
	sent.Buffered = c.bufferedLocked()
	var b *batch
	switch {
	case err != nil:
	case m.Later && !m.More && m.Fragment == 0:
		sent.Waits = !waits && c.waitsLocked()
	default:
		b = c.becomeWriterLocked()
	}
	c.writeMu.Unlock()
	c.answer(dropped, ErrQueueFull)
	if errors.Is(err, errSlowConsumer) {
		c.closeFor(SlowConsumer, wire.TryAgainLater, "send queue is full")
		err = ErrClosing
	}
	if b != nil {
		sent.Buffered = c.write(b)
	}
	return sent, err
}

// write is the writer of that batch, and answers what waits behind it then.
func (c *Conn) write(b *batch) (buffered int) {
	if c.pump(b) {
		return 0
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.bufferedLocked()
}

// Flush writes what was sent to be written later.
func (c *Conn) Flush() { c.kick() }

// waitsLocked: there are messages that nobody writes before Flush, or before something else is sent.
func (c *Conn) waitsLocked() bool { return !c.writing && c.queue != nil && c.queue.count > 0 }

// acceptLocked puts a message into the queue if the rules allow it. dropped are the completions of
// messages that had to give way.
func (c *Conn) acceptLocked(m *Message, done Done) (sent Sent, dropped []Done, err error) {
	size := len(m.Payload)
	if c.direct > 0 {
		c.takeQueueLocked() // which counts what is being written
	}
	switch {
	case c.closing.Load() || c.over.Load():
		return sent, nil, ErrClosing
	case size > c.cfg.SendQueueBytes:
		return sent, nil, ErrTooLarge
	case m.Fragment != 0 && (c.queue == nil || !c.queue.continuable(m)):
		return sent, nil, ErrFragment
	}
	if m.Confirmation == Received {
		if err := c.receiptLocked(); err != nil {
			return sent, nil, err
		}
	}
	if c.queue != nil && !c.queue.room(size, c.cfg) {
		if dropped, err = c.makeRoomLocked(size); err != nil {
			return sent, dropped, err
		}
	}
	sent.Fragment = c.pushLocked(m, done)
	return sent, dropped, nil
}

// pushLocked answers the number of a message in fragments.
func (c *Conn) pushLocked(m *Message, done Done) uint64 {
	if m.Lent {
		own := *m
		own.Payload, own.Lent = bytes.Clone(m.Payload), false
		m = &own
	}
	compress := m.Fragment == 0 && c.compresses(m)
	q := c.takeQueueLocked()
	if m.Fragment == 0 && !c.writing && q.pass(m, done, compress) {
		return 0
	}
	now := c.cfg.engine.clock.now()
	if m.Fragment != 0 {
		q.continues(m, done, now)
		return m.Fragment
	}
	var expires int64
	if m.ExpireAfter > 0 {
		expires = now + int64(m.ExpireAfter)
		c.cfg.engine.clock.arm(c, expires)
	}
	if m.More {
		c.cfg.engine.clock.arm(c, now+int64(c.cfg.FragmentTimeout))
	}
	return q.push(m, done, expires, now, compress)
}

// makeRoomLocked applies the endpoint's policy to a full queue.
func (c *Conn) makeRoomLocked(size int) (dropped []Done, err error) {
	switch c.cfg.SendQueuePolicy {
	case QueueClose:
		return nil, errSlowConsumer
	case QueueDropOldest:
		dropped = c.queue.makeRoom(size, c.cfg)
	}
	if !c.queue.room(size, c.cfg) {
		c.queue.refused = true
		return dropped, ErrQueueFull
	}
	return dropped, nil
}

// receiptLocked refuses what cannot be confirmed as received.
func (c *Conn) receiptLocked() error {
	if c.held.Load()&unheard != 0 {
		return ErrHeld
	}
	waiting := c.pings.receipts()
	if c.queue != nil {
		waiting += c.queue.receipts
	}
	if waiting >= MaxReceipts {
		return ErrTooManyPings
	}
	return nil
}

// Ping queues a ping, which passes the messages that wait. Received needs room among MaxPings.
// payload is at most wire.MaxControlPayload bytes and must not change after Ping.
func (c *Conn) Ping(payload []byte, cf Confirmation, done Done) error {
	return c.control(outFrame{op: wire.Ping, fin: true, payload: payload, confirmation: cf, done: done})
}

// Pong queues an unsolicited pong (RFC 6455 5.5.3). Received is as Written: nobody answers a pong.
func (c *Conn) Pong(payload []byte, cf Confirmation, done Done) error {
	return c.control(outFrame{op: wire.Pong, fin: true, payload: payload, confirmation: min(cf, Written), done: done})
}

func (c *Conn) control(f outFrame) error {
	c.writeMu.Lock()
	if err := c.controlLocked(f); err != nil {
		c.writeMu.Unlock()
		return err
	}
	c.writeMu.Unlock()
	c.kick()
	return nil
}

func (c *Conn) controlLocked(f outFrame) error {
	switch {
	case c.closing.Load() || c.over.Load():
		return ErrClosing
	case f.confirmation == Received && c.held.Load()&unheard != 0:
		return ErrHeld
	case f.op == wire.Ping && c.pings.asked.full():
		return ErrTooManyPings
	case c.queue != nil && len(c.queue.control) >= MaxPings:
		c.queue.refused = true
		return ErrQueueFull
	}
	if f.confirmation == Queued {
		f.done = nil
	}
	if f.op == wire.Ping {
		c.pings.ask().queued++
	}
	q := c.takeQueueLocked()
	q.control = append(q.control, f)
	return nil
}

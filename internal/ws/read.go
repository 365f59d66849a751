package ws

import (
	"bytes"
	"sync"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// kept is input that was read and not yet given to the Handler because of a hold: at most an event and
// the rest of the chunk that it came in.
type kept struct {
	event  wire.Event // Kind is NoEvent when only bytes are kept
	rest   []byte
	memory int // bytes that rest keeps from being freed
}

// Hold keeps the connection from being read for that reason. When it returns, no further event reaches
// the Handler until every hold is released. Input that was read already is kept.
func (c *Conn) Hold(h Hold) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.held.Store(c.held.Load() | uint32(h))
}

// Release ends a hold. After the last one the clocks of the connection start anew.
func (c *Conn) Release(h Hold) {
	c.readMu.Lock()
	old := c.held.Load()
	left := old &^ uint32(h)
	c.held.Store(left)
	c.readMu.Unlock()
	if old == 0 || left != 0 {
		return
	}
	now := c.cfg.engine.clock.now()
	c.lastSign.Store(now)
	c.messaged(now)
	c.writeMu.Lock()
	c.pings.restart(now)
	if !c.over.Load() {
		c.armLocked(now)
	}
	c.writeMu.Unlock()
	c.driver.wake()
}

// readable: nothing keeps the connection from being read. One that is closing is always read, to find
// the peer's close frame; one whose peer has closed only waits for its own to be written.
func (c *Conn) readable() bool {
	if c.over.Load() {
		return true
	}
	c.readMu.Lock()
	defer c.readMu.Unlock()
	return !c.peerDone && (c.held.Load() == 0 || c.closing.Load())
}

// replay offers what was kept; it decides nothing when a hold came again.
func (c *Conn) replay() (more, decided bool) {
	more, decided = c.offerKept()
	c.answerPing()
	return more, decided
}

func (c *Conn) offerKept() (more, decided bool) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	k := c.kept
	if k == nil {
		return true, true
	}
	if !c.offer(k.event) {
		c.held.Store(c.held.Load() | uint32(HoldBusy))
		return false, false
	}
	c.kept = nil
	more = c.digest(k.rest, k)
	return more, more
}

// take processes a chunk that was read. False: stop reading, for a hold or for good.
func (c *Conn) take(chunk []byte) bool {
	c.lastSign.Store(c.cfg.engine.clock.now())
	more := c.process(chunk)
	c.answerPing()
	return more
}

func (c *Conn) process(chunk []byte) bool {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	return c.digest(chunk, nil)
}

// digest gives what is in chunk to the Handler, and ends the use of it. from is where the chunk was kept before, if it
// was.
func (c *Conn) digest(chunk []byte, from *kept) bool {
	more := c.feed(chunk, from)
	c.parkReader()
	return c.settleChunk() && more
}

// readers are there for the chunks that are being read, not one for each connection.
var readers = sync.Pool{New: func() any { return new(wire.Reader) }}

// takeReader answers the connection's reader, which it has until a chunk ends with nothing unfinished.
func (c *Conn) takeReader() *wire.Reader {
	if c.reader == nil {
		c.reader = readers.Get().(*wire.Reader)
		c.reader.Reset(c.readerConfig())
	}
	return c.reader
}

func (c *Conn) readerConfig() *wire.ReaderConfig {
	if c.compressed != nil {
		return &c.cfg.compressed
	}
	return &c.cfg.reader
}

// parkReader ends the use of a chunk and of what was read from it.
func (c *Conn) parkReader() {
	if c.reader == nil {
		return
	}
	if c.reader.Release(); !c.reader.InMessage() {
		c.discardReader()
	}
}

// unfinished is how many bytes of input the connection holds; 0 while a chunk is being processed: then it may be none.
func (c *Conn) unfinished() (n int) {
	if !c.readMu.TryLock() {
		return 0
	}
	defer c.readMu.Unlock()
	if c.reader != nil {
		n = c.reader.Held()
	}
	if k := c.kept; k != nil {
		n += len(k.event.Payload) + len(k.rest)
	}
	return n
}

func (c *Conn) discardReader() {
	if c.reader != nil {
		c.reader.Discard()
		readers.Put(c.reader)
		c.reader = nil
	}
}

// feed gives the events in chunk to the Handler, one by one.
func (c *Conn) feed(chunk []byte, from *kept) bool {
	for len(chunk) > 0 {
		if c.over.Load() || c.peerDone {
			return false
		}
		if c.deaf {
			return true
		}
		if c.held.Load() != 0 && !c.closing.Load() {
			c.keep(wire.Event{}, chunk, from)
			return false
		}
		event, n, fault := c.takeReader().Next(chunk)
		if fault != nil {
			c.fail(fault)
			return true
		}
		chunk = chunk[n:]
		c.arrived(event, n)
		inflated, fault := c.inflate(&event)
		if fault != nil {
			c.fail(fault)
			return true
		}
		event = c.react(event)
		taken := c.offer(event)
		if !taken {
			c.keep(event, chunk, from)
			c.held.Store(c.held.Load() | uint32(HoldBusy))
		}
		if c.cfg.engine.buffers.Put(inflated); !taken {
			return false
		}
	}
	return !c.peerDone && (c.held.Load() == 0 || c.closing.Load())
}

// arrived notes what was read, up to the end of an event, for the rates, the quotas and the idle timeout. A
// message that is still on its way counts as one.
func (c *Conn) arrived(e wire.Event, n int) {
	if c.charge(e, n) {
		c.slowDown()
	}
	c.draw(e, n)
	if e.Kind == wire.MessageEvent || e.Kind == wire.NoEvent {
		c.messaged(c.lastSign.Load())
	}
}

// keep holds on to an event that the Handler did not take, if any, and to the rest of its chunk. Both lie in memory
// that others will use, so they are copied; but what comes from memory that was kept before only when that frees half of it:
// whoever is held after every frame would have everything behind it copied each time.
func (c *Conn) keep(e wire.Event, rest []byte, from *kept) {
	k := from
	if k == nil {
		k = new(kept)
	}
	e.Payload = bytes.Clone(e.Payload)
	k.event = e
	if from == nil || len(rest) <= k.memory/2 {
		rest = bytes.Clone(rest)
		k.memory = len(rest)
	}
	k.rest = rest
	c.kept = k
}

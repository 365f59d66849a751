package ws

import (
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// RatePolicy says what happens to a connection whose peer sends faster than it may.
type RatePolicy uint8

const (
	// RateWait does not read the connection until it is within its rates: TCP slows the peer down.
	RateWait RatePolicy = iota
	// RateClose closes it with 1008.
	RateClose
)

// Rates are what a peer may send in a second, on average; a second's worth may come at once. What is
// over a rate by the time it is seen still counts as sent.
type Rates struct {
	// Messages of any size, each counted when it is whole. 0: no limit.
	Messages int
	// Bytes as they are read, the headers of frames included. 0: no limit.
	Bytes int64
	// ControlFrames are pings, and pongs that answer nothing. 0: no limit.
	ControlFrames int
	// Policy: zero is RateWait.
	Policy RatePolicy
}

// none: nothing has to be counted for every event.
func (r Rates) none() bool { return r.Messages == 0 && r.Bytes == 0 }

// burst is how far ahead of its rate a peer may be.
const burst = int64(time.Second)

// meter is a token bucket: the clock time up to which what came is paid for, if a second's worth costs a
// second. It is over its rate when it is more than burst ahead.
type meter int64

// add counts n at so many per second, and answers whether that was too many.
func (m *meter) add(now, n, perSecond int64) bool {
	paid := max(int64(*m), now) + n*int64(time.Second)/perSecond
	*m = meter(paid)
	return paid-now > burst
}

// limits is what has to be known of a connection for the limits of its endpoint. Most endpoints have none that needs it
// while nothing happens.
type limits struct {
	lastMessage atomic.Int64 // clock time of the last message, or of the end of a hold; only with an IdleTimeout
	slowUntil   atomic.Int64 // clock time at which HoldRate ends; 0: not set
	expires     atomic.Int64 // clock time at which the lifetime is over; 0: never
	draft       atomic.Pointer[draft]
	meters      meters
}

// limited makes the limits of a connection if it has none.
func (c *Conn) limited() *limits {
	if l := c.limits.Load(); l != nil {
		return l
	}
	c.limits.CompareAndSwap(nil, new(limits))
	return c.limits.Load()
}

// meters are those of one connection, guarded by Conn.readMu.
type meters struct{ messages, bytes, control meter }

// until is when all of them are within their rates again.
func (m *meters) until() int64 { return int64(max(m.messages, m.bytes, m.control)) - burst }

// charge counts what was read up to the end of an event and answers whether the peer is over a rate.
func (c *Conn) charge(e wire.Event, n int) (over bool) {
	r := &c.cfg.Rates
	if r.none() {
		return false
	}
	now, m := c.cfg.engine.clock.now(), &c.limited().meters
	if r.Bytes != 0 {
		over = m.bytes.add(now, int64(n), r.Bytes)
	}
	if r.Messages != 0 && e.Kind == wire.MessageEvent {
		over = m.messages.add(now, 1, int64(r.Messages)) || over
	}
	return over
}

// chargeControl counts a control frame that nothing asked for.
func (c *Conn) chargeControl() (over bool) {
	limit := int64(c.cfg.Rates.ControlFrames)
	return limit != 0 && c.limited().meters.control.add(c.cfg.engine.clock.now(), 1, limit)
}

// slowDown keeps the connection from being read until its peer is within its rates again, or closes it.
// readMu is held.
func (c *Conn) slowDown() {
	if c.closing.Load() {
		return
	}
	c.cfg.engine.overRate.Add(1)
	if c.cfg.Rates.Policy == RateClose {
		c.closeFor(RateLimited, wire.PolicyViolation, "more in a second than this endpoint allows")
		return
	}
	c.holdUntil(c.limited().meters.until())
}

// holdUntil keeps the connection from being read until then, or until a hold of this kind ends that it has already. readMu
// is held.
func (c *Conn) holdUntil(at int64) {
	c.held.Store(c.held.Load() | uint32(HoldRate))
	l := c.limited()
	at = max(at, l.slowUntil.Load(), 1)
	l.slowUntil.Store(at)
	c.cfg.engine.clock.arm(c, at)
}

// withinRates answers, once, that the hold of holdUntil is over.
func (c *Conn) withinRates(now int64) bool {
	l, at := c.limits.Load(), c.slowUntil()
	return at != 0 && now >= at && l.slowUntil.CompareAndSwap(at, 0)
}

// slowUntil is the clock time at which the hold of holdUntil ends; 0: there is none.
func (c *Conn) slowUntil() int64 {
	if l := c.limits.Load(); l != nil {
		return l.slowUntil.Load()
	}
	return 0
}

package ws

import (
	"math/rand/v2"
	"time"
)

// ExpiredCode is the close code of a connection whose lifetime is over.
const ExpiredCode = 4401

// jittered is a time that is up to a twentieth shorter or longer, so that connections which did the
// same at the same time do not go on doing so.
func jittered(d time.Duration) int64 {
	return int64(d) + rand.Int64N(int64(d)/10+1) - int64(d)/20
}

// beginLife starts the idle timeout and the lifetime.
func (c *Conn) beginLife(now int64) {
	if c.cfg.IdleTimeout <= 0 && c.cfg.Lifetime <= 0 {
		return
	}
	l := c.limited()
	l.lastMessage.Store(now)
	if d := int64(c.cfg.Lifetime); d > 0 {
		l.expires.Store(now + d - rand.Int64N(d/10+1))
	}
}

// messaged says that a message came or went, or that a hold has ended.
func (c *Conn) messaged(now int64) {
	if c.cfg.IdleTimeout > 0 {
		c.limited().lastMessage.Store(now)
	}
}

// idleLocked: no message came or went for too long. Who is not read could not send one.
func (c *Conn) idleLocked(now int64) bool { return c.awaitsMessageLocked() && now >= c.idleAtLocked() }

func (c *Conn) awaitsMessageLocked() bool {
	return c.cfg.IdleTimeout > 0 && c.held.Load() == 0 && !c.closing.Load()
}

func (c *Conn) idleAtLocked() int64 {
	return c.limited().lastMessage.Load() + int64(c.cfg.IdleTimeout)
}

// oldLocked: the lifetime is over.
func (c *Conn) oldLocked(now int64) bool {
	at := c.expiresAt()
	return at != 0 && now >= at && !c.closing.Load()
}

// expiresAt is the clock time at which the lifetime is over; 0: never.
func (c *Conn) expiresAt() int64 {
	if l := c.limits.Load(); l != nil {
		return l.expires.Load()
	}
	return 0
}

// lifetimesLocked tells earliest when these are.
func (c *Conn) lifetimesLocked(earliest func(int64)) {
	if c.awaitsMessageLocked() {
		earliest(c.idleAtLocked())
	}
	if at := c.expiresAt(); at != 0 && !c.closing.Load() {
		earliest(at)
	}
}

// expire closes a connection whose lifetime is over, behind what is queued.
func (c *Conn) expire() {
	c.writeMu.Lock()
	c.causeLocked(Expired, 0, nil, "maximum lifetime reached")
	c.writeMu.Unlock()
	c.closeWith(ExpiredCode, "maximum lifetime reached", nil)
}

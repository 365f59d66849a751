package ws

import (
	"math"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// tick is called by the clock when something of the connection is due. It looks at every time limit,
// so that one alarm serves them all.
func (c *Conn) tick(now int64) {
	c.writeMu.Lock()
	if c.over.Load() {
		c.writeMu.Unlock()
		return
	}
	ping := c.beatLocked(now)
	first := ping && c.pings.heartbeat.since == now // of those that are unanswered
	dead := c.deadLocked(now)
	late := c.lateLocked(now)
	expired := c.expiredLocked(now)
	abandoned := c.abandonedLocked(now)
	idle, old := c.idleLocked(now), c.oldLocked(now)
	owes := c.owesLocked() // a ping may go, the queue may be empty now
	c.armLocked(now)
	c.writeMu.Unlock()

	c.answer(late, ErrNotConfirmed)
	c.answer(expired, ErrExpired)
	if dead == PingTimeout && c.progress() {
		dead = 0
		c.grantTime(now)
	}
	if first {
		c.progress() // from here on; a later ping must not make the time to show some shorter
	}
	switch {
	case dead != 0:
		c.finishWith(dead, "no sign of life after a ping")
	case abandoned:
		c.closeFor(Abandoned, wire.InternalError, "message abandoned")
	case old:
		c.expire()
	case idle:
		c.closeFor(Idle, wire.GoingAway, "no message for too long")
	case owes:
		c.kick()
	}
	if c.withinRates(now) {
		c.Release(HoldRate)
	}
}

// beatLocked makes the regular ping due.
func (c *Conn) beatLocked(now int64) bool {
	h := &c.pings.heartbeat
	if h.next == 0 || now < h.next || c.closing.Load() {
		return false
	}
	h.next = now + jittered(c.cfg.HeartbeatInterval)
	h.due = true
	if h.since == 0 { // an older one that is unanswered keeps its time
		h.since = now
	}
	return true
}

// deadLocked answers the cause if the connection is to end now: the peer gave no sign of life, or did
// not close in time. Whatever is read is a sign of life: a pong may wait behind a long message.
func (c *Conn) deadLocked(now int64) Cause {
	if e := c.ending; e != nil && e.deadline != 0 && now >= e.deadline {
		return e.Cause
	}
	if c.awaitsLifeLocked() && now >= c.lifeDeadlineLocked() {
		return PingTimeout
	}
	return 0
}

// progress: since it was asked last the peer's side has acknowledged something, and there is more for
// it to take, behind which the ping may be. So a slow reader is not taken for a dead one.
func (c *Conn) progress() bool {
	acked, waiting := c.driver.backlog()
	old := c.acked
	c.acked = acked
	return waiting && acked > old
}

// grantTime waits as long again for a sign of life.
func (c *Conn) grantTime(now int64) {
	c.lastSign.Store(now)
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if !c.over.Load() {
		c.armLocked(now)
	}
}

// awaitsLifeLocked: a connection that is closing has its own time limit.
func (c *Conn) awaitsLifeLocked() bool {
	return c.pings.heartbeat.since != 0 && c.held.Load() == 0 && !c.closing.Load()
}

func (c *Conn) lifeDeadlineLocked() int64 {
	return max(c.pings.heartbeat.since, c.lastSign.Load()) + int64(c.cfg.HeartbeatTimeout)
}

func (c *Conn) lateLocked(now int64) []Done {
	if c.held.Load() != 0 {
		return nil
	}
	return c.pings.late(now, c.cfg.HeartbeatTimeout)
}

func (c *Conn) expiredLocked(now int64) []Done {
	if c.queue == nil {
		return nil
	}
	return c.queue.remove(func(om *outMessage) bool { return om.expired(now) })
}

// abandonedLocked: a message was begun with More and not continued in time.
func (c *Conn) abandonedLocked(now int64) bool {
	for _, om := range c.messagesLocked() {
		if om.open && now >= om.continued+int64(c.cfg.FragmentTimeout) {
			return true
		}
	}
	return false
}

// armLocked sets the clock to the next time limit.
func (c *Conn) armLocked(now int64) {
	next := int64(math.MaxInt64)
	earliest := func(at int64) { next = min(next, at) }
	if at := c.pings.heartbeat.next; at != 0 && !c.closing.Load() {
		earliest(at)
	}
	if c.awaitsLifeLocked() {
		earliest(c.lifeDeadlineLocked())
	}
	if e := c.ending; e != nil && e.deadline != 0 {
		earliest(e.deadline)
	}
	if at := c.slowUntil(); at != 0 {
		earliest(at)
	}
	c.lifetimesLocked(earliest)
	if a := c.pings.asked; a != nil && len(a.list) > 0 && c.held.Load() == 0 {
		earliest(a.deadline(c.cfg.HeartbeatTimeout))
	}
	for _, om := range c.messagesLocked() {
		if om.expires != 0 && !om.begun {
			earliest(om.expires)
		}
		if om.open {
			earliest(om.continued + int64(c.cfg.FragmentTimeout))
		}
	}
	if next != math.MaxInt64 {
		c.cfg.engine.clock.arm(c, max(next, now+1))
	}
}

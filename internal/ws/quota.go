package ws

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Quota is what the peers of several connections may send in a second, all together, on average; a second's worth may
// come at once. A connection that overdraws it is not read until what its own peer sent is paid for. It is never closed for
// that: others may have drawn most of it.
type Quota struct {
	clock    *clock
	messages sharedMeter
	bytes    sharedMeter
	over     *atomic.Uint64
}

// NewQuota makes one for connections of this engine: so many messages of any size, and so many bytes, the headers of frames
// included. 0: no limit. over counts the connections that were held.
func (e *Engine) NewQuota(messages int, bytes int64, over *atomic.Uint64) *Quota {
	return &Quota{
		clock: e.clock, messages: sharedMeter{perSecond: int64(messages)}, bytes: sharedMeter{perSecond: bytes}, over: over,
	}
}

// Owes reports whether something is still to be paid: until it is not, the quota is no new one.
func (q *Quota) Owes() bool {
	now := q.clock.now()
	return q.messages.paid.Load() > now || q.bytes.paid.Load() > now
}

// charge counts what was drawn, and answers when the quota is within its limits again; in the past: it is.
func (q *Quota) charge(now int64, d drawn) (until int64) {
	return max(q.messages.add(now, d.messages), q.bytes.add(now, d.bytes)) - burst
}

// sharedMeter is a meter that connections add to at the same time.
type sharedMeter struct {
	perSecond int64 // 0: no limit; static
	paid      atomic.Int64
}

// add counts n and answers up to when what came is paid for.
func (m *sharedMeter) add(now, n int64) (paid int64) {
	if m.perSecond == 0 || n == 0 {
		return 0
	}
	cost := n * int64(time.Second) / m.perSecond
	for {
		old := m.paid.Load()
		paid = max(old, now) + cost
		if m.paid.CompareAndSwap(old, paid) {
			return paid
		}
	}
}

// share is how much of it one connection may draw before it is charged: little, but many connections that are served at
// once do not meet there for each message.
func (m *sharedMeter) share() int64 {
	const shares = 100
	if m.perSecond == 0 {
		return math.MaxInt64
	}
	return max(m.perSecond/shares, 1)
}

// drawn is what a peer has sent.
type drawn struct{ messages, bytes int64 }

// draft is what a connection has drawn on its quotas and not been charged with.
type draft struct {
	quotas []*Quota // static
	limit  drawn    // is charged before the end of a chunk; static
	drawn  drawn    // guarded by Conn.readMu
}

// SetQuotas has the connection draw on these and on no others. It does not block, and may be called from anywhere.
func (c *Conn) SetQuotas(quotas ...*Quota) {
	if len(quotas) == 0 {
		if l := c.limits.Load(); l != nil {
			l.draft.Store(nil)
		}
		return
	}
	d := &draft{quotas: quotas, limit: drawn{math.MaxInt64, math.MaxInt64}}
	for _, q := range quotas {
		d.limit.messages = min(d.limit.messages, q.messages.share())
		d.limit.bytes = min(d.limit.bytes, q.bytes.share())
	}
	c.limited().draft.Store(d)
}

// draft is nil where there are no quotas.
func (c *Conn) draft() *draft {
	if l := c.limits.Load(); l != nil {
		return l.draft.Load()
	}
	return nil
}

// draw notes what was read up to the end of an event.
func (c *Conn) draw(e wire.Event, n int) {
	d := c.draft()
	if d == nil {
		return
	}
	d.drawn.bytes += int64(n)
	if e.Kind == wire.MessageEvent {
		d.drawn.messages++
	}
	if d.drawn.messages >= d.limit.messages || d.drawn.bytes >= d.limit.bytes {
		c.settle(d)
	}
}

// settle charges the quotas with what was drawn, and holds the connection if one is overdrawn. readMu is held.
func (c *Conn) settle(d *draft) {
	now, until := c.cfg.engine.clock.now(), int64(0)
	for _, q := range d.quotas {
		at := q.charge(now, d.drawn)
		if at > now && !c.closing.Load() {
			q.over.Add(1)
			until = max(until, at)
		}
	}
	d.drawn = drawn{}
	if until > 0 {
		c.holdUntil(until)
	}
}

// settleChunk ends the use of a chunk. It answers whether the connection may be read on, as far as its quotas go.
func (c *Conn) settleChunk() bool {
	d := c.draft()
	if d == nil || d.drawn == (drawn{}) {
		return true
	}
	c.settle(d)
	return c.held.Load() == 0 || c.closing.Load()
}

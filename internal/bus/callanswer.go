package bus

import (
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// answer takes one message of an answer: a chunk of a part, or that there will be none.
func (c *call) answer(e *envelope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.find(e.from)
	if l == nil || l.ended {
		c.p.counts.late.Add(1)
		return
	}
	c.heard(l)
	if e.kind == kindFail {
		c.end(l, nil, hub.ErrUnreachable)
		return
	}
	c.p.counts.chunksIn.Add(1)
	switch ahead := int32(e.seq - l.next); {
	case ahead < 0:
		c.p.counts.late.Add(1)
		return
	case ahead > 0:
		c.lose(l)
		return
	}
	l.next++
	part, complete, err := l.parts.add(e.body, e.size, &l.node.budget)
	switch {
	case err != nil:
		c.lose(l)
	case complete && e.flags&flagLast != 0:
		c.end(l, part, nil)
	case complete:
		c.deliver(l, part)
	}
}

// heard notes a sign of a node.
func (c *call) heard(l *leg) {
	l.heard, l.signs, l.asked, l.absent = c.p.now.Load(), true, false, false
	if l.silent {
		l.silent = false
		c.prompt++
	}
}

// lose ends what a node answers because a message of it was lost, or there is no memory for it. The callee
// learns of it when it next says that it works on the call.
func (c *call) lose(l *leg) {
	c.p.counts.lost.Add(1)
	c.end(l, nil, hub.ErrUnreachable)
}

// deliver hands over a part that is not the last, and gives the callee credit for it.
func (c *call) deliver(l *leg, part []byte) {
	if c.all {
		c.onAll(l.node.id, part, true, nil)
	} else {
		c.onOne(part, true, nil)
	}
	l.taken += uint64(len(part))
	if l.taken-l.credited >= uint64(c.p.config.Window)/4 {
		c.credit(l)
	}
}

// credit is a total, so that the next one makes up for one that was lost.
func (c *call) credit(l *leg) {
	l.credited = l.taken
	_ = c.p.publish(l.node.to, 0, &envelope{kind: kindCredit, call: c.id, value: l.taken})
}

// end is the last that is heard of a node. When it is the last of all, the call is over.
func (c *call) end(l *leg, part []byte, err error) {
	l.ended = true
	l.parts.drop()
	c.open--
	if !l.silent {
		c.prompt--
	}
	if c.prompt == 0 {
		c.since = c.p.now.Load()
	}
	if c.open == 0 {
		c.p.calls.remove(c.id)
		if c.stop != nil {
			c.stop()
		}
	}
	c.p.counts.failed(err)
	if !c.all {
		c.onOne(part, false, err)
		return
	}
	c.onAll(l.node.id, part, false, err)
	if c.open == 0 {
		c.done()
	}
}

// fail ends all that is open.
func (c *call) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.legs {
		if l := &c.legs[i]; !l.ended {
			c.end(l, nil, err)
		}
	}
}

// abandon ends all that is open because the context has ended, here and at the callees.
func (c *call) abandon(err error) {
	c.fail(err)
	_ = c.p.publish(c.subject, 0, &envelope{kind: kindCancel, call: c.id})
}

// expire ends what was not heard of for too long, or can no longer be.
func (c *call) expire(now int64) {
	if !c.mu.TryLock() {
		return // something is being heard right now, or the request still leaves
	}
	defer c.mu.Unlock()
	if !c.begun {
		return
	}
	for i := range c.legs {
		if l := &c.legs[i]; !l.ended {
			if err := c.verdict(l, now); err != nil {
				c.end(l, nil, err)
			}
		}
	}
}

// verdict says why a node is no longer waited for; nil: it is.
func (c *call) verdict(l *leg, now int64) error {
	quiet := now - l.heard
	switch {
	case quiet >= ticks-1: // a tick may have passed just after it was heard
		return hub.ErrUnreachable
	case l.absent, l.node.left.Load() && quiet > c.p.inTicks(c.p.config.Working)+1: // else it still works on it
		if c.all && l.node.goodbye.Load() {
			return hub.ErrGone
		}
		return hub.ErrUnreachable
	case l.silent && c.prompt == 0 && now-c.since > c.p.inTicks(c.p.config.SilentGrace):
		return hub.ErrUnreachable
	}
	return nil
}

// soonAsked is how many ticks a node may take for its first sign before somebody asks whether it is there at all.
const soonAsked = 2

// inquire asks our server for the nodes that give no sign: of one that was killed it says that nobody hears it, long
// before the time for an answer is over. What is asked is said anyway: how much of the answer we have taken.
func (c *call) inquire(now int64) {
	if !c.all || !c.mu.TryLock() {
		return // the server has said so of a single node at the beginning, or something is being heard right now
	}
	defer c.mu.Unlock()
	for i := range c.legs {
		l := &c.legs[i]
		patience := int64(soonAsked)
		if l.signs {
			patience = c.p.inTicks(c.p.config.Working) + 1
		}
		if !c.begun || l.ended || l.asked || now-l.heard <= patience {
			continue
		}
		l.asked = true
		_ = c.p.ask(l.node, &envelope{kind: kindCredit, call: c.id, value: l.taken})
	}
}

// nobodyHears handles what the server says when a request has no responders.
func (p *Peers) nobodyHears(m *nats.Msg) {
	number, node, asked := strings.Cut(strings.TrimPrefix(m.Subject, p.answers), askSeparator)
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil || len(m.Data) > 0 || m.Header.Get("Status") != "503" {
		p.counts.garbage.Add(1)
		return
	}
	switch c := p.calls.find(id); {
	case c == nil:
	case asked:
		c.missing(node)
	default:
		c.fail(hub.ErrUnreachable)
	}
}

// missing notes that nobody hears a node.
func (c *call) missing(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.find([]byte(node)); l != nil {
		l.absent = l.asked // else there was a sign since
	}
}

// alive handles the list of calls of ours that a callee works on.
func (p *Peers) alive(e *envelope) {
	for a, rest, ok := cutAlive(e.body); ok; a, rest, ok = cutAlive(rest) {
		c := p.calls.find(a.call)
		if c == nil || !c.alive(e.from, a) {
			p.disown(e.from, a.call)
		}
	}
}

// disown tells a callee that nobody waits for its answer.
func (p *Peers) disown(node []byte, id uint64) {
	if m := p.table.memberOf(node); m != nil {
		_ = p.publish(m.to, 0, &envelope{kind: kindCancel, call: id})
	}
}

// alive takes a sign of a callee; false: we do not wait for it.
func (c *call) alive(from []byte, a aliveEntry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.find(from)
	if l == nil || l.ended {
		return false
	}
	c.heard(l)
	// It comes behind everything that the callee has sent, so what is missing now is lost.
	if int32(a.next-l.next) > 0 {
		c.lose(l)
		return false
	}
	if a.blocked {
		c.credit(l)
	}
	return true
}

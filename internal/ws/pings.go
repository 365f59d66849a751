package ws

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"time"

	mathrand "math/rand/v2"
)

// pings are the pings of a connection that are unanswered, in the order in which they went, and who
// waits for the pong. RFC 6455 5.5.3 lets a peer answer only the latest of several pings, so a pong
// confirms its ping and all before it. Guarded by Conn.writeMu.
type pings struct {
	heartbeat heartbeat
	asked     *asked // nil: none
	last      uint32 // number of the last ping that went
}

// heartbeat is the regular ping. It is kept apart because every connection has one.
type heartbeat struct {
	next   int64  // when the next is due; 0: there is no heartbeat
	since  int64  // a sign of life is due since then; 0: none is
	sent   int64  // when the last one went
	number uint32 // of the last one that went
	due    bool   // one is to go
}

// asked are the pings beside the heartbeat's, and who waits for their pongs.
type asked struct {
	list      []sentPing // that went; at most MaxPings
	queued    int        // in the send queue; each has a place in the list
	awaiting  []Done     // sends for which a ping is still to go
	receipts  int        // all who wait
	restarted int64      // time limits count from here: the end of the last hold
}

type sentPing struct {
	number  uint32
	ours    bool
	payload []byte // of a ping that is not ours
	at      int64
	dones   []Done
}

// ownPing is the payload of our own pings: a mark that no other process has, and the number.
type ownPing [8]byte

var pingMark = func() (m [4]byte) {
	rand.Read(m[:])
	return m
}()

// begin starts the heartbeat; connections that came together do not ping together.
func (p *pings) begin(now int64, interval time.Duration) {
	if interval > 0 {
		p.heartbeat.next = now + int64(interval)/2 + mathrand.Int64N(int64(interval)/2+1)
	}
}

// ask is for whoever wants a ping.
func (p *pings) ask() *asked {
	if p.asked == nil {
		p.asked = new(asked)
	}
	return p.asked
}

// settle forgets what is answered when that is all.
func (p *pings) settle() {
	if a := p.asked; a != nil && len(a.list) == 0 && a.queued == 0 && a.receipts == 0 {
		p.asked = nil
	}
}

// full: no further ping may go before one is answered.
func (a *asked) full() bool { return a != nil && len(a.list)+a.queued >= MaxPings }

// due: sends wait for a ping of ours, which may go.
func (a *asked) due() bool { return a != nil && len(a.awaiting) > 0 && !a.full() }

// due: a ping of ours is to go.
func (p *pings) due() bool { return p.heartbeat.due || p.asked.due() }

// receipts is how many sends wait for one.
func (p *pings) receipts() int {
	if p.asked == nil {
		return 0
	}
	return p.asked.receipts
}

// await notes a send that was written and wants a receipt.
func (p *pings) await(d Done) {
	a := p.ask()
	a.awaiting = append(a.awaiting, d)
	a.receipts++
}

// restart begins the time limits anew, after a hold.
func (p *pings) restart(now int64) {
	if p.asked != nil {
		p.asked.restarted = now
	}
}

// next makes the payload of our next ping, for the heartbeat and for all who wait.
func (p *pings) next(now int64) (payload ownPing) {
	p.last++
	if h := &p.heartbeat; h.due {
		h.due, h.number, h.sent = false, p.last, now
	}
	if a := p.asked; a.due() {
		a.list = append(a.list, sentPing{number: p.last, ours: true, at: now, dones: a.awaiting})
		a.awaiting = nil
	}
	copy(payload[:], pingMark[:])
	binary.BigEndian.PutUint32(payload[4:], p.last)
	return payload
}

// sent notes that a ping from the send queue goes now.
func (p *pings) sent(f *outFrame, now int64) {
	p.last++
	a := p.ask()
	a.queued--
	ping := sentPing{number: p.last, payload: f.payload, at: now}
	if f.confirmation == Received && f.done != nil {
		ping.dones = []Done{f.done}
		a.receipts++
		f.done = nil
	}
	a.list = append(a.list, ping)
}

// confirm finds the ping that a pong answers and takes it and all before it off the list. rtt is 0 if
// that ping was given up already; ok is false for a pong that answers nothing.
func (p *pings) confirm(payload []byte, now int64) (answered []sentPing, rtt int64, ok bool) {
	number, ok := p.find(payload)
	if !ok {
		return nil, 0, false
	}
	h := &p.heartbeat
	if number == h.number && h.since != 0 {
		rtt = max(now-h.sent, 1)
	}
	if number >= h.number && h.number != 0 && !h.due {
		h.since = 0
	}
	if a := p.asked; a != nil {
		var asked int64
		if answered, asked = a.confirm(number, now); asked != 0 {
			rtt = asked
		}
		p.settle()
	}
	return answered, rtt, true
}

// confirm takes the pings up to that number off the list; rtt is that of the last, if it is there.
func (a *asked) confirm(number uint32, now int64) (answered []sentPing, rtt int64) {
	n := 0
	for ; n < len(a.list) && a.list[n].number <= number; n++ {
		a.receipts -= len(a.list[n].dones)
		if a.list[n].number == number {
			rtt = max(now-a.list[n].at, 1)
		}
	}
	answered = a.list[:n:n]
	a.list = a.list[n:]
	return answered, rtt
}

// find answers the number of the ping that has this payload. One of ours may have been given up or
// answered already; the peer is late then, but what it says is no news for the Handler.
func (p *pings) find(payload []byte) (number uint32, ok bool) {
	if len(payload) == len(ownPing{}) && [4]byte(payload) == pingMark {
		number = binary.BigEndian.Uint32(payload[4:])
		return number, number-1 < p.last
	}
	if p.asked == nil {
		return 0, false
	}
	list := p.asked.list
	i := slices.IndexFunc(list, func(s sentPing) bool { return !s.ours && bytes.Equal(s.payload, payload) })
	if i < 0 {
		return 0, false
	}
	return list[i].number, true
}

// late takes the pings off the list whose pong is overdue.
func (p *pings) late(now int64, timeout time.Duration) (dones []Done) {
	a := p.asked
	if a == nil {
		return nil
	}
	for len(a.list) > 0 && a.deadline(timeout) <= now {
		dones = append(dones, a.list[0].dones...)
		a.receipts -= len(a.list[0].dones)
		a.list = a.list[1:]
	}
	p.settle()
	return dones
}

// deadline of the oldest ping on the list, which must not be empty.
func (a *asked) deadline(timeout time.Duration) int64 {
	return max(a.list[0].at, a.restarted) + int64(timeout)
}

// clear answers all who wait.
func (p *pings) clear() (dones []Done) {
	if p.asked == nil {
		return nil
	}
	for _, s := range p.asked.list {
		dones = append(dones, s.dones...)
	}
	dones = append(dones, p.asked.awaiting...)
	p.asked = nil
	return dones
}

// ponged tells those who wait for this pong; false if it answers nothing.
func (c *Conn) ponged(payload []byte) bool {
	now := c.cfg.engine.clock.now()
	c.writeMu.Lock()
	answered, rtt, ok := c.pings.confirm(payload, now)
	more := ok && c.pings.due() // a place became free
	c.writeMu.Unlock()
	if rtt != 0 {
		c.rtt.Store(rtt)
	} else {
		c.unasked()
	}
	for _, s := range answered {
		for _, d := range s.dones {
			c.tell(d, Outcome{RTT: time.Duration(max(now-s.at, 1))})
		}
	}
	if more {
		c.kick()
	}
	return ok
}

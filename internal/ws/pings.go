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
	last      uint32 // number of the last ping that went
	heartbeat heartbeat
	list      []sentPing // beside the heartbeat's; at most MaxPings
	queued    int        // pings in the send queue, which have a place in the list
	awaiting  []Done     // sends for which a ping is still to go
	receipts  int        // all who wait
	restarted int64      // time limits count from here: the end of the last hold
}

// heartbeat is the regular ping. It is kept apart because every connection has one.
type heartbeat struct {
	next   int64  // when the next is due; 0: there is no heartbeat
	due    bool   // one is to go
	since  int64  // a sign of life is due since then; 0: none is
	number uint32 // of the last one that went
	sent   int64  // when it went
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

// full: no further ping may go before one is answered.
func (p *pings) full() bool { return len(p.list)+p.queued >= MaxPings }

// due: a ping of ours is to go.
func (p *pings) due() bool { return p.heartbeat.due || len(p.awaiting) > 0 && !p.full() }

// await notes a send that was written and wants a receipt.
func (p *pings) await(d Done) {
	p.awaiting = append(p.awaiting, d)
	p.receipts++
}

// next makes the payload of our next ping, for the heartbeat and for all who wait.
func (p *pings) next(now int64) (payload ownPing) {
	p.last++
	if h := &p.heartbeat; h.due {
		h.due, h.number, h.sent = false, p.last, now
	}
	if len(p.awaiting) > 0 && !p.full() {
		p.list = append(p.list, sentPing{number: p.last, ours: true, at: now, dones: p.awaiting})
		p.awaiting = nil
	}
	copy(payload[:], pingMark[:])
	binary.BigEndian.PutUint32(payload[4:], p.last)
	return payload
}

// sent notes that a ping from the send queue goes now.
func (p *pings) sent(f *outFrame, now int64) {
	p.last++
	p.queued--
	ping := sentPing{number: p.last, payload: f.payload, at: now}
	if f.confirmation == Received && f.done != nil {
		ping.dones = []Done{f.done}
		p.receipts++
		f.done = nil
	}
	p.list = append(p.list, ping)
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
	n := 0
	for ; n < len(p.list) && p.list[n].number <= number; n++ {
		p.receipts -= len(p.list[n].dones)
		if p.list[n].number == number {
			rtt = max(now-p.list[n].at, 1)
		}
	}
	answered = p.list[:n:n]
	p.list = p.list[n:]
	p.shrink()
	return answered, rtt, true
}

// find answers the number of the ping that has this payload. One of ours may have been given up or
// answered already; the peer is late then, but what it says is no news for the Handler.
func (p *pings) find(payload []byte) (number uint32, ok bool) {
	if len(payload) == len(ownPing{}) && [4]byte(payload) == pingMark {
		number = binary.BigEndian.Uint32(payload[4:])
		return number, number-1 < p.last
	}
	i := slices.IndexFunc(p.list, func(s sentPing) bool { return !s.ours && bytes.Equal(s.payload, payload) })
	if i < 0 {
		return 0, false
	}
	return p.list[i].number, true
}

// late takes the pings off the list whose pong is overdue.
func (p *pings) late(now int64, timeout time.Duration) (dones []Done) {
	for len(p.list) > 0 && p.deadline(timeout) <= now {
		dones = append(dones, p.list[0].dones...)
		p.receipts -= len(p.list[0].dones)
		p.list = p.list[1:]
	}
	p.shrink()
	return dones
}

// deadline of the oldest ping on the list, which must not be empty.
func (p *pings) deadline(timeout time.Duration) int64 {
	return max(p.list[0].at, p.restarted) + int64(timeout)
}

// clear answers all who wait.
func (p *pings) clear() (dones []Done) {
	for _, s := range p.list {
		dones = append(dones, s.dones...)
	}
	dones = append(dones, p.awaiting...)
	p.list, p.awaiting, p.receipts = nil, nil, 0
	return dones
}

func (p *pings) shrink() {
	if len(p.list) == 0 {
		p.list = nil
	}
}

// ponged tells those who wait for this pong; false if it answers nothing.
func (c *Conn) ponged(payload []byte) bool {
	now := c.engine.clock.now()
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

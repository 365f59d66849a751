package bus

import (
	"slices"
	"sync"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// entryOverhead is what an event counts in the outbox beside its bytes: about the memory of its entry.
const entryOverhead = 128

// entry is one event in the outbox. The publisher reads it without a lock: nobody changes it, or the
// memory it points to, before it is confirmed.
type entry struct {
	conn    *hub.Conn
	seq     uint64
	meta    []byte // user and attributes as header values, see header.go
	payload []byte
	chunk   *chunk // holds meta, and payload unless that is large
	size    int
	number  uint64 // in the order in which events were taken
	after   uint64 // index in the express lane of its namespace: what is before it goes first
	queue   *queue
	lane    *lane
	kind    hub.Kind
	opcode  hub.Opcode
	// unsendable: it did not fit and its owner was told; it is passed over, also after a reconnect.
	unsendable bool
}

// outbox holds events from Publish until the server has confirmed them: first in the lanes of their namespace, then in
// the log of what was published, from where they are published again on a new connection. The events of a connection
// keep their order throughout. Its mutex is held for copies in memory only, never while nats.go or the system is
// called.
type outbox struct {
	limit  int // bytes
	window int // bytes that are published before more waits for confirmations: what waits in lanes waits fairly

	mu        sync.Mutex
	toPublish sync.Cond // there may be something for next
	toConfirm sync.Cond // there may be something for unconfirmed
	arena     arena

	byEndpoint  map[*hub.Endpoint]*queue
	byNamespace map[string]*queue
	queues      []*queue
	turn        int               // of queues
	waits       int               // events in lanes
	bulk        map[*hub.Conn]int // bytes in bulk lanes

	log      ring   // head is the oldest that is not confirmed
	sent     uint64 // of log: the next to publish on this connection
	sentOnce uint64 // of log: all before were published at least once

	taken    uint64 // events so far
	bytes    int    // not confirmed
	flying   int    // of them in log
	stopping bool   // nothing more is taken
	frozen   bool   // nothing is published, and messages are not taken
	waiting  []*hub.Conn
	counts   outboxCounts
}

type outboxCounts struct {
	published, republished, confirmed, refused, dropped uint64
}

func newOutbox(limit int) *outbox {
	const windows = 4 // in the limit
	o := &outbox{
		limit: limit, window: limit / windows,
		byEndpoint: make(map[*hub.Endpoint]*queue), byNamespace: make(map[string]*queue),
		bulk: make(map[*hub.Conn]int),
	}
	o.toPublish.L, o.toConfirm.L = &o.mu, &o.mu
	return o
}

// put copies an event. It answers false when there is no room, and then keeps the connection to be told
// about room; events that cannot be held back are always taken. The payload is kept, not copied, when
// it is larger than maxInline: such a copy is made before, without the lock.
func (o *outbox) put(e *hub.Event, payload []byte) bool {
	if len(payload) == 0 {
		payload = nil // not a pointer into the caller's buffer
	}
	metaSize := metaLen(e)
	size := entryOverhead + metaSize + len(payload)
	o.mu.Lock()
	q := o.queueLocked(e.Conn.Endpoint())
	if o.stopping || o.fullLocked(e, q, size) {
		o.refuseLocked(e.Conn)
		o.mu.Unlock()
		return false
	}
	en := o.pushLocked(e.Conn, q, size)
	en.seq, en.kind, en.opcode, en.payload = e.Seq, e.Kind, e.Opcode, payload
	inline := metaSize
	if len(payload) <= maxInline {
		inline += len(payload)
	}
	if inline > 0 {
		o.storeLocked(en, e, metaSize, inline)
	}
	o.mu.Unlock()
	o.toPublish.Signal()
	return true
}

// pushLocked takes an event of that size, of which everything else is still to be written.
func (o *outbox) pushLocked(c *hub.Conn, q *queue, size int) *entry {
	l := q.laneOf(&c.Backlog, size)
	en := l.push()
	*en = entry{conn: c, size: size, number: o.taken, queue: q, lane: l}
	o.enterLocked(en)
	l.took(o.taken)
	o.taken++
	o.waits++
	o.bytes += size
	q.bytes += size
	return en
}

// fullLocked: what is larger than the whole outbox, or than a share of it, is taken when nothing is in the way, else its
// connection would wait for ever.
func (o *outbox) fullLocked(e *hub.Event, q *queue, size int) bool {
	switch e.Kind {
	case hub.KindOpen, hub.KindClose, hub.KindWritable:
		return false
	}
	switch {
	case o.frozen:
		return true
	case o.bytes == 0:
		return false
	}
	free, own := o.limit-o.bytes, o.waitsLocked(e.Conn)
	switch {
	case size > free,
		units(size) > expressUnits && size > free-o.limit/reservePart,
		own > 0 && own+size > free/connShare,
		len(o.queues) > 1 && q.bytes > 0 && q.bytes+size > namespaceShare*free:
		return true
	}
	return false
}

// freeze keeps everything from being published until thaw.
func (o *outbox) freeze() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frozen = true
}

// thaw ends a freeze and answers the connections that can be told that there is room again.
func (o *outbox) thaw() []*hub.Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frozen = false
	o.toPublish.Broadcast()
	return o.roomLocked()
}

func (o *outbox) refuseLocked(c *hub.Conn) {
	if o.stopping {
		o.counts.dropped++
		return
	}
	o.counts.refused++
	if !c.Backlog.Waits {
		c.Backlog.Waits = true
		o.waiting = append(o.waiting, c)
	}
}

// storeLocked copies what the entry needs into the arena. Metadata are bounded by the limits of the
// core (8 KiB, three times that when escaped), so they fit beside an inline payload.
func (o *outbox) storeLocked(en *entry, e *hub.Event, metaSize, inline int) {
	var mem []byte
	mem, en.chunk = o.arena.take(&en.lane.filling, inline)
	if metaSize > 0 {
		en.meta = appendMeta(mem[:0:metaSize], e)
	}
	if inline > metaSize {
		copy(mem[metaSize:], en.payload)
		en.payload = mem[metaSize:]
	}
}

// release forgets everything in the log before mark, which the server has confirmed, and answers the connections that
// can be told that there is room again: once less than half of the outbox is in use.
func (o *outbox) release(mark uint64) []*hub.Conn {
	const step = 512 // bounds how long one turn keeps publishers waiting
	for {
		o.mu.Lock()
		for range step {
			if o.log.head == mark {
				break
			}
			o.forgetLocked()
		}
		if o.log.head == mark {
			break
		}
		o.mu.Unlock()
	}
	defer o.mu.Unlock()
	if o.waits > 0 || o.stopping {
		o.toPublish.Broadcast()
	}
	return o.roomLocked()
}

// forgetLocked forgets the oldest event of the log.
func (o *outbox) forgetLocked() {
	en := o.log.first()
	o.bytes -= en.size
	o.flying -= en.size
	en.queue.bytes -= en.size
	en.lane.confirmed(en.number)
	if !en.unsendable {
		o.counts.confirmed++
	}
	if en.chunk != nil {
		o.arena.give(en.chunk)
	}
	o.log.pop()
}

// roomLocked answers those who can be told that there is room, in the order in which there was none for them: as many as
// find some if each puts what the socket had for it. Whoever is left is told with what is confirmed next.
func (o *outbox) roomLocked() []*hub.Conn {
	if o.frozen || o.bytes > o.limit/2 || len(o.waiting) == 0 {
		return nil
	}
	n := len(o.waiting)
	if o.bytes > 0 {
		n = min(n, 1+(o.limit-o.bytes)/chunkSize)
	}
	conns := slices.Clone(o.waiting[:n])
	for _, c := range conns {
		c.Backlog.Waits = false
	}
	if o.waiting = o.waiting[:copy(o.waiting, o.waiting[n:])]; len(o.waiting) == 0 {
		o.waiting = nil // a crowd is not remembered
	}
	return conns
}

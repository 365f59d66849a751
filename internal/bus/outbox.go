package bus

import (
	"sync"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// entryOverhead is what an event counts in the outbox beside its bytes: about the memory of its entry.
const entryOverhead = 128

// Sizes of the ring, in entries; powers of two. One larger than keepRing, about 1 MiB, is given back when
// the outbox is empty.
const (
	minRing  = 1 << 10
	keepRing = 1 << 13
)

// entry is one event in the outbox. The publisher reads it without a lock: nobody changes it, or the
// memory it points to, before it is confirmed.
type entry struct {
	conn    *hub.Conn
	seq     uint64
	meta    []byte // user and attributes as header values, see header.go
	payload []byte
	chunk   *chunk // holds meta, and payload unless that is large
	size    int
	kind    hub.Kind
	opcode  hub.Opcode
	// unsendable: it did not fit and its owner was told; it is passed over, also after a reconnect.
	unsendable bool
}

// outbox holds events from Publish until the server has confirmed them, in one order. Its indexes only
// grow: head ≤ sent ≤ tail. Its mutex is held for copies in memory only, never while nats.go or the
// system is called.
type outbox struct {
	limit int // bytes

	mu        sync.Mutex
	toPublish sync.Cond // there may be something for next
	toConfirm sync.Cond // there may be something for unconfirmed
	arena     arena
	ring      []entry // a power of two of them; index i is ring[i & (len-1)]
	head      uint64  // the oldest that is not confirmed
	sent      uint64  // the next to publish on this connection
	tail      uint64  // the next to be put
	sentOnce  uint64  // all before were published at least once
	bytes     int
	stopping  bool // nothing more is taken
	frozen    bool // nothing is published, and messages are not taken
	waiting   map[*hub.Conn]struct{}
	counts    outboxCounts
}

type outboxCounts struct {
	published, republished, confirmed, refused, dropped uint64
}

func newOutbox(limit int) *outbox {
	o := &outbox{limit: limit, ring: make([]entry, minRing), waiting: make(map[*hub.Conn]struct{})}
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
	if o.stopping || o.fullLocked(e.Kind, size) {
		o.refuseLocked(e.Conn)
		o.mu.Unlock()
		return false
	}
	en := o.pushLocked()
	*en = entry{conn: e.Conn, seq: e.Seq, kind: e.Kind, opcode: e.Opcode, payload: payload, size: size}
	inline := metaSize
	if len(payload) <= maxInline {
		inline += len(payload)
	}
	if inline > 0 {
		o.storeLocked(en, e, metaSize, inline)
	}
	o.bytes += size
	o.mu.Unlock()
	o.toPublish.Signal()
	return true
}

// fullLocked: an event larger than the whole outbox is taken when the outbox is empty, else its
// connection would wait for ever.
func (o *outbox) fullLocked(k hub.Kind, size int) bool {
	switch k {
	case hub.KindOpen, hub.KindClose, hub.KindWritable:
		return false
	}
	return o.frozen || o.bytes > 0 && o.bytes+size > o.limit
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
	o.waiting[c] = struct{}{}
}

// storeLocked copies what the entry needs into the arena. Metadata are bounded by the limits of the
// core (8 KiB, three times that when escaped), so they fit beside an inline payload.
func (o *outbox) storeLocked(en *entry, e *hub.Event, metaSize, inline int) {
	var mem []byte
	mem, en.chunk = o.arena.take(inline)
	if metaSize > 0 {
		en.meta = appendMeta(mem[:0:metaSize], e)
	}
	if inline > metaSize {
		copy(mem[metaSize:], en.payload)
		en.payload = mem[metaSize:]
	}
}

func (o *outbox) pushLocked() *entry {
	if o.tail-o.head == uint64(len(o.ring)) {
		o.resizeLocked(2 * len(o.ring))
	}
	en := o.atLocked(o.tail)
	o.tail++
	return en
}

func (o *outbox) atLocked(i uint64) *entry { return &o.ring[i&uint64(len(o.ring)-1)] }

func (o *outbox) resizeLocked(n int) {
	ring := make([]entry, n)
	for i := o.head; i < o.tail; i++ {
		ring[i&uint64(n-1)] = *o.atLocked(i)
	}
	o.ring = ring
}

// release forgets everything before mark, which the server has confirmed, and answers the connections
// that can be told that there is room again: once less than half of the outbox is in use.
func (o *outbox) release(mark uint64) []*hub.Conn {
	const step = 512 // bounds how long one turn keeps publishers waiting
	for {
		o.mu.Lock()
		for range step {
			if o.head == mark {
				break
			}
			o.forgetLocked(o.atLocked(o.head))
			o.head++
		}
		if o.head == mark {
			break
		}
		o.mu.Unlock()
	}
	defer o.mu.Unlock()
	if o.head == o.tail {
		if len(o.ring) > keepRing {
			o.ring = make([]entry, minRing)
		}
		if o.stopping {
			o.toPublish.Broadcast()
		}
	}
	return o.roomLocked()
}

func (o *outbox) forgetLocked(en *entry) {
	o.bytes -= en.size
	if !en.unsendable {
		o.counts.confirmed++
	}
	if en.chunk != nil {
		o.arena.give(en.chunk)
	}
	*en = entry{}
}

func (o *outbox) roomLocked() []*hub.Conn {
	if o.frozen || o.bytes > o.limit/2 || len(o.waiting) == 0 {
		return nil
	}
	conns := make([]*hub.Conn, 0, len(o.waiting))
	for c := range o.waiting {
		conns = append(conns, c)
	}
	clear(o.waiting)
	return conns
}

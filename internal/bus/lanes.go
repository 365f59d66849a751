package bus

import "github.com/holdfast-broker/holdfast/internal/hub"

// Who may go first. Events wait for their publication by namespaces, which take turns, and within a namespace in two
// lanes: who has little waiting goes by the express lane, so that nobody waits behind what others have piled up.
const (
	// expressUnits is how much of a connection's events may wait in the express lane, 4 KiB. With more it goes by the
	// bulk lane until nothing of it waits there.
	expressUnits = 128
	expressUnit  = 32 // bytes
	// bulkPart: while both lanes have something, one byte in so many is of the bulk lane, which must not stand still.
	bulkPart = 4
	// turnBytes is what a namespace publishes before it is the turn of the next.
	turnBytes = 16 << 10
)

// Who may put how much. A connection may have so much waiting, and a namespace beside others so much not confirmed, as a
// part, or a multiple, of what is still free. So whatever others put, something is left for who comes later: of n
// connections that put as much as they can, each has 1 part in n + connShare of the outbox. The last of it, one part in
// reservePart, is for events that would go by the express lane.
const (
	connShare      = 4
	namespaceShare = 3
	reservePart    = 16
)

// queue is what a namespace has in the outbox.
type queue struct {
	express, bulk lane

	bytes  int // not confirmed, of both lanes
	credit int // bytes it may still publish in its turn
	owed   int // bytes that the bulk lane has let pass and may publish before the next of the express lane
}

// lane holds events until they are published, in order. Each has memory of its own, which is given back in the order in
// which it was taken.
type lane struct {
	ring

	filling *chunk
	// outstanding of its events are taken and not confirmed; none of them was taken before oldest.
	outstanding int
	oldest      uint64
}

// queueLocked answers the queue of a connection's namespace.
func (o *outbox) queueLocked(e *hub.Endpoint) *queue {
	if q, known := o.byEndpoint[e]; known {
		return q
	}
	q := o.byNamespace[e.Namespace]
	if q == nil {
		q = new(queue)
		o.byNamespace[e.Namespace] = q
		o.queues = append(o.queues, q)
	}
	o.byEndpoint[e] = q
	return q
}

// laneOf answers where the next event of a connection goes: behind its own, in any case.
func (q *queue) laneOf(b *hub.Backlog, size int) *lane {
	if !b.Bulk && int(b.Express)+units(size) <= expressUnits {
		return &q.express
	}
	return &q.bulk
}

// units is what an event counts in the express lane.
func units(size int) int { return (size + expressUnit - 1) / expressUnit }

// waitsLocked is how many bytes of a connection wait to be published.
func (o *outbox) waitsLocked(c *hub.Conn) int {
	n := int(c.Backlog.Express) * expressUnit
	if c.Backlog.Bulk {
		n += o.bulk[c]
	}
	return n
}

// enterLocked accounts for an event that has entered a lane.
func (o *outbox) enterLocked(en *entry) {
	b := &en.conn.Backlog
	if en.lane == &en.queue.express {
		b.Express += uint8(units(en.size))
		return
	}
	if b.Express > 0 {
		en.after = en.queue.express.tail
	}
	b.Bulk = true
	o.bulk[en.conn] += en.size
}

// leaveLocked accounts for an event that has left a lane.
func (o *outbox) leaveLocked(en *entry) {
	b := &en.conn.Backlog
	if en.lane == &en.queue.express {
		b.Express -= uint8(units(en.size))
		return
	}
	if left := o.bulk[en.conn] - en.size; left > 0 {
		o.bulk[en.conn] = left
		return
	}
	delete(o.bulk, en.conn)
	b.Bulk = false
}

func (q *queue) empty() bool { return q.express.len() == 0 && q.bulk.len() == 0 }

// next answers the lane whose turn it is; the queue is not empty.
func (q *queue) next() *lane {
	switch {
	case q.bulk.len() == 0:
		q.owed = 0
		return &q.express
	case q.express.len() == 0:
		q.owed = 0
		return &q.bulk
	}
	first := q.bulk.first()
	switch {
	case q.express.head < first.after: // its connection has something there
	case q.owed >= first.size:
		q.owed -= first.size
		return &q.bulk
	default:
		q.owed += q.express.first().size / (bulkPart - 1)
	}
	return &q.express
}

// turnLocked answers the namespace that publishes next; there is one that has something.
func (o *outbox) turnLocked() *queue {
	for {
		q := o.queues[o.turn]
		switch {
		case q.empty():
			q.credit = 0
		case q.credit > 0:
			return q
		}
		o.turn = (o.turn + 1) % len(o.queues)
		o.queues[o.turn].credit += turnBytes
	}
}

// pullLocked moves the next event behind those that were published.
func (o *outbox) pullLocked() *entry {
	q := o.turnLocked()
	l := q.next()
	en := o.log.push()
	*en = *l.first()
	l.pop()
	o.waits--
	o.flying += en.size
	q.credit -= en.size
	o.leaveLocked(en)
	return en
}

// took accounts for an event that was put.
func (l *lane) took(number uint64) {
	if l.outstanding == 0 {
		l.oldest = number
	}
	l.outstanding++
}

// confirmed accounts for the oldest that was not.
func (l *lane) confirmed(number uint64) {
	l.outstanding--
	l.oldest = number + 1
}

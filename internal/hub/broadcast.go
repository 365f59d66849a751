package hub

import (
	"cmp"
	"errors"
	"slices"
	"sync/atomic"
)

// Target names connections of one namespace: the members of Group, or all of User, or, when both are
// empty, everyone.
type Target struct{ Namespace, Group, User string }

// each visits the connections of the target but those excepted, without a lock. Who opens, joins or
// becomes that user meanwhile may be missed.
//
// The oldest comes first. What was opened together lies together in memory, ours and the kernel's, and to reach many
// connections is mostly to wait for memory.
func (h *Hub) each(t Target, except map[ID]struct{}, visit func(*Conn)) {
	members := takeBatch()
	defer members.release()
	h.gather(t, func(c *Conn) { members.conns = append(members.conns, c) })
	slices.SortFunc(members.conns, byAge)
	for _, c := range members.conns {
		if len(except) > 0 {
			if _, excepted := except[c.ID()]; excepted {
				continue
			}
		}
		visit(c)
	}
}

// gather visits the connections of the target in any order.
func (h *Hub) gather(t Target, visit func(*Conn)) {
	switch {
	case t.Group != "":
		h.groups.each(setName{t.Namespace, t.Group}, visit)
	case t.User != "":
		h.users.each(setName{t.Namespace, t.User}, visit)
	default:
		h.registry.each(func(c *Conn) {
			if c.endpoint.Namespace == t.Namespace {
				visit(c)
			}
		})
	}
}

func byAge(a, b *Conn) int { return cmp.Compare(a.opened, b.opened) }

// CloseAll begins the closing handshake with every connection of the target but those excepted, and
// answers with how many. Code and reason are valid.
func (h *Hub) CloseAll(t Target, except map[ID]struct{}, code uint16, reason string) (matched uint64) {
	h.each(t, except, func(c *Conn) {
		matched++
		c.socket.Close(code, reason, CauseBackendClose, nil)
	})
	return matched
}

// Counts say what became of one message for many.
type Counts struct {
	Matched   uint64 // connections that the target named
	Succeeded uint64 // got the confirmation asked for
	Full      uint64 // had no room in their send queue, or dropped the message from it
	Gone      uint64 // were closing, or ended before the message was written
	Failed    uint64 // failed for another reason
}

// Pending is how many outcomes are not known yet.
func (c Counts) Pending() uint64 {
	return c.Matched - c.Succeeded - c.Full - c.Gone - c.Failed
}

// Broadcast is one message given to many connections.
type Broadcast struct {
	matched uint64 // static after Hub.Broadcast
	done    chan struct{}

	pending                       atomic.Int64 // outcomes that done waits for
	succeeded, full, gone, failed atomic.Uint64
}

// Broadcast gives m to every connection of the target but those excepted, once each, before it returns.
// Outcomes of Written and Received come later. What one goroutine broadcasts reaches each in that
// order. Nothing is allocated for a single member.
func (h *Hub) Broadcast(t Target, m *Message, except map[ID]struct{}) *Broadcast {
	shared := *m
	if shared.Prepared == nil {
		shared.Prepared = new(Prepared)
	}
	b := &Broadcast{done: make(chan struct{})}
	var done Done
	if m.Confirmation != Queued {
		done = b.settle
	}
	b.pending.Store(1) // for the loop itself: members that confirm at once are not the last
	h.each(t, except, func(c *Conn) {
		b.matched++
		b.pending.Add(1)
		if _, err := c.socket.Send(&shared, done); err != nil || done == nil {
			b.settle(Outcome{Err: err})
		}
	})
	b.finish()
	return b
}

// settle counts the outcome of one member.
func (b *Broadcast) settle(o Outcome) {
	b.counter(o.Err).Add(1)
	b.finish()
}

func (b *Broadcast) counter(err error) *atomic.Uint64 {
	switch {
	case err == nil:
		return &b.succeeded
	case errors.Is(err, ErrQueueFull):
		return &b.full
	case errors.Is(err, ErrClosing), errors.Is(err, ErrNotFound):
		return &b.gone
	}
	return &b.failed
}

func (b *Broadcast) finish() {
	if b.pending.Add(-1) == 0 {
		close(b.done)
	}
}

// Done is closed when every outcome is known.
func (b *Broadcast) Done() <-chan struct{} { return b.done }

// Counts are those known now.
func (b *Broadcast) Counts() Counts {
	return Counts{
		Matched: b.matched, Succeeded: b.succeeded.Load(), Full: b.full.Load(),
		Gone: b.gone.Load(), Failed: b.failed.Load(),
	}
}

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

// membersOf answers the connections of the target but those excepted, to be released. Who opens, joins or becomes that
// user meanwhile may be missed.
//
// The oldest comes first. What was opened together lies together in memory, ours and the kernel's, and to reach many
// connections is mostly to wait for memory.
func (h *Hub) membersOf(t Target, except map[ID]struct{}) *batch {
	members := takeBatch()
	h.gather(t, func(c *Conn) {
		if len(except) > 0 {
			if _, excepted := except[c.ID()]; excepted {
				return
			}
		}
		members.conns = append(members.conns, c)
	})
	slices.SortFunc(members.conns, byAge)
	return members
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
	members := h.membersOf(t, except)
	defer members.release()
	for _, c := range members.conns {
		c.socket.Close(code, reason, CauseBackendClose, nil)
	}
	return uint64(len(members.conns))
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
	matched uint64 // static
	done    chan struct{}

	pending atomic.Int64 // outcomes that done waits for
	counts  [outcomes]atomic.Uint64
}

// outcome is what becomes of the message for one of the members.
type outcome uint8

const (
	succeeded outcome = iota
	full
	gone
	failed
	outcomes // how many there are
)

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return succeeded
	case errors.Is(err, ErrQueueFull):
		return full
	case errors.Is(err, ErrClosing), errors.Is(err, ErrNotFound):
		return gone
	}
	return failed
}

// Broadcast gives m to every connection of the target but those excepted, once each, before it returns. Outcomes of
// Written and Received come later. What one goroutine broadcasts reaches each in that order. Nothing is allocated for a
// single member.
func (h *Hub) Broadcast(t Target, m *Message, except map[ID]struct{}) *Broadcast {
	members := h.membersOf(t, except)
	defer members.release()
	shared := *m
	if shared.Prepared == nil {
		shared.Prepared = new(Prepared)
	}
	b := &Broadcast{matched: uint64(len(members.conns)), done: make(chan struct{})}
	var done Done
	if m.Confirmation != Queued {
		done = b.settle
	}
	b.pending.Store(int64(len(members.conns)) + 1) // one for the call itself
	inParts(members.conns, func(part []*Conn) { b.send(part, &shared, done) })
	b.finish(1)
	return b
}

// send gives the message to some of the members. What is known then is added up before it is counted: cores that write
// to the same memory in turns wait for each other.
func (b *Broadcast) send(part []*Conn, m *Message, done Done) {
	var known [outcomes]uint64
	var n int64
	for _, c := range part {
		if _, err := c.socket.Send(m, done); err != nil || done == nil {
			known[outcomeOf(err)]++
			n++
		}
	}
	for o, n := range known {
		b.counts[o].Add(n)
	}
	b.finish(n)
}

// settle counts the outcome of one member.
func (b *Broadcast) settle(o Outcome) {
	b.counts[outcomeOf(o.Err)].Add(1)
	b.finish(1)
}

func (b *Broadcast) finish(n int64) {
	if b.pending.Add(-n) == 0 {
		close(b.done)
	}
}

// Done is closed when every outcome is known.
func (b *Broadcast) Done() <-chan struct{} { return b.done }

// Counts are those known now.
func (b *Broadcast) Counts() Counts {
	return Counts{
		Matched: b.matched, Succeeded: b.counts[succeeded].Load(), Full: b.counts[full].Load(),
		Gone: b.counts[gone].Load(), Failed: b.counts[failed].Load(),
	}
}

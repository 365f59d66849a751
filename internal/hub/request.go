package hub

import (
	"slices"
	"strings"
)

// rememberedRequests is how many request IDs a connection remembers.
const rememberedRequests = 16

// requests are the last sends of a connection that had a request ID, guarded by Conn.mu.
type requests struct {
	trying []*request // the socket has not answered yet; a refused one must not push out what was taken
	ring   [rememberedRequests]*request
	next   int
}

// request is one send with a request ID.
type request struct {
	id string
	// answered is closed when the socket has answered the first send; sent and err are set then.
	answered chan struct{}
	sent     Sent
	err      error
	// guarded by Conn.mu
	settled bool // the outcome is known
	outcome Outcome
	waiting []Done
}

func (r *requests) find(id string) *request {
	for _, q := range r.ring {
		if q != nil && q.id == id {
			return q
		}
	}
	for _, q := range r.trying {
		if q.id == id {
			return q
		}
	}
	return nil
}

func (r *requests) try(q *request) { r.trying = append(r.trying, q) }

// tried remembers a request that was taken and forgets one that was refused.
func (r *requests) tried(q *request, taken bool) {
	i := slices.Index(r.trying, q)
	r.trying = slices.Delete(r.trying, i, i+1)
	if taken {
		r.ring[r.next] = q
		r.next = (r.next + 1) % rememberedRequests
	}
}

// sendOnce sends unless the request ID is known; then it answers as the first send did.
func (c *Conn) sendOnce(m *Message, id string, done Done) (Sent, error) {
	c.mu.Lock()
	x := c.changeExtrasLocked()
	if x.requests == nil {
		x.requests = &requests{}
	}
	if q := x.requests.find(id); q != nil {
		c.mu.Unlock()
		return c.repeat(q, m.Confirmation, done)
	}
	q := &request{id: strings.Clone(id), answered: make(chan struct{})}
	x.requests.try(q)
	c.mu.Unlock()

	// Not under the lock: the socket may write, and call back, before it returns.
	q.sent, q.err = c.socket.Send(m, func(o Outcome) { c.settle(q, o, done) })
	c.mu.Lock()
	x.requests.tried(q, q.err == nil) // what was not taken must be tried again
	c.mu.Unlock()
	close(q.answered)
	if q.err == nil && m.Confirmation == Queued {
		c.settle(q, Outcome{}, nil)
	}
	return q.sent, q.err
}

// repeat answers a send whose request ID is known: with the first one's answer, and its outcome.
func (c *Conn) repeat(q *request, cf Confirmation, done Done) (Sent, error) {
	<-q.answered // at once, or as soon as the socket has taken the first: it does not block
	if q.err != nil || cf == Queued {
		return q.sent, q.err
	}
	c.mu.Lock()
	settled := q.settled
	if !settled {
		q.waiting = append(q.waiting, done)
	}
	c.mu.Unlock()
	if settled {
		done(q.outcome)
	}
	return q.sent, nil
}

// settle keeps the outcome of a first send and tells everyone who waits for it.
func (c *Conn) settle(q *request, o Outcome, done Done) {
	c.mu.Lock()
	q.outcome, q.settled = o, true
	waiting := q.waiting
	q.waiting = nil
	c.mu.Unlock()
	if done != nil {
		done(o)
	}
	for _, w := range waiting {
		w(o)
	}
}

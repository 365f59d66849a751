package hub

import (
	"sync"
	"time"
)

// Bounds of what waits for connections that are being admitted.
const (
	maxPending      = 1 << 16  // connections
	maxWaiting      = 1 << 10  // calls, for each
	maxWaitingBytes = 64 << 20 // of messages, for all
)

// Pending is a connection that is being admitted: it has its ID, and nothing else yet. As an error it says that
// of a connection that was looked for.
type Pending struct {
	// static after Expect
	hub      *Hub
	key      key
	endpoint *Endpoint

	// owned by whoever called Expect
	announced bool
	conn      *Conn // nil until Open

	mu      sync.Mutex
	waiting []waiting
	over    bool
}

// waiting is a call that somebody made of a connection that is not open yet.
type waiting struct {
	size int
	call func(*Conn, error)
}

// Expect gives a connection its ID before it is open.
func (h *Hub) Expect(ep *Endpoint) *Pending { return &Pending{hub: h, key: newKey(), endpoint: ep} }

// ID is the ID that the connection will have.
func (p *Pending) ID() ID { return ID{node: p.hub.node, key: p.key} }

// Endpoint is where the client wants to connect.
func (p *Pending) Endpoint() *Endpoint { return p.endpoint }

// Error makes Lookup answer with a Pending.
func (p *Pending) Error() string { return "connection is being admitted" }

// Announce lets others look for the connection by its ID before it is open, until End, which must follow. It is
// false when too many are announced.
func (p *Pending) Announce() bool {
	p.announced = p.hub.registry.announce(p)
	return p.announced
}

// Then has call called with the connection when it is open, or with ErrNotFound when it will never be: the
// calls of a connection one after the other, in their order. size are the bytes that wait with it. It fails with
// ErrQueueFull when too much waits. False: there is nothing to wait for any more, and Lookup knows why.
func (p *Pending) Then(size int, call func(*Conn, error)) (waits bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over:
		return false, nil
	case len(p.waiting) >= maxWaiting:
		return false, ErrQueueFull
	case p.hub.waitingBytes.Add(int64(size)) > maxWaitingBytes:
		p.hub.waitingBytes.Add(-int64(size))
		return false, ErrQueueFull
	}
	p.hub.waitingCalls.Add(1)
	p.waiting = append(p.waiting, waiting{size, call})
	return true, nil
}

// End calls whoever waits. From then on the connection is found as any other, or not at all.
func (p *Pending) End() {
	if !p.announced {
		return
	}
	err := error(nil)
	if p.conn == nil {
		err = ErrNotFound
	}
	for calls := p.take(); len(calls) > 0; calls = p.take() {
		for _, w := range calls {
			p.hub.waitingCalls.Add(-1)
			p.hub.waitingBytes.Add(-int64(w.size))
			w.call(p.conn, err)
		}
	}
}

// take answers who waits. Once nobody does the connection is pending no longer: nobody overtakes those who waited.
func (p *Pending) take() []waiting {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.waiting
	p.waiting = nil
	if len(calls) == 0 {
		p.over = true
		p.hub.registry.renounce(p)
	}
	return calls
}

// Open makes a connection of a socket: it registers it and publishes its open event. Facts are copied; i may be nil. The
// socket must not report anything before Open has returned. It fails with ErrStopping during Shutdown; then
// the caller ends the socket.
func (p *Pending) Open(facts *Facts, i *Identity, s Socket) (*Conn, error) {
	c := &Conn{
		hub: p.hub, key: p.key, endpoint: p.endpoint, facts: packFacts(facts), socket: s,
		opened: time.Now().UnixNano(),
	}
	if facts.TLS != nil {
		c.extras = &extras{tls: facts.TLS}
	}
	if err := p.hub.register(c); err != nil {
		return nil, err
	}
	p.conn = c
	c.open(i)
	if p.endpoint.StartPaused {
		c.armResume(p.endpoint.MaxPause)
	}
	return c, nil
}

package hub

import "time"

// Pending is a connection that is being admitted: it has its ID, and nothing else yet.
type Pending struct {
	hub      *Hub
	key      key
	endpoint *Endpoint
}

// Expect gives a connection its ID before it is open.
func (h *Hub) Expect(ep *Endpoint) *Pending { return &Pending{hub: h, key: newKey(), endpoint: ep} }

// ID is the ID that the connection will have.
func (p *Pending) ID() ID { return ID{node: p.hub.node, key: p.key} }

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
	c.open(i)
	if p.endpoint.StartPaused {
		c.armResume(p.endpoint.MaxPause)
	}
	return c, nil
}

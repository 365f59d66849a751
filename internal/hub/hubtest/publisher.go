package hubtest

import (
	"slices"
	"sync"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Publisher is a hub.Publisher that keeps every event. Its zero value has room.
type Publisher struct {
	mu      sync.Mutex
	changed sync.Cond
	events  []hub.Event
	full    bool
	refused []*hub.Conn
}

// Publish implements hub.Publisher.
func (p *Publisher) Publish(e hub.Event) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.initLocked()
	held := e.Kind == hub.KindMessage || e.Kind == hub.KindPing || e.Kind == hub.KindPong
	if p.full && held {
		p.refused = append(p.refused, e.Conn)
		return false
	}
	e.Payload = slices.Clone(e.Payload)
	p.events = append(p.events, e)
	p.changed.Broadcast()
	return true
}

func (p *Publisher) initLocked() {
	if p.changed.L == nil {
		p.changed.L = &p.mu
	}
}

// Fill leaves no room until Drain.
func (p *Publisher) Fill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = true
}

// Drain makes room and tells those that were refused.
func (p *Publisher) Drain() {
	p.mu.Lock()
	refused := p.refused
	p.full, p.refused = false, nil
	p.mu.Unlock()
	for _, c := range refused {
		c.Room()
	}
}

// Events are the events taken so far.
func (p *Publisher) Events() []hub.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// Until waits until the events taken satisfy the condition.
func (p *Publisher) Until(condition func([]hub.Event) bool) []hub.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.initLocked()
	for !condition(p.events) {
		p.changed.Wait()
	}
	return slices.Clone(p.events)
}

// Of are the events of one connection.
func (p *Publisher) Of(c *hub.Conn) (events []hub.Event) {
	for _, e := range p.Events() {
		if e.Conn == c {
			events = append(events, e)
		}
	}
	return events
}

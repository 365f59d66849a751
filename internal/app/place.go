package app

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
)

// place is what a connection takes up of all that is limited. A nil place takes up nothing.
type place struct {
	// static
	gates  []*gate
	client netip.Prefix
	tenant *tenant   // nil: the namespace has no limits
	ip     *ws.Quota // of the client's address; nil: none

	// mu is taken before that of a tenant.
	mu   sync.Mutex
	user string    // whose it counts as
	own  *ws.Quota // of that user; nil: none
	conn *ws.Conn  // nil before there is one
	left bool
}

// enter counts a connection of an endpoint, its namespace and the broker, or says why there are enough. Whoever entered
// leaves once. The place is nil where nothing is limited.
func (e *edge) enter(ep *endpoint, remote string) (*place, *enough) {
	if e.gate.open() && ep.gate.open() && ep.tenant == nil {
		return nil, nil
	}
	p := &place{gates: ep.gates(e), client: clientOf(remote), tenant: ep.tenant}
	var full *enough
	if p.ip, full = enter(p.gates, p.client, time.Now()); full != nil {
		return nil, full
	}
	return p, nil
}

// gates are those that a connection passes, in their order.
func (ep *endpoint) gates(e *edge) []*gate {
	gates := []*gate{&e.gate, &ep.gate}
	if ep.tenant != nil {
		gates = slices.Insert(gates, 1, &ep.tenant.gate)
	}
	return slices.DeleteFunc(gates, (*gate).open)
}

// admit counts the connection as one of a user, once that is known, or says why there are enough of them.
func (p *place) admit(user string) *enough {
	if !p.countsUsers() || user == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t, now := p.tenant, time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	known, full := t.users.next(user, now)
	if full != nil {
		return full
	}
	p.user, p.own = user, t.users.add(user, known)
	return nil
}

func (p *place) countsUsers() bool { return p != nil && p.tenant != nil && !p.tenant.users.open() }

// hold has the connection draw on what it shares with others.
func (p *place) hold(c *ws.Conn) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn = c
	p.drawLocked()
}

func (p *place) drawLocked() {
	var quotas []*ws.Quota
	for _, q := range []*ws.Quota{p.ip, p.own} {
		if q != nil {
			quotas = append(quotas, q)
		}
	}
	if p.tenant != nil && p.tenant.quota != nil {
		quotas = append(quotas, p.tenant.quota)
	}
	p.conn.SetQuotas(quotas...)
}

// rename moves the connection over to another user, who may have enough by that: nobody is closed for what a backend says.
func (p *place) rename(user string) {
	if !p.countsUsers() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left || p.user == user {
		return
	}
	p.moveLocked(user)
	p.drawLocked()
}

// moveLocked counts the connection for that user, "" for none, and no longer for the one before.
func (p *place) moveLocked(user string) {
	t := p.tenant
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.user != "" {
		t.users.leave(p.user, time.Now())
	}
	p.user, p.own = user, nil
	if user != "" {
		p.own = t.users.add(user, t.users.by[user])
	}
}

// leave gives the place back.
func (p *place) leave() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = true
	if p.user != "" {
		p.moveLocked("")
	}
	for _, g := range p.gates {
		g.leave(p.client)
	}
}

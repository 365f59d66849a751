package app

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// gate counts the connections of an endpoint, a namespace, or of all, and says when there are enough. Limits of 0
// are none.
type gate struct {
	most        int     // at once
	perSecond   int     // new ones; a second's worth may come at once
	full, hasty *enough // what to say when there are enough

	mu      sync.Mutex
	n       int
	paid    time.Time              // new ones are paid for up to here, if a second's worth costs a second
	clients visitors[netip.Prefix] // by the client's address
}

// addresses limits connections by the client's address.
func addresses(most, perSecond int) visitors[netip.Prefix] {
	return visitors[netip.Prefix]{most: most, perSecond: perSecond, full: clientFull, hasty: clientHasty}
}

// enough is why a connection is refused.
type enough struct {
	reason  string // in the metrics
	refusal *wire.Refusal
}

func newEnough(reason string, status int, retryAfter, text string) *enough {
	return &enough{reason, &wire.Refusal{Status: status, Text: text, Header: [][2]string{{"Retry-After", retryAfter}}}}
}

// The reasons. A refusal that only time changes names the time in seconds; the others a guess.
var (
	busAway        = newEnough("bus_away", http.StatusServiceUnavailable, "1", "broker cannot record new connections at present")
	brokerStops    = newEnough("stopping", http.StatusServiceUnavailable, "1", "broker is stopping")
	admissionsFull = newEnough("admissions_full", http.StatusServiceUnavailable, "1", "broker has as many clients to admit as it can")
	memoryShort    = newEnough("memory", http.StatusServiceUnavailable, "5", "broker is short of memory")
	brokerFull     = newEnough("broker_full", http.StatusServiceUnavailable, "5", "broker has as many connections as it may")
	brokerHasty    = newEnough("broker_rate", http.StatusServiceUnavailable, "1", "there are as many new connections in this second as there may be")
	namespaceFull  = newEnough("namespace_full", http.StatusServiceUnavailable, "5", "namespace has as many connections as it may")
	namespaceHasty = newEnough("namespace_rate", http.StatusServiceUnavailable, "1", "there are as many new connections in this second as there may be")
	endpointFull   = newEnough("endpoint_full", http.StatusServiceUnavailable, "5", "endpoint has as many connections as it may")
	endpointHasty  = newEnough("endpoint_rate", http.StatusServiceUnavailable, "1", "there are as many new connections in this second as there may be")
	clientFull     = newEnough("client_full", http.StatusTooManyRequests, "5", "there are as many connections from this address as there may be")
	clientHasty    = newEnough("client_rate", http.StatusTooManyRequests, "1", "there are as many new connections from this address in this second as there may be")
	userFull       = newEnough("user_full", http.StatusTooManyRequests, "5", "this user has as many connections as there may be")
	userHasty      = newEnough("user_rate", http.StatusTooManyRequests, "1", "this user has as many new connections in this second as there may be")
)

// enter counts a connection that is about to be at all gates, and answers what those of its address draw on together; or
// at none, and says why it must not be. Whoever entered leaves each once. Gates are always given in the same order.
func enter(gates []*gate, client netip.Prefix, now time.Time) (quota *ws.Quota, full *enough) {
	for _, g := range gates {
		g.mu.Lock()
		defer g.mu.Unlock()
	}
	for _, g := range gates {
		if full := g.refusesLocked(client, now); full != nil {
			return nil, full
		}
	}
	for _, g := range gates {
		if q := g.addLocked(client, now); q != nil {
			quota = q
		}
	}
	return quota, nil
}

// refusesLocked says why there must not be one more, or nothing.
func (g *gate) refusesLocked(client netip.Prefix, now time.Time) *enough {
	if g.counts(client) {
		if _, full := g.clients.next(client, now); full != nil {
			return full
		}
	}
	_, inTime := pay(g.paid, now, g.perSecond)
	switch {
	case g.most > 0 && g.n >= g.most:
		return g.full
	case !inTime:
		return g.hasty
	}
	return nil
}

// addLocked counts one more.
func (g *gate) addLocked(client netip.Prefix, now time.Time) *ws.Quota {
	g.n++
	g.paid, _ = pay(g.paid, now, g.perSecond)
	if !g.counts(client) {
		return nil
	}
	mine, _ := g.clients.next(client, now)
	return g.clients.add(client, mine)
}

// counts reports whether a client is counted by its address.
func (g *gate) counts(client netip.Prefix) bool { return client.IsValid() && !g.clients.open() }

// pay answers up to when new connections are paid for with one more; false: that would be more than a second's worth
// ahead.
func pay(paid, now time.Time, perSecond int) (time.Time, bool) {
	if perSecond == 0 {
		return paid, true
	}
	if paid.Before(now) {
		paid = now
	}
	paid = paid.Add(time.Second / time.Duration(perSecond))
	return paid, paid.Sub(now) <= time.Second
}

func (g *gate) leave(client netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if client.IsValid() {
		g.clients.leave(client, time.Now())
	}
}

// open: there is nothing to count.
func (g *gate) open() bool { return g.most == 0 && g.perSecond == 0 && g.clients.open() }

// clientOf is the address that a client is counted by. An IPv6 client has a whole /64 at its disposal. The
// zero value: it came by a Unix socket, and is not counted.
func clientOf(remote string) netip.Prefix {
	addr, ok := addressOf(remote)
	if !ok {
		return netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	client, _ := addr.Prefix(bits)
	return client
}

// addressOf reads an address with its port, or one that came without from a proxy.
func addressOf(remote string) (netip.Addr, bool) {
	if at, err := netip.ParseAddrPort(remote); err == nil {
		return at.Addr(), true
	}
	addr, err := netip.ParseAddr(remote)
	return addr, err == nil
}

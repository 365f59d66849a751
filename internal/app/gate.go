package app

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// gate counts the connections of an endpoint, or of all, and says when there are enough. Limits of 0
// are none.
type gate struct {
	most      int // at once
	perClient int // of them, by the client's address
	perSecond int // new ones; a second's worth may come at once

	mu       sync.Mutex
	n        int
	byClient map[netip.Prefix]int // no entry is 0
	paid     time.Time            // new ones are paid for up to here, if a second's worth costs a second
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
	endpointFull   = newEnough("endpoint_full", http.StatusServiceUnavailable, "5", "endpoint has as many connections as it may")
	endpointHasty  = newEnough("endpoint_rate", http.StatusServiceUnavailable, "1", "endpoint has as many new connections in this second as it may")
	clientFull     = newEnough("client_full", http.StatusTooManyRequests, "5", "endpoint has as many connections from this address as it may")
)

// enter counts a connection that is about to be, or says why it must not be; whoever entered leaves once.
// full is what to say when there are enough.
func (g *gate) enter(client netip.Prefix, now time.Time, full *enough) *enough {
	g.mu.Lock()
	defer g.mu.Unlock()
	counted := g.perClient > 0 && client.IsValid()
	paid := now
	switch {
	case g.most > 0 && g.n >= g.most:
		return full
	case counted && g.byClient[client] >= g.perClient:
		return clientFull
	case g.perSecond > 0:
		if g.paid.After(now) {
			paid = g.paid
		}
		paid = paid.Add(time.Second / time.Duration(g.perSecond))
		if paid.Sub(now) > time.Second {
			return endpointHasty
		}
		g.paid = paid
	}
	g.n++
	if counted {
		if g.byClient == nil {
			g.byClient = make(map[netip.Prefix]int)
		}
		g.byClient[client]++
	}
	return nil
}

func (g *gate) leave(client netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	if g.byClient[client] > 1 {
		g.byClient[client]--
	} else {
		delete(g.byClient, client)
	}
}

// open: there is nothing to count.
func (g *gate) open() bool { return g.most == 0 && g.perClient == 0 && g.perSecond == 0 }

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

// enter counts a connection of an endpoint and of the broker, or says why there are enough. leave is nil
// where nothing is limited.
func (e *edge) enter(ep *endpoint, remote string) (leave func(), full *enough) {
	if e.gate.open() && ep.gate.open() {
		return nil, nil
	}
	client, now := clientOf(remote), time.Now()
	if full := e.gate.enter(client, now, brokerFull); full != nil {
		return nil, full
	}
	if full := ep.gate.enter(client, now, endpointFull); full != nil {
		e.gate.leave(client)
		return nil, full
	}
	return func() {
		ep.gate.leave(client)
		e.gate.leave(client)
	}, nil
}

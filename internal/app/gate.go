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
	most            int // at once
	perClient       int // of them, by the client's address
	perSecond       int // new ones; a second's worth may come at once
	clientPerSecond int // of them, by the client's address

	mu       sync.Mutex
	n        int
	paid     time.Time // new ones are paid for up to here, if a second's worth costs a second
	byClient map[netip.Prefix]visits
	sweepAt  int // entries of byClient at which those without a meaning are looked for
}

// visits are what a gate knows of a client.
type visits struct {
	n    int
	paid time.Time // as in gate
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
	endpointHasty  = newEnough("endpoint_rate", http.StatusServiceUnavailable, "1", "there are as many new connections in this second as there may be")
	clientFull     = newEnough("client_full", http.StatusTooManyRequests, "5", "there are as many connections from this address as there may be")
	clientHasty    = newEnough("client_rate", http.StatusTooManyRequests, "1", "there are as many new connections from this address in this second as there may be")
)

// enter counts a connection that is about to be, or says why it must not be; whoever entered leaves once.
// full is what to say when there are enough.
func (g *gate) enter(client netip.Prefix, now time.Time, full *enough) *enough {
	g.mu.Lock()
	defer g.mu.Unlock()
	mine := g.byClient[client]
	paid, inTime := pay(g.paid, now, g.perSecond)
	minePaid, mineInTime := pay(mine.paid, now, g.clientPerSecond)
	switch known := client.IsValid(); {
	case g.most > 0 && g.n >= g.most:
		return full
	case known && g.perClient > 0 && mine.n >= g.perClient:
		return clientFull
	case known && !mineInTime:
		return clientHasty
	case !inTime:
		return endpointHasty
	}
	g.n++
	g.paid = paid
	if client.IsValid() && (g.perClient > 0 || g.clientPerSecond > 0) {
		g.noteLocked(client, visits{mine.n + 1, minePaid}, now)
	}
	return nil
}

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

// noteLocked keeps what is known of a client, and forgets now and then those who are not here and owe nothing.
func (g *gate) noteLocked(client netip.Prefix, v visits, now time.Time) {
	const few = 1024
	if g.byClient == nil {
		g.byClient, g.sweepAt = make(map[netip.Prefix]visits), few
	}
	if len(g.byClient) >= g.sweepAt {
		for other, o := range g.byClient {
			if o.n == 0 && !o.paid.After(now) {
				delete(g.byClient, other)
			}
		}
		g.sweepAt = max(2*len(g.byClient), few)
	}
	g.byClient[client] = v
}

func (g *gate) leave(client netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n--
	mine, known := g.byClient[client]
	switch {
	case !known:
	case mine.n == 1 && g.clientPerSecond == 0:
		delete(g.byClient, client)
	default:
		mine.n--
		g.byClient[client] = mine
	}
}

// open: there is nothing to count.
func (g *gate) open() bool {
	return g.most == 0 && g.perClient == 0 && g.perSecond == 0 && g.clientPerSecond == 0
}

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

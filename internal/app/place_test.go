package app

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// limited is an edge with two endpoints of a namespace that has these limits, and one of another namespace.
func limited(t *testing.T, n Namespace, clients Clients) (e *edge, first, second, other *endpoint) {
	t.Helper()
	engine := ws.NewEngine(ws.EngineConfig{Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(engine.Close)
	n.Name = "chat"
	e = newEdge(nil, engine, slog.Default(), &Config{Clients: clients, Namespaces: []Namespace{n}})
	at := func(namespace string) *endpoint { return &endpoint{tenant: e.tenants[namespace]} }
	return e, at("chat"), at("chat"), at("other")
}

// conn is a connection that nobody speaks on.
func conn(t *testing.T, e *ws.Engine) *ws.Conn {
	t.Helper()
	server, client := wstest.TCP(t)
	c, _ := wstest.Connect(t, e, e.Prepare(ws.Config{}), server, client)
	t.Cleanup(func() { c.Terminate(0) })
	return c
}

func mustEnter(t *testing.T, e *edge, ep *endpoint, remote, user string) *place {
	t.Helper()
	p, full := e.enter(ep, remote)
	if full != nil {
		t.Fatal(full.reason)
	}
	if full := p.admit(user); full != nil {
		t.Fatal(full.reason)
	}
	return p
}

func TestNamespaceIsLimitedOnAllItsEndpoints(t *testing.T) {
	e, first, second, other := limited(t, Namespace{Limits: NamespaceLimits{Connections: 2}}, Clients{})
	a := mustEnter(t, e, first, "192.0.2.7:1", "")
	mustEnter(t, e, second, "192.0.2.7:1", "")
	for _, ep := range []*endpoint{first, second} {
		if _, full := e.enter(ep, "192.0.2.8:1"); full != namespaceFull {
			t.Errorf("got %v", full)
		}
	}
	if p := mustEnter(t, e, other, "192.0.2.8:1", ""); p != nil {
		t.Error("a namespace without limits is counted")
	}
	a.leave()
	mustEnter(t, e, second, "192.0.2.8:1", "")
}

func TestNamespaceIsLimitedInASecond(t *testing.T) {
	e, first, second, _ := limited(t, Namespace{Limits: NamespaceLimits{NewConnections: 1}}, Clients{})
	mustEnter(t, e, first, "192.0.2.7:1", "")
	if _, full := e.enter(second, "192.0.2.8:1"); full != namespaceHasty {
		t.Errorf("got %v", full)
	}
}

// Who is refused by one limit uses up nothing of the others, which others need.
func TestRefusedCostNothing(t *testing.T) {
	e, first, _, other := limited(t, Namespace{Limits: NamespaceLimits{Connections: 1}}, Clients{NewConnections: 2, NewConnectionsPerIP: 2})
	mustEnter(t, e, first, "192.0.2.7:1", "")
	for range 5 {
		if _, full := e.enter(first, "192.0.2.7:2"); full != namespaceFull {
			t.Errorf("got %v", full)
		}
	}
	mustEnter(t, e, other, "192.0.2.7:3", "")
}

func TestUserIsLimitedOnAllEndpoints(t *testing.T) {
	e, first, second, _ := limited(t, Namespace{Limits: NamespaceLimits{ConnectionsPerUser: 2}}, Clients{})
	a := mustEnter(t, e, first, "192.0.2.7:1", "ada")
	b := mustEnter(t, e, second, "192.0.2.8:1", "ada")
	late, full := e.enter(first, "192.0.2.9:1")
	if full != nil {
		t.Fatal(full.reason)
	}
	if full := late.admit("ada"); full != userFull {
		t.Errorf("got %v", full)
	}
	late.leave()
	mustEnter(t, e, first, "192.0.2.9:1", "bob")
	for range 3 {
		mustEnter(t, e, first, "192.0.2.9:1", "") // nobody
	}
	a.leave()
	mustEnter(t, e, second, "192.0.2.9:1", "ada").leave()
	b.leave()
	if users := first.tenant.users.by; len(users) != 1 || users["bob"].n != 1 {
		t.Errorf("counted are %v", users)
	}
}

func TestUserIsLimitedInASecond(t *testing.T) {
	e, first, second, _ := limited(t, Namespace{Limits: NamespaceLimits{NewConnectionsPerUser: 1}}, Clients{})
	mustEnter(t, e, first, "192.0.2.7:1", "ada").leave()
	p, _ := e.enter(second, "192.0.2.7:1")
	if full := p.admit("ada"); full != userHasty {
		t.Errorf("got %v", full)
	}
	mustEnter(t, e, second, "192.0.2.7:1", "bob")
}

// A connection that a backend gives to somebody else counts there, and not where it did.
func TestRenamedConnectionCountsForItsNewUser(t *testing.T) {
	e, first, _, _ := limited(t, Namespace{Limits: NamespaceLimits{ConnectionsPerUser: 1}}, Clients{})
	engine := e.engine
	var places []*place
	for _, user := range []string{"ada", "bob", ""} {
		p := mustEnter(t, e, first, "192.0.2.7:1", user)
		p.conn = conn(t, engine)
		places = append(places, p)
	}
	for _, p := range places {
		p.rename("eve") // nobody refuses what a backend says
		p.rename("eve")
	}
	if users := first.tenant.users.by; len(users) != 1 || users["eve"].n != 3 {
		t.Errorf("counted are %v", users)
	}
	places[0].rename("")
	places[1].leave()
	places[1].rename("ada") // the end came first
	if users := first.tenant.users.by; len(users) != 1 || users["eve"].n != 1 {
		t.Errorf("counted are %v", users)
	}
	mustEnter(t, e, first, "192.0.2.7:1", "ada")
}

// What is shared is what has the same namespace, user or address: nothing else.
func TestQuotasAreShared(t *testing.T) {
	rates := NamespaceRates{Messages: 10, MessagesPerUser: 5}
	e, first, second, other := limited(t, Namespace{Rates: rates}, Clients{MessagesPerIP: 3})
	a := mustEnter(t, e, first, "192.0.2.7:1", "ada")
	b := mustEnter(t, e, second, "192.0.2.7:2", "ada")
	c := mustEnter(t, e, first, "192.0.2.8:1", "bob")
	d := mustEnter(t, e, other, "192.0.2.8:1", "ada")
	if a.own != b.own || a.own == nil || c.own == a.own || c.own == nil || d.own != nil {
		t.Error("quotas of users are mixed up")
	}
	if a.ip != b.ip || a.ip == nil || c.ip == a.ip || c.ip != d.ip {
		t.Error("quotas of addresses are mixed up")
	}
	if a.tenant.quota == nil || d.tenant != nil {
		t.Error("quotas of namespaces are mixed up")
	}
	for _, p := range []*place{a, b, c, d} {
		p.leave()
	}
	if len(first.tenant.users.by) != 0 || len(e.gate.clients.by) != 0 {
		t.Errorf("kept are %v and %v", first.tenant.users.by, e.gate.clients.by)
	}
}

// Places are taken, renamed and left from anywhere; in the end nobody is counted.
func TestPlacesAtOnce(t *testing.T) {
	all := Namespace{
		Limits: NamespaceLimits{Connections: 1000, ConnectionsPerUser: 1000}, Rates: NamespaceRates{MessagesPerUser: 1},
	}
	e, first, second, _ := limited(t, all, Clients{ConnectionsPerIP: 1000, MessagesPerIP: 1})
	var wg sync.WaitGroup
	for i := range 16 {
		c := conn(t, e.engine)
		wg.Go(func() {
			for n := range 300 {
				ep := []*endpoint{first, second}[n%2]
				p, full := e.enter(ep, fmt.Sprintf("192.0.2.%d:1", n%5))
				if full == nil {
					full = p.admit(fmt.Sprint("user", n%3))
				}
				if full != nil {
					t.Error(full.reason)
					return
				}
				p.hold(c)
				var two sync.WaitGroup
				two.Go(func() { p.rename(fmt.Sprint("user", i%3)) })
				two.Go(p.leave)
				two.Wait()
			}
		})
	}
	wg.Wait()
	if n := e.gate.n + first.tenant.gate.n; n != 0 || len(first.tenant.users.by) != 0 || len(e.gate.clients.by) != 0 {
		t.Errorf("%d are counted; users %v, addresses %v", n, first.tenant.users.by, e.gate.clients.by)
	}
}

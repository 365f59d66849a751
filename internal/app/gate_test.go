package app

import (
	"fmt"
	"testing"
	"time"
)

func TestGateByAddress(t *testing.T) {
	g := &gate{most: 10, perClient: 3, clientPerSecond: 2}
	a, b, nobody := clientOf("192.0.2.7:1"), clientOf("192.0.2.8"), clientOf("@")
	begin := time.Now()
	enter := func(at time.Duration, from string, want *enough) {
		t.Helper()
		if got := g.enter(clientOf(from), begin.Add(at), brokerFull); got != want {
			t.Errorf("%v, %s: %v, want %v", at, from, got, want)
		}
	}
	enter(0, "192.0.2.7:1", nil)
	enter(0, "192.0.2.7:2", nil)
	enter(0, "192.0.2.7:3", clientHasty)
	enter(0, "192.0.2.8", nil)
	enter(500*time.Millisecond, "192.0.2.7:3", nil)
	enter(5*time.Second, "192.0.2.7:4", clientFull)
	g.leave(a)
	enter(5*time.Second, "192.0.2.7:4", nil)
	for range 6 {
		enter(5*time.Second, "@", nil)
	}
	enter(5*time.Second, "@", brokerFull)
	for range 3 {
		g.leave(a)
	}
	g.leave(b)
	for range 6 {
		g.leave(nobody)
	}
	if g.n != 0 {
		t.Errorf("%d are left", g.n)
	}
}

// TestGateForgets: addresses of which nothing is to be known any more.
func TestGateForgets(t *testing.T) {
	g := &gate{clientPerSecond: 1}
	begin := time.Now()
	for n := range 50_000 {
		client := clientOf(fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255))
		if full := g.enter(client, begin.Add(time.Duration(n)*10*time.Millisecond), brokerFull); full != nil {
			t.Fatal(full.reason)
		}
		g.leave(client)
	}
	if len(g.byClient) > 2000 {
		t.Errorf("%d addresses are kept", len(g.byClient))
	}
}

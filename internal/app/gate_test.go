package app

import (
	"fmt"
	"testing"
	"time"
)

func TestGateByAddress(t *testing.T) {
	g := &gate{most: 10, full: brokerFull, clients: addresses(3, 2)}
	a, b, nobody := clientOf("192.0.2.7:1"), clientOf("192.0.2.8"), clientOf("@")
	begin := time.Now()
	enter := func(at time.Duration, from string, want *enough) {
		t.Helper()
		if _, got := enter([]*gate{g}, clientOf(from), begin.Add(at)); got != want {
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
	v := addresses(0, 1)
	begin := time.Now()
	for n := range 50_000 {
		client, now := clientOf(fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)), begin.Add(time.Duration(n)*10*time.Millisecond)
		known, full := v.next(client, now)
		if full != nil {
			t.Fatal(full.reason)
		}
		v.add(client, known)
		v.leave(client, now)
	}
	if len(v.by) > 2000 || v.absent != len(v.by) {
		t.Errorf("%d addresses are kept, %d of them absent", len(v.by), v.absent)
	}
}

// TestGateForgetsTooManyDebtors: nobody fills the memory with addresses that owe something for ever.
func TestGateForgetsTooManyDebtors(t *testing.T) {
	v := addresses(0, 1)
	now := time.Now()
	stays := clientOf("192.0.2.1")
	v.add(stays, visits{})
	for n := range 3 * manyAbsent {
		client := clientOf(fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255))
		v.add(client, visits{paid: now.Add(time.Hour)})
		v.leave(client, now)
		if len(v.by) > manyAbsent+1 {
			t.Fatalf("%d addresses are kept", len(v.by))
		}
	}
	if v.by[stays].n != 1 {
		t.Error("who is here was forgotten")
	}
}

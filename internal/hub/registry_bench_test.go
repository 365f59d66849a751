package hub_test

import (
	"fmt"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// BenchmarkLookup finds connections by their ID, in an order that no cache helps with.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		h, _ := node()
		ids := make([]string, n)
		for i := range ids {
			c, _ := open(b, h, chat)
			ids[i] = c.ID().String()
		}
		b.Run(fmt.Sprintf("of=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := h.Lookup(ids[i*7919%n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpenAndEnd registers a connection beside many, and takes it out.
func BenchmarkOpenAndEnd(b *testing.B) {
	h, _ := node()
	for range 10_000 {
		open(b, h, chat)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, s := open(b, h, chat)
		s.End(hub.End{})
	}
}

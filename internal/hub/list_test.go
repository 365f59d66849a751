package hub_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// A connection that lives throughout a listing appears exactly once, whatever comes and goes.
func TestListIsStable(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h, _ := node()
		var staying []string
		for range rapid.IntRange(0, 40).Draw(rt, "staying") {
			c, _ := open(t, h, chat)
			staying = append(staying, c.ID().String())
		}
		limit := rapid.IntRange(1, 12).Draw(rt, "limit")
		var listed []string
		var after *hub.ID
		for {
			page, more := h.List(hub.Filter{}, after, limit)
			if len(page) > limit || more && len(page) < limit {
				rt.Fatalf("page of %d, more %v", len(page), more)
			}
			for _, in := range page {
				listed = append(listed, in.ID.String())
			}
			if !more {
				break
			}
			after = &page[len(page)-1].ID
			for range rapid.IntRange(0, 3).Draw(rt, "passing") {
				_, s := open(t, h, chat)
				if rapid.Bool().Draw(rt, "leaves") {
					s.End(hub.End{})
				}
			}
		}
		seen := make(map[string]bool)
		for _, id := range listed {
			if seen[id] {
				rt.Fatalf("%s is listed twice", id)
			}
			seen[id] = true
		}
		for _, id := range staying {
			if !slices.Contains(listed, id) {
				rt.Fatalf("%s is missing", id)
			}
		}
	})
}

func TestListAndCountMatch(t *testing.T) {
	h, _ := node()
	user := "ann"
	for i := range 6 {
		c, _ := open(t, h, &hub.Endpoint{Path: "/", Namespace: fmt.Sprint("ns", i%2)})
		u := hub.Update{Set: map[string]string{"k": strconv.Itoa(i % 3)}}
		if i < 2 {
			u.User = &user
		}
		if _, err := c.Update(u); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		filter hub.Filter
		want   int
	}{
		{hub.Filter{}, 6},
		{hub.Filter{Node: h.Node()}, 6},
		{hub.Filter{Node: "aaaaaaaaaa"}, 0},
		{hub.Filter{Namespace: "ns0"}, 3},
		{hub.Filter{User: "ann"}, 2},
		{hub.Filter{Attributes: map[string]string{"k": "1"}}, 2},
		{hub.Filter{Attributes: map[string]string{"k": "1", "l": "1"}}, 0},
		{hub.Filter{Namespace: "ns1", User: "ann", Attributes: map[string]string{"k": "1"}}, 1},
		{hub.Filter{Group: "g"}, 0},
	} {
		page, more := h.List(tt.filter, nil, 10)
		if len(page) != tt.want || more || int(h.Count(tt.filter)) != tt.want {
			t.Errorf("%+v: %d listed, %d counted", tt.filter, len(page), h.Count(tt.filter))
		}
	}
}

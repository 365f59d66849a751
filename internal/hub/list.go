package hub

import (
	"bytes"
	"container/heap"
	"slices"
)

// List answers up to limit connections that match, in a stable order of their IDs, beginning behind
// the given one (nil: from the first), and whether there are more.
func (h *Hub) List(f Filter, after *ID, limit int) (page []Info, more bool) {
	if f.Node != "" && f.Node != h.node {
		return nil, false
	}
	first := make(highest, 0, limit+1) // the limit+1 lowest IDs found so far
	h.registry.all(func(c *Conn) bool {
		if after != nil && bytes.Compare(c.key[:], after.key[:]) <= 0 || !c.matches(&f) {
			return true
		}
		heap.Push(&first, c)
		if len(first) > limit+1 {
			heap.Pop(&first)
		}
		return true
	})
	slices.SortFunc(first, func(a, b *Conn) int { return bytes.Compare(a.key[:], b.key[:]) })
	if len(first) > limit {
		first, more = first[:limit], true
	}
	for _, c := range first {
		page = append(page, c.Info())
	}
	return page, more
}

// Count answers how many connections match.
func (h *Hub) Count(f Filter) (n uint64) {
	if f.Node != "" && f.Node != h.node {
		return 0
	}
	h.registry.all(func(c *Conn) bool {
		if c.matches(&f) {
			n++
		}
		return true
	})
	return n
}

func (c *Conn) matches(f *Filter) bool {
	if f.Group != "" || f.Namespace != "" && f.Namespace != c.endpoint.Namespace {
		return false // no call makes a connection a member of a group yet
	}
	if f.User == "" && len(f.Attributes) == 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.User != "" && f.User != c.user {
		return false
	}
	for name, value := range f.Attributes {
		if !slices.Contains(c.attributes, Attribute{name, value}) {
			return false
		}
	}
	return true
}

// highest is a heap with the highest key on top.
type highest []*Conn

func (h highest) Len() int           { return len(h) }
func (h highest) Less(i, j int) bool { return bytes.Compare(h[i].key[:], h[j].key[:]) > 0 }
func (h highest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *highest) Push(x any)        { *h = append(*h, x.(*Conn)) }
func (h *highest) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

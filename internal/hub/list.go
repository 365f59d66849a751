package hub

import (
	"bytes"
	"slices"
)

// List answers up to limit connections that match, in a stable order of their IDs, beginning behind
// the given one (nil: from the first), and whether there are more.
func (h *Hub) List(f Filter, after *ID, limit int) (page []Info, more bool) {
	first := lowest[*Conn]{n: limit + 1, compare: byKey}
	h.match(&f, after, first.add)
	conns, more := first.page()
	for _, c := range conns {
		page = append(page, c.Info())
	}
	return page, more
}

// Count answers how many connections match.
func (h *Hub) Count(f Filter) (n uint64) {
	h.match(&f, nil, func(*Conn) { n++ })
	return n
}

// match visits the connections that match and are behind the given one, without a lock.
func (h *Hub) match(f *Filter, after *ID, visit func(*Conn)) {
	if f.Node != "" && f.Node != h.node {
		return
	}
	matching := func(c *Conn) {
		if c.behind(after) && c.matches(f) {
			visit(c)
		}
	}
	// An index is of one namespace; without one, every connection has to be asked.
	switch {
	case f.Namespace != "" && f.User != "":
		h.users.each(setName{f.Namespace, f.User}, matching)
	case f.Namespace != "" && f.Group != "":
		h.groups.each(setName{f.Namespace, f.Group}, matching)
	default:
		h.registry.each(matching)
	}
}

func (c *Conn) matches(f *Filter) bool {
	if f.Namespace != "" && f.Namespace != c.endpoint.Namespace ||
		f.Namespaces != nil && !slices.Contains(f.Namespaces, c.endpoint.Namespace) {
		return false
	}
	if f.User == "" && f.Group == "" && len(f.Attributes) == 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.User != "" && f.User != c.extrasLocked().user || f.Group != "" && !c.inGroupLocked(f.Group) {
		return false
	}
	for name, value := range f.Attributes {
		if !slices.Contains(c.extrasLocked().attributes, Attribute{name, value}) {
			return false
		}
	}
	return true
}

// behind reports whether the connection comes after that ID in a listing; nil is before all.
func (c *Conn) behind(after *ID) bool {
	return after == nil || bytes.Compare(c.key[:], after.key[:]) > 0
}

func byKey(a, b *Conn) int { return bytes.Compare(a.key[:], b.key[:]) }

// lowest keeps the n lowest of the values that it is given: a page, and one that tells of more.
type lowest[T any] struct {
	n       int
	compare func(a, b T) int
	kept    []T
	cutOnce bool // the first n of kept are sorted, and the last of them bounds what can be among the lowest
}

func (l *lowest[T]) add(v T) {
	if l.cutOnce && l.compare(v, l.kept[l.n-1]) >= 0 {
		return
	}
	l.kept = append(l.kept, v)
	if len(l.kept) == 2*l.n {
		l.cut()
		l.cutOnce = true
	}
}

func (l *lowest[T]) cut() {
	slices.SortFunc(l.kept, l.compare)
	l.kept = l.kept[:min(l.n, len(l.kept))]
}

// page answers all of the lowest but the last, which only tells that there are more.
func (l *lowest[T]) page() (page []T, more bool) {
	l.cut()
	if len(l.kept) < l.n {
		return l.kept, false
	}
	return l.kept[:l.n-1], true
}

package hub_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
)

// modelled is a connection beside what a set of strings says of it.
type modelled struct {
	conn   *hub.Conn
	socket *hubtest.Socket
	ns     string
	groups map[string]bool
	user   string
	got    int // messages
}

func (m *modelled) in(to hub.Target) bool {
	return m.ns == to.Namespace && (to.Group == "" || m.groups[to.Group]) && (to.User == "" || m.user == to.User)
}

// model is a hub beside sets that are searched from end to end.
type model struct {
	t        *testing.T
	hub      *hub.Hub
	interest *interest
	conns    []*modelled
}

var (
	someNamespace = rapid.SampledFrom([]string{"ns0", "ns1"})
	someGroup     = rapid.SampledFrom([]string{"a", "ab", "b", "c"})
	someUser      = rapid.SampledFrom([]string{"", "ann", "bob"})
)

// Groups, users and broadcasts are what plain sets say, whatever happens in whatever order.
func TestGroupsAreSets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h, _ := node()
		m := &model{t: t, hub: h, interest: interested(h)}
		rt.Repeat(map[string]func(*rapid.T){
			"open": m.open, "join": m.join, "leave": m.leave, "user": m.user, "end": m.end,
			"broadcast": m.broadcast, "": m.check,
		})
	})
}

func (m *model) open(rt *rapid.T) {
	ns := someNamespace.Draw(rt, "namespace")
	c, s := open(m.t, m.hub, &hub.Endpoint{Path: "/", Namespace: ns})
	m.conns = append(m.conns, &modelled{conn: c, socket: s, ns: ns, groups: make(map[string]bool)})
}

// pick answers one of the connections; without any, the step is none.
func (m *model) pick(rt *rapid.T) *modelled {
	if len(m.conns) == 0 {
		rt.Skip("no connection")
	}
	return rapid.SampledFrom(m.conns).Draw(rt, "connection")
}

func (m *model) join(rt *rapid.T) {
	c := m.pick(rt)
	groups := rapid.SliceOfN(someGroup, 1, 5).Draw(rt, "groups")
	join(m.t, c.conn, groups...)
	for _, g := range groups {
		c.groups[g] = true
	}
}

func (m *model) leave(rt *rapid.T) {
	c := m.pick(rt)
	groups := rapid.SliceOfN(someGroup, 1, 5).Draw(rt, "groups")
	if err := c.conn.Leave(groups); err != nil {
		rt.Fatal(err)
	}
	for _, g := range groups {
		delete(c.groups, g)
	}
}

func (m *model) user(rt *rapid.T) {
	c := m.pick(rt)
	c.user = someUser.Draw(rt, "user")
	setUser(m.t, c.conn, c.user)
}

func (m *model) end(rt *rapid.T) {
	c := m.pick(rt)
	c.socket.End(hub.End{})
	m.conns = slices.DeleteFunc(m.conns, func(o *modelled) bool { return o == c })
}

// someTarget is a target of each kind.
func someTarget(rt *rapid.T) hub.Target {
	to := hub.Target{Namespace: someNamespace.Draw(rt, "namespace")}
	switch rapid.SampledFrom([]string{"group", "user", "everyone"}).Draw(rt, "target") {
	case "group":
		to.Group = someGroup.Draw(rt, "group")
	case "user":
		to.User = rapid.SampledFrom([]string{"ann", "bob"}).Draw(rt, "user")
	}
	return to
}

func (m *model) broadcast(rt *rapid.T) {
	to := someTarget(rt)
	except := make(map[hub.ID]struct{})
	if len(m.conns) > 0 {
		for _, c := range rapid.SliceOfN(rapid.SampledFrom(m.conns), 0, 2).Draw(rt, "except") {
			except[c.conn.ID()] = struct{}{}
		}
	}
	matched := uint64(0)
	for _, c := range m.conns {
		if _, not := except[c.conn.ID()]; !not && c.in(to) {
			c.got++
			matched++
		}
	}
	if got := m.hub.Broadcast(to, message(hub.Queued), except).Counts(); got != (hub.Counts{Matched: matched, Succeeded: matched}) {
		rt.Fatalf("%+v: %+v, want %d", to, got, matched)
	}
}

// check compares all that the hub answers with the model.
func (m *model) check(rt *rapid.T) {
	for _, c := range m.conns {
		if n := len(c.socket.Record().Messages); n != c.got {
			rt.Fatalf("%d messages, want %d", n, c.got)
		}
		in := c.conn.Info()
		if !slices.Equal(in.Groups, slices.Sorted(maps.Keys(c.groups))) || in.User != c.user {
			rt.Fatalf("groups %v and user %q, want %v and %q", in.Groups, in.User, c.groups, c.user)
		}
	}
	var interesting []string
	memberships := uint64(0)
	for _, ns := range []string{"ns0", "ns1"} {
		groups := m.groups(ns)
		for _, g := range groups {
			interesting = append(interesting, ns+"/"+g.Name)
			memberships += g.Members
		}
		m.checkGroups(rt, ns, groups)
		m.checkLists(rt, ns)
	}
	if got := m.interest.groups(); !slices.Equal(got, interesting) {
		rt.Fatalf("interest in %v, want %v", got, interesting)
	}
	if st := m.hub.Stats(); st.Groups != uint64(len(interesting)) || st.Memberships != memberships {
		rt.Fatalf("%d groups and %d memberships, want %d and %d", st.Groups, st.Memberships, len(interesting), memberships)
	}
}

// groups are those of a namespace that have members, by name.
func (m *model) groups(ns string) (all []hub.GroupCount) {
	counts := make(map[string]uint64)
	for _, c := range m.conns {
		if c.ns == ns {
			for g := range c.groups {
				counts[g]++
			}
		}
	}
	for _, g := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, hub.GroupCount{Name: g, Members: counts[g]})
	}
	return all
}

func (m *model) checkGroups(rt *rapid.T, ns string, want []hub.GroupCount) {
	var got []hub.GroupCount
	for after, more := "", true; more; {
		var page []hub.GroupCount
		page, more = m.hub.Groups(ns, "", after, 2)
		if got = append(got, page...); more {
			after = page[len(page)-1].Name
		}
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("groups %v, want %v", got, want)
	}
}

func (m *model) checkLists(rt *rapid.T, ns string) {
	for _, g := range []string{"a", "ab", "b", "c"} {
		want := m.matching(hub.Target{Namespace: ns, Group: g})
		if got := m.pages(ns, g); !slices.Equal(got, want) || m.hub.HasMembers(ns, g) != (len(want) > 0) {
			rt.Fatalf("members of %s %v, want %v", g, got, want)
		}
		m.checkFilter(rt, hub.Filter{Namespace: ns, Group: g}, want)
		m.checkFilter(rt, hub.Filter{Namespace: ns, Group: g, User: "ann"},
			m.matching(hub.Target{Namespace: ns, Group: g, User: "ann"}))
	}
	m.checkFilter(rt, hub.Filter{Namespace: ns, User: "ann"}, m.matching(hub.Target{Namespace: ns, User: "ann"}))
	m.checkFilter(rt, hub.Filter{Namespace: ns}, m.matching(hub.Target{Namespace: ns}))
}

// matching are the IDs of a target, in the order of List.
func (m *model) matching(to hub.Target) (ids []string) {
	for _, c := range m.conns {
		if c.in(to) {
			ids = append(ids, c.conn.ID().String())
		}
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

// compareIDs orders IDs of one node as List does. Digits stand behind letters in base32, before them in ASCII.
func compareIDs(a, b string) int {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	for i := range a {
		if d := strings.IndexByte(alphabet, a[i]) - strings.IndexByte(alphabet, b[i]); d != 0 {
			return d
		}
	}
	return 0
}

// pages are the members of a group, collected in pages of three.
func (m *model) pages(ns, group string) (ids []string) {
	var after *hub.ID
	for {
		page, more := m.hub.Members(ns, group, after, 3)
		for _, id := range page {
			ids = append(ids, id.String())
		}
		if !more {
			return ids
		}
		after = &page[len(page)-1]
	}
}

func (m *model) checkFilter(rt *rapid.T, f hub.Filter, want []string) {
	page, _ := m.hub.List(f, nil, 1000)
	var got []string
	for _, in := range page {
		got = append(got, in.ID.String())
	}
	if !slices.Equal(got, want) || m.hub.Count(f) != uint64(len(want)) {
		rt.Fatalf("%+v: listed %v, counted %d, want %v", f, got, m.hub.Count(f), want)
	}
}

// Everything at once: for the race detector, and nothing is left in the end.
func TestGroupsUnderConcurrency(t *testing.T) {
	h, _ := node()
	in := interested(h)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 60 {
				c, s := open(t, h, chat)
				all.Go(func() { // its backend, while it ends
					for j := range 10 {
						_ = c.Join([]string{fmt.Sprint("g", j%3), "all"})
						user := fmt.Sprint("u", (i+j)%4)
						_, _ = c.Update(hub.Update{User: &user})
						_ = c.Leave([]string{fmt.Sprint("g", (j+worker)%3)})
					}
				})
				n := h.Broadcast(hub.Target{Namespace: "default", Group: "all"}, message(hub.Written), nil)
				h.Broadcast(hub.Target{Namespace: "default"}, message(hub.Queued), nil)
				h.List(hub.Filter{Namespace: "default", User: "u1", Group: "g1"}, nil, 5)
				h.Groups("default", "g", "", 2)
				n.Counts()
				s.End(hub.End{})
			}
		})
	}
	all.Wait()
	everyone := h.Broadcast(hub.Target{Namespace: "default"}, message(hub.Queued), nil).Counts()
	if st := h.Stats(); st.Groups != 0 || st.Memberships != 0 || everyone.Matched != 0 || len(in.groups()) != 0 {
		t.Errorf("left behind: %d groups, %d memberships, %d connections, interest in %v",
			st.Groups, st.Memberships, everyone.Matched, in.groups())
	}
}

package hub_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

func join(t testing.TB, c *hub.Conn, groups ...string) {
	t.Helper()
	if err := c.Join(groups); err != nil {
		t.Fatal(err)
	}
}

func setUser(t testing.TB, c *hub.Conn, user string) {
	t.Helper()
	if _, err := c.Update(hub.Update{User: &user}); err != nil {
		t.Fatal(err)
	}
}

func members(h *hub.Hub, group string) []hub.ID {
	page, _ := h.Members("default", group, nil, 1000)
	return page
}

func TestJoinAndLeave(t *testing.T) {
	h, _ := node()
	c, _ := open(t, h, chat)
	join(t, c, "b", "a", "b")
	join(t, c, "a")
	if got := c.Info().Groups; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("groups %v", got)
	}
	if got := members(h, "a"); !slices.Equal(got, []hub.ID{c.ID()}) {
		t.Errorf("members %v", got)
	}
	for range 2 { // the second time it is no member
		if err := c.Leave([]string{"a", "never"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.Info().Groups; !slices.Equal(got, []string{"b"}) || h.HasMembers("default", "a") {
		t.Errorf("groups %v, a has members: %v", got, h.HasMembers("default", "a"))
	}
}

func TestJoinsAllGroupsOrNone(t *testing.T) {
	h, _ := node()
	c, s := open(t, h, chat)
	groups := make([]string, hub.MaxGroups)
	for i := range groups {
		groups[i] = strconv.Itoa(i)
	}
	join(t, c, groups[1:]...)
	wantReason(t, c.Join([]string{"0", "one too many"}), hub.TooManyGroups)
	if h.HasMembers("default", "0") || h.HasMembers("default", "one too many") {
		t.Error("a refused Join joined")
	}
	join(t, c, "0")
	join(t, c, groups...) // a member of all of them already
	wantReason(t, c.Join([]string{"one too many"}), hub.TooManyGroups)
	if st := h.Stats(); st.Groups != hub.MaxGroups || st.Memberships != hub.MaxGroups {
		t.Errorf("%d groups, %d memberships", st.Groups, st.Memberships)
	}
	s.SetState(func(st *hub.SocketState) { st.Closing = true })
	wantReason(t, c.Join([]string{"0"}), hub.ConnectionClosing)
	if err := c.Leave([]string{"0"}); err != nil {
		t.Fatal(err)
	}
	s.End(hub.End{})
	wantReason(t, c.Join([]string{"0"}), hub.ConnectionNotFound)
	wantReason(t, c.Leave([]string{"0"}), hub.ConnectionNotFound)
}

// onClose is a publisher that looks at the hub when a close event is published.
type onClose struct {
	hub  *hub.Hub
	look func(*hub.Hub)
}

func (p *onClose) Publish(e hub.Event) bool {
	if e.Kind == hub.KindClose {
		p.look(p.hub)
	}
	return true
}

func TestMembershipsEndBeforeTheCloseEvent(t *testing.T) {
	seen := false
	p := &onClose{look: func(h *hub.Hub) {
		seen = true
		byUser := h.Broadcast(hub.Target{Namespace: "default", User: "ann"}, message(hub.Queued), nil).Counts().Matched
		if h.HasMembers("default", "g") || len(members(h, "g")) != 0 || byUser != 0 {
			t.Error("the close event is published and the connection still found")
		}
	}}
	p.hub = hub.New(hub.NewNodeID(), p)
	c, s := open(t, p.hub, chat)
	join(t, c, "g")
	setUser(t, c, "ann")
	s.End(hub.End{})
	if !seen {
		t.Error("no close event")
	}
}

// Whoever wins, nothing is left of the connection.
func TestJoinRacingWithTheEndLeavesNoGhost(t *testing.T) {
	h, _ := node()
	for range 500 {
		c, s := open(t, h, chat)
		var both sync.WaitGroup
		both.Go(func() { _ = c.Join([]string{"g"}) })
		both.Go(func() {
			user := "ann"
			_, _ = c.Update(hub.Update{User: &user})
		})
		both.Go(func() { s.End(hub.End{}) })
		both.Wait()
		n := h.Broadcast(hub.Target{Namespace: "default", User: "ann"}, message(hub.Queued), nil).Counts().Matched
		if st := h.Stats(); h.HasMembers("default", "g") || n != 0 || st.Groups != 0 || st.Memberships != 0 {
			t.Fatalf("ghosts: %d of the user, %+v", n, st)
		}
	}
}

func TestGroupsOfNamespacesAreApart(t *testing.T) {
	h, _ := node()
	a, _ := open(t, h, &hub.Endpoint{Path: "/", Namespace: "a"})
	b, _ := open(t, h, &hub.Endpoint{Path: "/", Namespace: "b"})
	join(t, a, "g")
	join(t, b, "g")
	setUser(t, a, "ann")
	setUser(t, b, "ann")
	for _, to := range []hub.Target{{"a", "g", ""}, {"a", "", "ann"}, {"a", "", ""}} {
		if n := h.Broadcast(to, message(hub.Queued), nil).Counts().Matched; n != 1 {
			t.Errorf("%+v: %d matched", to, n)
		}
	}
	if page, _ := h.Members("b", "g", nil, 10); !slices.Equal(page, []hub.ID{b.ID()}) {
		t.Errorf("members in b: %v", page)
	}
	if n := h.Count(hub.Filter{Group: "g"}); n != 2 { // of any namespace
		t.Errorf("%d in a group g", n)
	}
}

func TestMembersAreListedAsListDoes(t *testing.T) {
	h, _ := node()
	for range 25 {
		c, _ := open(t, h, chat)
		join(t, c, "g")
		open(t, h, chat)
	}
	var want, got []hub.ID
	infos, _ := h.List(hub.Filter{Group: "g"}, nil, 100)
	for _, in := range infos {
		want = append(want, in.ID)
	}
	var after *hub.ID
	for pages, more := 0, true; more && pages < 4; pages++ {
		var page []hub.ID
		page, more = h.Members("default", "g", after, 10)
		got = append(got, page...)
		after = &got[len(got)-1]
	}
	if len(want) != 25 || !slices.Equal(got, want) {
		t.Errorf("%d members, want %d in this order: %v, %v", len(got), len(want), got, want)
	}
}

func TestGroupsAreListedByName(t *testing.T) {
	h, _ := node()
	for i := range 25 {
		c, _ := open(t, h, chat)
		join(t, c, fmt.Sprintf("room:%02d", i), "lobby")
	}
	other, _ := open(t, h, &hub.Endpoint{Path: "/", Namespace: "other"})
	join(t, other, "room:99")
	var got []string
	after, pages := "", 0
	for more := true; more; pages++ {
		var page []hub.GroupCount
		page, more = h.Groups("default", "room:", after, 10)
		for _, g := range page {
			got = append(got, g.Name)
			after = g.Name
			if g.Members != 1 {
				t.Errorf("%+v", g)
			}
		}
	}
	if len(got) != 25 || pages != 3 || !slices.IsSorted(got) || got[24] != "room:24" {
		t.Errorf("%d pages: %v", pages, got)
	}
	if page, more := h.Groups("default", "", "", 1); more != true || !slices.Equal(page, []hub.GroupCount{{Name: "lobby", Members: 25}}) {
		t.Errorf("%v, more %v", page, more)
	}
}

// interest keeps what HasMembers answers when it is told of a change.
type interest struct {
	hub *hub.Hub

	mu    sync.Mutex
	has   map[string]bool
	calls int
}

// Changed asks under its own lock: the last to ask is the last to write.
func (i *interest) Changed(namespace, group string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.calls++
	if i.hub.HasMembers(namespace, group) {
		i.has[namespace+"/"+group] = true
	} else {
		delete(i.has, namespace+"/"+group)
	}
}

// groups answers those that have members, for all that it was told.
func (i *interest) groups() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := make([]string, 0, len(i.has))
	for g := range i.has {
		all = append(all, g)
	}
	slices.Sort(all)
	return all
}

func interested(h *hub.Hub) *interest {
	i := &interest{hub: h, has: make(map[string]bool)}
	h.SetInterest(i)
	return i
}

func TestInterestHearsOfTheFirstAndTheLastMember(t *testing.T) {
	h, _ := node()
	in := interested(h)
	want := func(groups string, calls int) {
		t.Helper()
		if got := fmt.Sprint(in.groups()); got != groups || in.calls != calls {
			t.Errorf("groups %s after %d calls, want %s after %d", got, in.calls, groups, calls)
		}
	}
	a, _ := open(t, h, chat)
	b, s := open(t, h, chat)
	join(t, a, "g")
	want("[default/g]", 1)
	join(t, b, "g", "h")
	want("[default/g default/h]", 2)
	if err := a.Leave([]string{"g"}); err != nil {
		t.Fatal(err)
	}
	want("[default/g default/h]", 2)
	s.End(hub.End{})
	want("[]", 4)
}

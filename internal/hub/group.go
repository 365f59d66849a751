package hub

import (
	"slices"
	"strings"
)

// MaxGroups is how many groups a connection may be in.
const MaxGroups = 1000

// memberships are the sets that a connection is in, guarded by Conn.mu.
type memberships struct {
	groups []*membership // sorted by name
	user   *membership   // nil without a user
}

// Interest is told that a group of this node may have got its first member or lost its last. It asks
// HasMembers, which is the only thing of the hub that it may call meanwhile, and must not block: a
// lock is held.
type Interest interface {
	Changed(namespace, group string)
}

// SetInterest is called at most once, before the first connection.
func (h *Hub) SetInterest(i Interest) { h.interest = i }

func (h *Hub) changed(group setName) {
	if h.interest != nil {
		h.interest.Changed(group.namespace, group.name)
	}
}

// Join makes the connection a member of all the groups or, on an error, of none: ErrTooManyGroups,
// ErrNotFound when it has ended, ErrClosing.
func (c *Conn) Join(groups []string) error {
	joining := slices.Clone(groups)
	slices.Sort(joining)
	joining = slices.Compact(joining)
	c.mu.Lock()
	defer c.mu.Unlock()
	// Under the lock that the end takes: a connection that has ended joins nothing any more.
	if err := c.usableLocked(); err != nil {
		return err
	}
	joining = slices.DeleteFunc(joining, c.inGroupLocked)
	if len(c.groupsLocked())+len(joining) > MaxGroups {
		return ErrTooManyGroups
	}
	for _, g := range joining {
		c.joinLocked(g)
	}
	return nil
}

// Leave ends the memberships of the connection in the groups. It fails with ErrNotFound when the
// connection has ended, and has left them by that.
func (c *Conn) Leave(groups []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return ErrNotFound
	}
	for _, g := range groups {
		if i, member := c.findGroupLocked(g); member {
			sets := c.setsLocked()
			c.hub.leave(sets.groups[i])
			sets.groups = slices.Delete(sets.groups, i, i+1)
		}
	}
	return nil
}

func (c *Conn) joinLocked(group string) {
	m, first := c.hub.groups.add(c, setName{c.endpoint.Namespace, group})
	i, _ := c.findGroupLocked(group)
	sets := c.setsLocked()
	sets.groups = slices.Insert(sets.groups, i, m)
	if first {
		c.hub.changed(m.set.name)
	}
}

// leave ends a membership in a group.
func (h *Hub) leave(m *membership) {
	if h.groups.remove(m) {
		h.changed(m.set.name)
	}
}

// setUserLocked says who the client is. The connection can be found by its new user before it cannot by
// its old one, so that it is always found.
func (c *Conn) setUserLocked(user string) {
	x := c.changeExtrasLocked()
	if user == x.user {
		return
	}
	sets := c.setsLocked()
	old := sets.user
	x.user, sets.user = "", nil
	if user != "" {
		sets.user, _ = c.hub.users.add(c, setName{c.endpoint.Namespace, user})
		x.user = sets.user.name()
	}
	if old != nil {
		c.hub.users.remove(old)
	}
	c.socket.Rename(x.user)
}

// leaveAllLocked ends every membership, at the end of the connection.
func (c *Conn) leaveAllLocked() {
	sets := c.extrasLocked().sets
	if sets == nil {
		return
	}
	for _, m := range sets.groups {
		c.hub.leave(m)
	}
	if m := sets.user; m != nil {
		c.hub.users.remove(m)
	}
	c.extras.sets = nil
}

func (c *Conn) setsLocked() *memberships {
	x := c.changeExtrasLocked()
	if x.sets == nil {
		x.sets = &memberships{}
	}
	return x.sets
}

func (c *Conn) groupsLocked() []*membership {
	if sets := c.extrasLocked().sets; sets != nil {
		return sets.groups
	}
	return nil
}

// findGroupLocked answers where in the sorted memberships that group is, or would be.
func (c *Conn) findGroupLocked(group string) (int, bool) {
	return slices.BinarySearchFunc(c.groupsLocked(), group, func(m *membership, name string) int {
		return strings.Compare(m.name(), name)
	})
}

func (c *Conn) inGroupLocked(group string) bool {
	_, member := c.findGroupLocked(group)
	return member
}

// groupNamesLocked answers the groups, sorted.
func (c *Conn) groupNamesLocked() []string {
	groups := c.groupsLocked()
	if len(groups) == 0 {
		return nil
	}
	names := make([]string, len(groups))
	for i, m := range groups {
		names[i] = m.name()
	}
	return names
}

// HasMembers reports whether a connection of this node is in the group.
func (h *Hub) HasMembers(namespace, group string) bool {
	return h.groups.has(setName{namespace, group})
}

// Members answers up to limit members of a group, in the order of List, beginning behind the given one
// (nil: from the first), and whether there are more.
func (h *Hub) Members(namespace, group string, after *ID, limit int) (page []ID, more bool) {
	first := lowest[*Conn]{n: limit + 1, compare: byKey}
	h.groups.each(setName{namespace, group}, func(c *Conn) {
		if c.behind(after) {
			first.add(c)
		}
	})
	conns, more := first.page()
	for _, c := range conns {
		page = append(page, c.ID())
	}
	return page, more
}

// GroupCount is a group and how many members it has on this node.
type GroupCount struct {
	Name    string
	Members uint64
}

// Groups answers up to limit groups that have members and whose names begin with the prefix, by name,
// beginning behind the given one (empty: from the first), and whether there are more.
func (h *Hub) Groups(namespace, prefix, after string, limit int) (page []GroupCount, more bool) {
	first := lowest[GroupCount]{n: limit + 1, compare: byName}
	h.groups.names(func(n setName, members int) {
		if n.namespace == namespace && n.name > after && strings.HasPrefix(n.name, prefix) {
			first.add(GroupCount{n.name, uint64(members)})
		}
	})
	return first.page()
}

func byName(a, b GroupCount) int { return strings.Compare(a.Name, b.Name) }

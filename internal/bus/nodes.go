package bus

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// maxNodes bounds the table, should somebody make up nodes.
const maxNodes = 1 << 12

// NodeChange is what happened to another node.
type NodeChange uint8

// The changes.
const (
	_              NodeChange = iota
	NodeJoined                // it is in the table, for the first time or again
	NodeFellSilent            // it was unheard for 5 s
	NodeHeardAgain            // it is no longer silent
	NodeLeft                  // it is no longer in the table
)

// String names the change for the log.
func (c NodeChange) String() string {
	return [...]string{"", "joined", "fell silent", "heard again", "left"}[c]
}

// table is what is known of the other nodes.
type table struct {
	p      *Peers
	silent atomic.Int64 // how many are

	mu      sync.RWMutex
	members map[hub.NodeID]*member
	sorted  []*member     // by ID; replaced, never changed
	newest  time.Time     // when the last one was added
	news    chan struct{} // has an element after something that Join waits for
	swept   time.Time
	// departed said goodbye at that time, or are dead for certain. What they said before may come later, on another
	// subscription; an ID is never used again.
	departed map[hub.NodeID]time.Time
}

// member is another node.
type member struct {
	id      hub.NodeID
	to      string // the subject that it alone hears
	budget  budget // of answers in pieces
	silent  atomic.Bool
	left    atomic.Bool // no longer in the table
	goodbye atomic.Bool // because it said so

	// guarded by table.mu
	info    hub.Node
	number  uint64 // of info, among all that the node has said of itself
	heard   time.Time
	mute    time.Duration // unheard while our own connection worked
	greets  bool          // it has made us known on its side and is heard by us
	greeted bool          // we have made it known on ours and are heard by it, or it did not answer

	echoed   chan struct{} // closed at its first echo
	echoOnce sync.Once
}

func (t *table) init(p *Peers) {
	t.p, t.members, t.news = p, make(map[hub.NodeID]*member), make(chan struct{}, 1)
	t.departed = make(map[hub.NodeID]time.Time)
}

// member answers nil when the node is unknown.
func (t *table) member(id hub.NodeID) *member {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.members[id]
}

func (t *table) memberOf(id []byte) *member { return t.member(hub.NodeID(view(id))) }

// others answers all, by ID; not to be changed.
func (t *table) others() []*member {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.sorted
}

// change is one for Peers.OnChange, which is called when the table is not locked.
type change struct {
	m    *member
	what NodeChange
}

// hear takes what a node says of itself, and which of its descriptions that is; 0: it has not counted.
func (t *table) hear(info hub.Node, number uint64, now time.Time) (m *member) {
	var changes []change
	t.mu.Lock()
	m = t.members[info.ID]
	switch {
	case !t.departed[info.ID].IsZero():
		t.mu.Unlock()
		return nil
	case m == nil:
		if m = t.addLocked(info, now, &changes); m == nil {
			t.mu.Unlock()
			t.p.counts.refused.Add(1)
			return nil
		}
	case m.silent.Swap(false):
		t.silent.Add(-1)
		changes = append(changes, change{m, NodeHeardAgain})
	}
	if number == 0 || number > m.number {
		m.info, m.number = info, number
	}
	m.heard, m.mute = now, 0
	t.mu.Unlock()
	t.p.tell(changes)
	return m
}

// addLocked answers nil when there is no room, or the node is the former life of one that is known.
func (t *table) addLocked(info hub.Node, now time.Time, changes *[]change) *member {
	for _, other := range t.sorted {
		// An embedded server's directory is locked, so the older process of that name is dead.
		if info.ServerName == "" || other.info.ServerName != info.ServerName {
			continue
		}
		if info.StartTime.Before(other.info.StartTime) {
			return nil
		}
		t.removeLocked(other, changes)
	}
	if len(t.members) >= maxNodes {
		return nil
	}
	m := &member{
		id: info.ID, to: subjectTo + string(info.ID), info: info, echoed: make(chan struct{}),
		budget: budget{limit: maxAssemblingNode, parent: &t.p.calls.budget},
	}
	t.members[m.id] = m
	t.newest = now
	t.sortLocked()
	*changes = append(*changes, change{m, NodeJoined})
	return m
}

func (t *table) removeLocked(m *member, changes *[]change) {
	delete(t.members, m.id)
	m.left.Store(true)
	if m.silent.Load() {
		t.silent.Add(-1)
	}
	t.sortLocked()
	*changes = append(*changes, change{m, NodeLeft})
}

func (t *table) sortLocked() {
	t.sorted = make([]*member, 0, len(t.members))
	for _, m := range t.members {
		t.sorted = append(t.sorted, m)
	}
	slices.SortFunc(t.sorted, func(a, b *member) int { return strings.Compare(string(a.id), string(b.id)) })
}

// farewell removes a node that said goodbye.
func (t *table) farewell(id []byte) {
	var changes []change
	t.mu.Lock()
	if len(t.departed) < maxNodes {
		t.departed[hub.NodeID(id)] = time.Now()
	}
	if m := t.members[hub.NodeID(view(id))]; m != nil {
		m.goodbye.Store(true)
		t.removeLocked(m, &changes)
	}
	t.mu.Unlock()
	t.p.tell(changes)
}

// sweep finds who is silent, and removes who has been for long. That counts only while our own
// connection works: else it is we who hear nothing.
func (t *table) sweep(now time.Time) {
	var changes []change
	works := t.p.works(now)
	t.mu.Lock()
	passed := now.Sub(t.swept)
	if t.swept.IsZero() {
		passed = 0
	}
	t.swept = now
	maps.DeleteFunc(t.departed, func(_ hub.NodeID, at time.Time) bool { return now.Sub(at) > t.p.config.RemoveAfter })
	for _, m := range t.sorted {
		if now.Sub(m.heard) >= t.p.config.SilentAfter && !m.silent.Swap(true) {
			t.silent.Add(1)
			changes = append(changes, change{m, NodeFellSilent})
		}
		if works {
			m.mute += passed
		}
		if m.mute >= t.p.config.RemoveAfter {
			t.p.counts.removed.Add(1)
			t.removeLocked(m, &changes)
		}
	}
	t.mu.Unlock()
	t.p.tell(changes)
}

// tell acts on changes and tells the application.
func (p *Peers) tell(changes []change) {
	for _, c := range changes {
		log := p.logger.Info
		if c.what == NodeFellSilent {
			log = p.logger.Warn
		}
		log("node "+c.what.String(), "node", string(c.m.id))
		switch c.what {
		case NodeJoined:
			p.greet(c.m)
		case NodeFellSilent, NodeLeft:
			p.callers.drop(c.m.id)
		case NodeHeardAgain:
		}
		if p.onChange != nil {
			p.onChange(p.table.node(c.m), c.what)
		}
	}
	if len(changes) > 0 {
		p.table.stir()
	}
}

// stir wakes Join.
func (t *table) stir() {
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// node is a member as it is told to others.
func (t *table) node(m *member) hub.Node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return m.nodeLocked()
}

func (m *member) nodeLocked() hub.Node {
	n := m.info
	n.SeenTime = m.heard
	if m.silent.Load() {
		n.State = hub.NodeSilent
	}
	return n
}

// Nodes answers all that are known, this one included, by ID.
func (p *Peers) Nodes() []hub.Node {
	own := p.own()
	p.table.mu.RLock()
	defer p.table.mu.RUnlock()
	all := make([]hub.Node, 0, len(p.table.sorted)+1)
	for _, m := range p.table.sorted {
		all = append(all, m.nodeLocked())
	}
	if own.ID != "" {
		i, _ := slices.BinarySearchFunc(all, own.ID, func(n hub.Node, id hub.NodeID) int {
			return strings.Compare(string(n.ID), string(id))
		})
		all = slices.Insert(all, i, own)
	}
	return all
}

// Node answers one that is known; it may be this one.
func (p *Peers) Node(id hub.NodeID) (hub.Node, bool) {
	if own := p.own(); own.ID == id && id != "" {
		return own, true
	}
	m := p.table.member(id)
	if m == nil {
		return hub.Node{}, false
	}
	return p.table.node(m), true
}

// own is this node; the zero value before Join.
func (p *Peers) own() hub.Node {
	if !p.joinBegan.Load() {
		return hub.Node{}
	}
	n := p.describe()
	n.SeenTime = time.Now()
	return n
}

// OnJoin sets what is called for each node that is new in the table, before Join. It may block, for as long
// as its context lives, and begin calls; only then does the other node learn that it is known here. It is
// called again for a node that was removed and is back.
func (p *Peers) OnJoin(f func(context.Context, hub.Node)) { p.onJoin = f }

// OnChange sets what is told of every change in the table, before Join. It must not block.
func (p *Peers) OnChange(f func(hub.Node, NodeChange)) { p.onChange = f }

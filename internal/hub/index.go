package hub

import (
	"hash/maphash"
	"strings"
	"sync"
)

// index finds connections by a name that several can have: their group, or their user. Locks are held
// for accesses to memory only. Conn.mu is taken before a lock of the index, never while one is held.
type index struct {
	seed   maphash.Seed
	shards [shardCount]indexShard
}

type indexShard struct {
	mu      sync.RWMutex
	sets    map[setName]*set // none is empty
	members int              // of all sets together
}

type setName struct{ namespace, name string }

// set is a slice, so that visiting the members costs no more than copying it.
type set struct {
	name    setName  // static
	members []member // in no order; guarded by the lock of the shard
}

type member struct {
	conn *Conn
	in   *membership
}

// membership is where a connection stands in a set: it leaves without a search.
type membership struct {
	set *set // static
	at  int  // in set.members; guarded by the lock of the set's shard
}

func (m *membership) name() string { return m.set.name.name }

func (x *index) shard(n setName) *indexShard {
	return &x.shards[maphash.String(x.seed, n.name)%shardCount]
}

// add puts a connection into a set, in which it must not be yet, and answers whether it is the first there.
func (x *index) add(c *Conn, n setName) (m *membership, first bool) {
	s := x.shard(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sets == nil {
		s.sets = make(map[setName]*set)
	}
	all := s.sets[n]
	if all == nil {
		n.name = strings.Clone(n.name) // it may be a part of a whole request
		all = &set{name: n}
		s.sets[n] = all
	}
	m = &membership{set: all, at: len(all.members)}
	all.members = append(all.members, member{c, m})
	s.members++
	return m, m.at == 0
}

// remove ends a membership, once, and answers whether it was the last of its set.
func (x *index) remove(m *membership) (last bool) {
	s := x.shard(m.set.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	members := m.set.members
	end := len(members) - 1
	members[m.at] = members[end]
	members[m.at].in.at = m.at
	members[end] = member{}
	m.set.members = members[:end]
	s.members--
	if end == 0 {
		delete(s.sets, m.set.name)
	}
	return end == 0
}

// has reports whether a set has members.
func (x *index) has(n setName) bool {
	s := x.shard(n)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sets[n] != nil
}

// each visits the members that a set has now, without a lock.
func (x *index) each(n setName, visit func(*Conn)) {
	batch := takeBatch()
	defer batch.release()
	s := x.shard(n)
	s.mu.RLock()
	if all := s.sets[n]; all != nil {
		for _, m := range all.members {
			batch.conns = append(batch.conns, m.conn)
		}
	}
	s.mu.RUnlock()
	for _, c := range batch.conns {
		visit(c)
	}
}

// names visits the names of all sets with their sizes, under a lock.
func (x *index) names(visit func(n setName, members int)) {
	for i := range x.shards {
		x.shards[i].names(visit)
	}
}

func (s *indexShard) names(visit func(n setName, members int)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for n, all := range s.sets {
		visit(n, len(all.members))
	}
}

// stats answers how many sets there are and how many members they have together.
func (x *index) stats() (sets, members uint64) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.RLock()
		sets += uint64(len(s.sets))
		members += uint64(s.members)
		s.mu.RUnlock()
	}
	return sets, members
}

// batch holds connections that were copied out of a lock.
type batch struct{ conns []*Conn }

var batches = sync.Pool{New: func() any { return new(batch) }}

func takeBatch() *batch { return batches.Get().(*batch) }

// reset forgets the connections, which must not live on in the pool, and keeps the room for them.
func (b *batch) reset() {
	clear(b.conns)
	b.conns = b.conns[:0]
}

func (b *batch) release() {
	b.reset()
	batches.Put(b)
}

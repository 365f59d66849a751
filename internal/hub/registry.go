package hub

import "sync"

// shardCount spreads the registry's locks. A power of two.
const shardCount = 64

// registry finds a connection by the random part of its ID. Locks are held for a map access only.
type registry struct {
	shards [shardCount]shard
}

type shard struct {
	mu      sync.RWMutex
	conns   map[key]*Conn
	pending map[key]*Pending // those announced; a connection may be in both for a moment
}

func (r *registry) shard(k key) *shard { return &r.shards[k[0]%shardCount] }

func (r *registry) add(c *Conn) {
	s := r.shard(c.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[key]*Conn)
	}
	s.conns[c.key] = c
}

// find answers the connection, or that it is being admitted; both nil: neither.
func (r *registry) find(k key) (*Conn, *Pending) {
	s := r.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.pending) > 0 {
		if p := s.pending[k]; p != nil {
			return nil, p
		}
	}
	return s.conns[k], nil
}

// announce is false when a shard has its part of all that may be pending.
func (r *registry) announce(p *Pending) bool {
	s := r.shard(p.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) >= maxPending/shardCount {
		return false
	}
	if s.pending == nil {
		s.pending = make(map[key]*Pending)
	}
	s.pending[p.key] = p
	return true
}

func (r *registry) renounce(p *Pending) {
	s := r.shard(p.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, p.key)
}

func (r *registry) remove(c *Conn) {
	s := r.shard(c.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.key)
}

func (r *registry) len() (n int) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		n += len(s.conns)
		s.mu.RUnlock()
	}
	return n
}

// each copies the connections shard by shard, so that no lock is held while visit runs. Connections
// that come or go meanwhile may be missed.
func (r *registry) each(visit func(*Conn)) {
	batch := takeBatch()
	defer batch.release()
	for i := range r.shards {
		s := &r.shards[i]
		batch.reset()
		s.mu.RLock()
		for _, c := range s.conns {
			batch.conns = append(batch.conns, c)
		}
		s.mu.RUnlock()
		for _, c := range batch.conns {
			visit(c)
		}
	}
}

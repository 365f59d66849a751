package bus

// Sizes of a ring, in entries; powers of two. One larger than keepRing, about 256 KiB, is given back when it is empty.
const (
	minRing  = 1 << 6
	keepRing = 1 << 11
)

// ring is a queue of entries in memory that is used again. Its indexes only grow: head ≤ tail.
type ring struct {
	entries []entry // a power of two of them; index i is entries[i & (len-1)]
	head    uint64  // the oldest
	tail    uint64  // the next to be put
}

func (r *ring) len() int { return int(r.tail - r.head) }

func (r *ring) at(i uint64) *entry { return &r.entries[i&uint64(len(r.entries)-1)] }

func (r *ring) first() *entry { return r.at(r.head) }

// push answers a place for one entry more, to be written over.
func (r *ring) push() *entry {
	if r.len() == len(r.entries) {
		r.resize(max(minRing, 2*len(r.entries)))
	}
	r.tail++
	return r.at(r.tail - 1)
}

// pop forgets the oldest entry.
func (r *ring) pop() {
	*r.first() = entry{}
	if r.head++; r.head == r.tail && len(r.entries) > keepRing {
		r.entries = nil
	}
}

func (r *ring) resize(n int) {
	entries := make([]entry, n)
	for i := r.head; i < r.tail; i++ {
		entries[i&uint64(n-1)] = *r.at(i)
	}
	r.entries = entries
}

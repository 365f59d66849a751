package bus

// Sizes of the memory in which events wait.
const (
	chunkSize = 64 << 10
	// maxInline bounds what is put into a chunk: a larger payload gets memory of its own, so that the
	// unused end of a chunk stays small.
	maxInline = 16 << 10
	// spareChunks bounds the chunks kept for reuse, 1 MiB; after a burst the rest is given back.
	spareChunks = 16
)

// arena hands out memory in the order in which it is given back, so that a message costs no
// allocation of its own. It is guarded by the outbox's mutex.
type arena struct {
	current *chunk
	spare   []*chunk
}

// chunk is a piece of memory with the number of its parts in use.
type chunk struct {
	buf   []byte
	parts int
}

// take answers n bytes, n ≤ chunkSize, and the chunk to give them back to.
func (a *arena) take(n int) ([]byte, *chunk) {
	c := a.current
	if c == nil || cap(c.buf)-len(c.buf) < n {
		c = a.fresh()
		a.current = c
	}
	begin := len(c.buf)
	c.buf = c.buf[:begin+n]
	c.parts++
	return c.buf[begin : begin+n : begin+n], c
}

func (a *arena) fresh() *chunk {
	if n := len(a.spare); n > 0 {
		c := a.spare[n-1]
		a.spare = a.spare[:n-1]
		return c
	}
	return &chunk{buf: make([]byte, 0, chunkSize)}
}

// give takes one part of a chunk back; the last part makes the chunk usable again.
func (a *arena) give(c *chunk) {
	c.parts--
	if c.parts > 0 {
		return
	}
	c.buf = c.buf[:0]
	if c != a.current && len(a.spare) < spareChunks {
		a.spare = append(a.spare, c)
	}
}

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

// arena hands out memory, so that a message costs no allocation of its own. Who fills a chunk takes parts of it in the
// order in which they are given back. It is guarded by the outbox's mutex.
type arena struct {
	spare []*chunk
}

// chunk is a piece of memory with the number of its parts in use.
type chunk struct {
	buf     []byte
	parts   int
	filling bool
}

// take answers n bytes, n ≤ chunkSize, of the chunk that is being filled, or of a new one, and the chunk to give them
// back to.
func (a *arena) take(filling **chunk, n int) ([]byte, *chunk) {
	c := *filling
	if c == nil || cap(c.buf)-len(c.buf) < n {
		if c != nil {
			c.filling = false
		}
		c = a.fresh()
		c.filling = true
		*filling = c
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
	if !c.filling && len(a.spare) < spareChunks {
		a.spare = append(a.spare, c)
	}
}

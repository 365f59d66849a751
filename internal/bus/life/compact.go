package life

import "context"

// A record holds at most what its open connections take, five times, and this, in bytes; and this many
// messages, most of them renewals of an idle node.
const (
	compactBytes    = 1 << 20
	compactMessages = 8 << 10
	compactFactor   = 4
)

// compactor keeps the record small: from time to time every open connection is recorded once more, and
// what is older is forgotten.
type compactor struct {
	bytes, messages int    // written since the last compaction began
	live            int    // bytes that the open connections took then
	rewriting       bool   // the open connections are being recorded once more
	until           uint64 // number of the last message of that
	from            uint64 // sequence of the first; what is before is to be forgotten
}

func (c *compactor) wrote(seq uint64, size int) {
	if c.rewriting && c.from == 0 {
		c.from = seq
	}
	c.bytes += size
	c.messages++
}

func (c *compactor) due() bool {
	return !c.rewriting && (c.bytes > compactBytes+compactFactor*c.live || c.messages > compactMessages)
}

// rewrite begins to record every open connection once more.
func (r *Record) rewrite() {
	r.compactor = compactor{rewriting: true, live: r.compactor.live}
	r.rewind(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.compactor.until = r.number + uint64(len(r.queue))
}

// compact is called after each message.
func (r *Record) compact(ctx context.Context) {
	c := &r.compactor
	if c.due() {
		r.rewrite()
	}
	// Closes that the record itself does not say to be published must stay: claimers that read it before
	// and after would count differently.
	if !c.rewriting || c.from == 0 || r.number < c.until || r.marked+1 < c.from {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	if err := r.log.Purge(ctx, r.config.Node, c.from); err != nil {
		return // the next message tries again
	}
	c.rewriting, c.live = false, c.bytes
	r.count(func(st *Stats) { st.Compactions++; st.Bytes = uint64(c.bytes) })
}

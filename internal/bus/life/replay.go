package life

import (
	"cmp"
	"slices"
	"time"
)

// Replay is what a record says about its node, read from the first message to the last.
type Replay struct {
	// Instance is what the owner said of itself.
	Instance string
	// Open are the connections without a close, by key.
	Open []Open
	// Close are the recorded closes that were not said to be published, in their order.
	Close []Close
	// Claimed is the time of the first claim: that of every close which claimers make; zero: nobody claims it.
	Claimed time.Time
	// Claimer of the last claim.
	Claimer string
	// Done is how many of the closes (first Close, then one for each of Open) claimers have published.
	Done uint64
}

// reader makes a Replay of one message after the other.
type reader struct {
	replay Replay
	open   map[string]Open
	closes []recorded
}

// recorded is a close and the sequence of its message.
type recorded struct {
	Close
	seq uint64
}

func newReader() *reader { return &reader{open: make(map[string]Open)} }

func (r *reader) read(m Message) error {
	b, err := readBatch(m.Data)
	if err != nil {
		return err
	}
	if b.claim != "" {
		if r.replay.Claimed.IsZero() {
			r.replay.Claimed = m.Time
		}
		r.replay.Claimer, r.replay.Done = b.claim, max(r.replay.Done, b.done)
		return nil
	}
	r.replay.Instance = b.instance
	// A compaction may have forgotten the open of a close, and never the close of an open.
	for _, o := range b.opens {
		r.open[o.Key] = o
	}
	for _, c := range b.closes {
		delete(r.open, c.Key)
		r.closes = append(r.closes, recorded{c, m.Seq})
	}
	r.closes = slices.DeleteFunc(r.closes, func(c recorded) bool { return c.seq <= b.published })
	return nil
}

func (r *reader) result() Replay {
	for _, c := range r.closes {
		r.replay.Close = append(r.replay.Close, c.Close)
	}
	for _, o := range r.open {
		r.replay.Open = append(r.replay.Open, o)
	}
	slices.SortFunc(r.replay.Open, func(a, b Open) int { return cmp.Compare(a.Key, b.Key) })
	return r.replay
}

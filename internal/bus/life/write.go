package life

import (
	"context"
	"errors"
	"time"
)

// retryPause is the time between two attempts to append, and logRetries how many pass between two lines of log.
const (
	retryPause = 100 * time.Millisecond
	logRetries = 16
)

// progress is the sequence up to which every close was published.
func (r *Record) progress() uint64 {
	confirmed := r.events.Confirmed()
	n := 0
	for n < len(r.released) && r.released[n].taken <= confirmed {
		r.published = r.released[n].seq
		n++
	}
	r.released = r.released[n:]
	return r.published
}

// write appends until the log has taken the message, the node is claimed, or ctx ends.
func (r *Record) write(ctx context.Context, m *message) error {
	r.fit()
	r.number++
	mark := r.encode(m)
	first, retries := time.Now(), 0
	for {
		sent := time.Now()
		seq, err := r.append(ctx)
		if c, ok := errors.AsType[*Conflict](err); ok {
			sent = first // any of the attempts may be the one that was taken
			seq, err = c.Last, r.examine(ctx, c.Last)
		}
		if err == nil && since(sent, time.Now()) >= r.config.Lease {
			err = r.unclaimed(ctx, seq) // it may have come after a claim whose sequence we expected
		}
		switch {
		case err == nil:
			r.acknowledged(seq, mark, sent)
			return nil
		case errors.Is(err, errClaimed):
			return err
		case errors.Is(err, errAnew):
			mark = r.encode(m)
			continue
		}
		r.count(func(st *Stats) { st.Retries++ })
		if retries++; retries%logRetries == 0 {
			r.config.Logger.Warn("the life record cannot be written; trying again", "error", err)
		}
		if !pause(ctx, retryPause) {
			return err
		}
	}
}

// encode makes the message of its entries and of what is published by now.
func (r *Record) encode(m *message) (mark uint64) {
	mark = r.progress()
	r.buf = appendHead(r.buf[:0], r.number, mark, r.config.Instance)
	r.buf = append(r.buf, m.entries...)
	return mark
}

func (r *Record) append(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, min(attempt, r.config.Lease/2))
	defer cancel()
	if r.last > 0 && !r.lease.valid() {
		if err := r.recall(ctx); err != nil {
			return 0, err
		}
	}
	return r.log.Append(ctx, r.config.Node, r.last, r.buf)
}

func (r *Record) acknowledged(seq, mark uint64, sent time.Time) {
	r.last, r.marked, r.stale = seq, mark, time.Time{}
	r.compactor.wrote(seq, len(r.buf))
	r.lease.renew(sent)
	r.count(func(st *Stats) { st.Appends++; st.Bytes += uint64(len(r.buf)) })
}

func (r *Record) count(f func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.stats)
}

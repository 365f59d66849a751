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
	r.number++
	mark := r.progress()
	r.buf = appendHead(r.buf[:0], r.number, mark, r.config.Instance)
	r.buf = append(r.buf, m.entries...)
	first, retries := time.Now(), 0
	for {
		sent := time.Now()
		seq, err := r.append(ctx)
		if c, ok := errors.AsType[*Conflict](err); ok {
			sent = first // any of the attempts may be the one that was taken
			seq, err = c.Last, r.examine(ctx, c.Last)
		}
		switch {
		case err == nil:
			r.acknowledged(seq, mark, sent)
			return nil
		case errors.Is(err, errClaimed):
			return err
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

func (r *Record) append(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, min(attempt, r.config.Lease/2))
	defer cancel()
	return r.log.Append(ctx, r.config.Node, r.last, r.buf)
}

// errStale: the log answered from before what it had already acknowledged.
var errStale = errors.New("the log is behind")

// errAnew: the message is to be written again, as the first of a record that begins anew.
var errAnew = errors.New("the life record was lost and begins anew")

// anew begins the record again after the log was lost, with every open connection. Nobody can have claimed this
// node in the new one before it wrote to it.
func (r *Record) anew(err error) error {
	if err != nil {
		return err
	}
	r.config.Logger.Error("the life records were lost with their NATS servers; beginning anew: nodes that died before have no closes")
	r.last, r.empty, r.compactor = 0, time.Time{}, compactor{}
	r.rewind(r)
	return errAnew
}

// examine finds out who wrote the message that we did not expect: nil when it was we, in an attempt that
// seemed to fail. A server that has just begun to lead can be behind for a moment, so only a claim, or a record
// that stays empty for a lease, means that we are claimed.
func (r *Record) examine(ctx context.Context, seq uint64) error {
	if seq == 0 {
		if lost, err := r.log.Lost(ctx); err != nil || lost {
			return r.anew(err)
		}
		if r.empty.IsZero() {
			r.empty = time.Now()
		}
		if since(r.empty, time.Now()) >= r.config.Lease {
			return errClaimed // and dealt with
		}
		return errStale
	}
	r.empty = time.Time{}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	m, err := r.log.Get(ctx, r.config.Node, seq)
	if err != nil {
		return err
	}
	b, err := readBatch(m.Data)
	switch {
	case err != nil || b.claim != "":
		return errClaimed
	case b.number != r.number:
		return errStale
	}
	return nil
}

func (r *Record) acknowledged(seq, mark uint64, sent time.Time) {
	r.last, r.marked, r.empty = seq, mark, time.Time{}
	r.compactor.wrote(seq, len(r.buf))
	r.lease.renew(sent)
	r.count(func(st *Stats) { st.Appends++; st.Bytes += uint64(len(r.buf)) })
}

func (r *Record) count(f func(*Stats)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.stats)
}

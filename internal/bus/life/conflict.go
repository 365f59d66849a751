package life

import (
	"context"
	"errors"
	"time"
)

// errStale: the log answered from before what it had already acknowledged.
var errStale = errors.New("the log is behind")

// errAnew: the message is to be written again, behind another one than was expected.
var errAnew = errors.New("the record is written anew")

// settle is how long a server that has just begun to lead may answer from before what was acknowledged.
const settle = 500 * time.Millisecond

// examine finds out who wrote the message that we did not expect: nil when it was we, in an attempt that
// seemed to fail.
func (r *Record) examine(ctx context.Context, seq uint64) error {
	if seq == 0 {
		if lost, err := r.log.Lost(ctx); err != nil || lost {
			return r.lost(err)
		}
		return r.behind(0)
	}
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
	case b.number == r.number:
		return nil
	case seq > r.last: // ours, from before the log was behind
		r.last = seq
		return errAnew
	}
	return r.behind(seq)
}

// behind deals with a log whose last message of ours is older than what it had acknowledged. Either its server
// has just begun to lead and will soon know better, or it came back with an older state. Claims may be among
// what it has lost, but none that was made within our lease: so while that is valid, the record is written
// again. When it is over nobody can tell, and after another lease the node takes itself for claimed; so it does
// when nothing of it is left, as an hour after a claim.
func (r *Record) behind(seq uint64) error {
	if r.stale.IsZero() {
		r.stale = time.Now()
	}
	age := since(r.stale, time.Now())
	switch {
	case seq > 0 && age >= settle && r.lease.valid():
		r.config.Logger.Error("the NATS server came back with an older state of the life record: writing it again; " +
			"nodes that died meanwhile may lack closes")
		r.anew(seq)
		return errAnew
	case age >= r.config.Lease:
		r.config.Logger.Error("the life record is older than what was confirmed, or gone: this node may be claimed")
		return errClaimed
	}
	return errStale
}

// lost begins the record again after the log was lost, also when the lease is over: nobody can have claimed this
// node in the new log before it wrote to it.
func (r *Record) lost(err error) error {
	if err != nil {
		return err
	}
	r.config.Logger.Error("the life records were lost with their NATS servers; beginning anew: nodes that died before have no closes")
	r.anew(0)
	return errAnew
}

// anew writes every open connection once more, behind that sequence, and then forgets what is older. Closes
// that the log had behind it may not be in it any more.
func (r *Record) anew(last uint64) {
	r.last, r.stale, r.published = last, time.Time{}, min(r.published, last)
	for i := range r.released {
		r.released[i].seq = min(r.released[i].seq, last)
	}
	r.rewrite()
}

// recall looks whether the message that is expected to be the last is still ours. A log that came back with an
// older state uses its sequences again, and while our lease is over a claim may get that very one.
func (r *Record) recall(ctx context.Context) error {
	m, err := r.log.Get(ctx, r.config.Node, r.last)
	if errors.Is(err, ErrNone) {
		return r.elsewhere(ctx)
	}
	if err != nil {
		return err
	}
	if b, err := readBatch(m.Data); err != nil || b.claim != "" {
		return errClaimed
	}
	return nil
}

// elsewhere answers a Conflict with the last message that there is.
func (r *Record) elsewhere(ctx context.Context) error {
	m, err := r.log.Last(ctx, r.config.Node)
	if err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	return &Conflict{Last: m.Seq}
}

// unclaimed fails if there is a claim in our record.
func (r *Record) unclaimed(ctx context.Context, upTo uint64) error {
	return r.log.Read(ctx, r.config.Node, upTo, func(m Message) error {
		if b, err := readBatch(m.Data); err != nil || b.claim != "" {
			return errClaimed
		}
		return nil
	})
}

package bus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var errAnswered = errors.New("call between nodes: the answer has ended")

// Answer is how a call is answered: any number of parts, and a last one. Its methods may be called by
// several goroutines.
type Answer struct {
	p      *Peers
	c      *caller
	id     uint64
	ctx    context.Context
	cancel context.CancelFunc
	old    bool // guarded by caller.mu

	// mu is held while a part leaves.
	mu    sync.Mutex
	ended bool

	next    atomic.Uint32 // number of the next message, set when the one before has left
	blocked atomic.Bool   // Send waits for credit
	dead    atomic.Bool   // nobody waits for the answer

	flow  sync.Mutex
	sent  uint64 // bytes of parts
	taken uint64
	wake  chan struct{} // closed at the next credit; nil: nobody waits
}

func (p *Peers) newAnswer(c *caller, e *envelope) *Answer {
	a := &Answer{p: p, c: c, id: e.call}
	const longest = uint64(1<<63-1) / uint64(time.Microsecond)
	if e.value > 0 && e.value < longest {
		a.ctx, a.cancel = context.WithTimeout(p.ctx, time.Duration(e.value)*time.Microsecond)
	} else {
		a.ctx, a.cancel = context.WithCancel(p.ctx)
	}
	return a
}

// Send sends a part that is not the last. It waits while the caller has not taken 1 MiB of the parts before.
// The part may be used again when it has returned. It fails with the context's error when that has ended,
// which also happens when NATS is away.
func (a *Answer) Send(part []byte) error {
	if len(part) > maxWhole {
		return errTooLarge
	}
	if err := a.await(len(part)); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return errAnswered
	}
	if err := a.publish(part, 0); err != nil {
		// What was lost the caller cannot do without. It learns so from our silence.
		a.unwanted()
		return err
	}
	return a.ctx.Err()
}

// End sends the last part. It does not wait for the caller.
func (a *Answer) End(part []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return
	}
	a.ended = true
	switch {
	case a.dead.Load():
	case a.p.ctx.Err() != nil:
		// What a handler says that was interrupted by our end is no answer. The caller learns it from our silence.
	case len(part) > maxWhole:
		a.p.counts.refused.Add(1)
		_ = a.p.publish(a.c.answers, 0, &envelope{kind: kindFail, call: a.id})
	default:
		_ = a.publish(part, flagLast)
	}
	a.c.remove(a.id)
	a.cancel()
}

// await waits for room in the window and takes it.
func (a *Answer) await(n int) error {
	for {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		wake := a.take(n)
		if wake == nil {
			return nil
		}
		select {
		case <-wake:
		case <-a.ctx.Done():
			return a.ctx.Err()
		}
	}
}

func (a *Answer) take(n int) (wake chan struct{}) {
	a.flow.Lock()
	defer a.flow.Unlock()
	if a.sent-a.taken < uint64(a.p.config.Window) {
		a.sent += uint64(n)
		return nil
	}
	if a.wake == nil {
		a.wake = make(chan struct{})
	}
	a.blocked.Store(true)
	return a.wake
}

// credited notes how much the caller has taken in all.
func (a *Answer) credited(total uint64) {
	a.flow.Lock()
	defer a.flow.Unlock()
	if total <= a.taken || total > a.sent {
		return // an old one, or nonsense
	}
	a.taken = total
	a.blocked.Store(false)
	if a.wake != nil {
		close(a.wake)
		a.wake = nil
	}
}

// unwanted ends the context because nobody waits for the answer.
func (a *Answer) unwanted() {
	a.dead.Store(true)
	a.cancel()
}

func (a *Answer) publish(part []byte, flags uint8) error {
	e := envelope{
		kind: kindPart, flags: flags, call: a.id, seq: a.next.Load(),
		size: uint32(len(part)),
	}
	return pieces(part, a.p.chunkSize(), func(piece []byte, _ bool) error {
		e.body = piece
		err := a.p.publish(a.c.answers, 0, &e)
		e.seq++
		a.next.Store(e.seq)
		return err
	})
}

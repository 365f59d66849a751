package life

import (
	"sync"
	"sync/atomic"
	"time"
)

// lease is the time for which others must not hold this node dead. It counts from before an append was
// sent: the others count from after they saw it.
type lease struct {
	length  time.Duration
	changed func(frozen bool)
	frozen  atomic.Bool

	mu      sync.Mutex
	from    time.Time
	timer   *time.Timer
	ended   bool // nobody is told any more
	freezes uint64
}

func (l *lease) begin(c Config) {
	l.length, l.changed = c.Lease, c.Frozen
	l.from = time.Now()
	l.timer = time.AfterFunc(l.length, l.expire)
}

// left is what is left of it; also a process that was stopped, and whose timer has not run yet, learns the
// truth from it.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.length - since(l.from, time.Now())
}

// renew says that an append which was sent at that time was accepted.
func (l *lease) renew(sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.from = sent
	left := l.length - since(sent, time.Now())
	if left <= 0 { // the answer took longer than the lease
		return
	}
	l.timer.Reset(left)
	if l.frozen.CompareAndSwap(true, false) {
		l.changed(false)
	}
}

// valid reports whether something is left. Who asks before the timer has run makes the lease run out.
func (l *lease) valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen.Load() {
		return false
	}
	if l.length-since(l.from, time.Now()) > 0 {
		return true
	}
	l.freezeLocked()
	return false
}

func (l *lease) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.length - since(l.from, time.Now())
	switch {
	case l.ended || l.frozen.Load():
	case left > 0: // renewed in this moment
		l.timer.Reset(left)
	default:
		l.freezeLocked()
	}
}

func (l *lease) freezeLocked() {
	l.frozen.Store(true)
	l.freezes++
	l.changed(true)
}

// revoke ends it for good.
func (l *lease) revoke() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.timer.Stop()
	if l.frozen.CompareAndSwap(false, true) {
		l.changed(true)
	}
}

// stop keeps everything as it is from now on.
func (l *lease) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.timer.Stop()
}

func (l *lease) count() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.freezes
}

package life

import (
	"context"
	"errors"
	"sync"
	"time"
)

// maxMessage bounds the entries of one message, where the log does not take less: large enough that its overhead does
// not count.
const maxMessage = 128 << 10

// errClaimed: others hold this node dead.
var errClaimed = errors.New("this node is claimed")

// Events tells a Record what became of the events that it released.
type Events interface {
	// Taken counts the events that were given to the bus.
	Taken() uint64
	// Confirmed is how many of them the bus has confirmed, in the order in which they were given.
	Confirmed() uint64
}

// Record writes the record of this node: batches of what opens and ends, one write at a time, so that
// what happens during a write goes into the next one together.
type Record struct {
	// static
	log    Log
	config Config
	events Events
	rewind func(*Record)
	lease  lease
	wake   chan struct{} // has an element when there may be something to write
	done   chan struct{}
	cancel context.CancelFunc

	mu      sync.Mutex
	queue   []*message // to be written; what is on its way is not in it
	spare   *message
	waiting int // entries that are not acknowledged
	most    int // bytes of entries in one message
	entry   []byte
	stats   Stats

	// owned by the writer
	number    uint64 // of the last batch
	last      uint64 // sequence of the last message
	released  []released
	published uint64    // closes in messages up to this sequence were published
	marked    uint64    // what the last message says of that
	stale     time.Time // since when the log answers from before what it acknowledged; zero: it does not
	compactor compactor
	buf       []byte
}

// message is what one append carries.
type message struct {
	entries []byte
	then    []func()
}

// released says how many of the bus's events were taken when those of the messages up to seq were.
type released struct{ seq, taken uint64 }

// Stats are totals since the start, and the present.
type Stats struct {
	Appends     uint64 // messages that the log took
	Retries     uint64 // attempts whose outcome was not known
	Waiting     int    // entries that are not acknowledged
	Compactions uint64
	Bytes       uint64 // in the record now, at most
	Freezes     uint64
	Frozen      bool
	Claimed     bool
	Left        time.Duration // of the lease; not above zero: it is over
}

// Start writes the first message, which makes the node known, and answers its Record. It tries until ctx
// ends. rewind is called on the Record's goroutine when its subject has grown: it must call Opened for
// every connection that was recorded and not given to Closed.
func Start(ctx context.Context, log Log, c Config, events Events, rewind func(*Record)) (*Record, error) {
	r := &Record{
		log: log, config: c.withDefaults(), events: events, rewind: rewind,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	r.lease.begin(r.config)
	if err := r.write(ctx, &message{}); err != nil {
		r.lease.stop()
		return nil, err
	}
	running, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go r.run(running)
	return r, nil
}

// Opened records a connection. then, unless nil, is called on the Record's goroutine once that is
// acknowledged: in the order of the calls, and never when the node is claimed before.
func (r *Record) Opened(o *Open, then func()) {
	r.mu.Lock()
	r.entry = appendOpen(r.entry[:0], o)
	r.addLocked(then)
	r.mu.Unlock()
	r.signal()
}

// Closed records the end of a connection. then as in Opened.
func (r *Record) Closed(c *Close, then func()) {
	r.mu.Lock()
	r.entry = appendClose(r.entry[:0], c)
	r.addLocked(then)
	r.mu.Unlock()
	r.signal()
}

// fit makes messages as large as the log takes them.
func (r *Record) fit() {
	most := r.log.MaxMessage() - sizeHead(r.config.Instance)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.most = min(maxMessage, most)
}

// roomLocked answers the message that r.entry goes into. An entry that is too large for any has one of its own.
func (r *Record) roomLocked() *message {
	if n := len(r.queue); n > 0 && len(r.queue[n-1].entries)+len(r.entry) <= r.most {
		return r.queue[n-1]
	}
	m := r.spare
	if r.spare = nil; m == nil {
		m = new(message)
	}
	r.queue = append(r.queue, m)
	return m
}

// addLocked adds r.entry to what is to be written.
func (r *Record) addLocked(then func()) {
	m := r.roomLocked()
	m.entries = append(m.entries, r.entry...)
	r.waiting++
	m.then = append(m.then, then)
}

func (r *Record) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Valid reports whether nobody can hold this node dead yet. It asks the clock: also a process that was
// stopped for a while must not act on what it knew before.
func (r *Record) Valid() bool { return r.lease.valid() }

// Stats answers all counters.
func (r *Record) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.stats
	st.Waiting, st.Freezes, st.Frozen, st.Left = r.waiting, r.lease.count(), r.lease.frozen.Load(), r.lease.left()
	return st
}

// Stop writes what is left, and when everything is published forgets the whole record: nobody has anything
// to find out about this node any more. When ctx ends before, the record stays for others to read; so it does
// when the lease is over and only the record keeps closes back, because what it says already is enough for
// others to publish one for each connection.
func (r *Record) Stop(ctx context.Context) error {
	defer r.lease.stop()
	for !r.clean() {
		if ctx.Err() != nil || r.stuck() {
			r.cancel()
			<-r.done
			return errors.New("life record: the last closes could not be recorded and published")
		}
		select {
		case <-ctx.Done():
		case <-r.done:
			return errClaimed
		case <-time.After(confirmPoll):
		}
	}
	r.cancel()
	<-r.done
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	return r.log.Purge(ctx, r.config.Node, r.last+1)
}

// confirmPoll is how often Stop looks whether the bus has confirmed the last events.
const confirmPoll = 2 * time.Millisecond

func (r *Record) clean() bool {
	r.mu.Lock()
	waiting := r.waiting
	r.mu.Unlock()
	return waiting == 0 && r.allConfirmed()
}

// stuck: a lease was not enough to write, and nothing else would be lost with the process.
func (r *Record) stuck() bool { return !r.lease.valid() && r.allConfirmed() }

// allConfirmed: the bus has everything that it was given.
func (r *Record) allConfirmed() bool { return r.events.Confirmed() == r.events.Taken() }

// run writes until ctx ends or the node is claimed.
func (r *Record) run(ctx context.Context) {
	defer close(r.done)
	renew := time.NewTimer(r.config.Renew)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			if r.idle() {
				continue
			}
		case <-renew.C:
		}
		for more := true; more; {
			m := r.take()
			if err := r.write(ctx, m); err != nil {
				r.ended(err)
				return
			}
			more = r.settle(m)
			r.compact(ctx)
		}
		renew.Reset(r.config.Renew)
	}
}

func (r *Record) ended(err error) {
	if !errors.Is(err, errClaimed) {
		return
	}
	r.mu.Lock()
	r.stats.Claimed = true
	r.mu.Unlock()
	r.lease.revoke()
	r.config.Logger.Error("other nodes hold this one dead and have published the closes of its connections")
	r.config.Claimed()
}

// idle: what woke the writer was written already.
func (r *Record) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) == 0
}

// take answers the next message; one without entries when there is nothing to say, which only renews.
func (r *Record) take() *message {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return &message{}
	}
	m := r.queue[0]
	r.queue[0] = nil
	r.queue = r.queue[1:]
	return m
}

// settle releases the events of a message that is acknowledged, and says whether there is another.
func (r *Record) settle(m *message) (more bool) {
	for _, then := range m.then {
		if then != nil {
			then()
		}
	}
	if len(m.then) > 0 {
		r.released = append(r.released, released{r.last, r.events.Taken()})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting -= len(m.then)
	clear(m.then)
	m.entries, m.then = m.entries[:0], m.then[:0]
	r.spare = m
	return len(r.queue) > 0
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

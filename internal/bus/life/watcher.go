package life

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Publisher publishes the closes of a node that is dead.
type Publisher interface {
	// PublishClosed returns nil when the bus has confirmed them all. They may be published again.
	PublishClosed(ctx context.Context, node hub.NodeID, closes []Lost) error
}

// Lost is one close that a claimer publishes: what the dead node recorded or, when it recorded none, what
// is known of a connection that was open.
type Lost struct {
	Recorded *Close // nil: the connection was open
	Open     Open
	Time     time.Time // of the end, as far as anybody knows: the first claim
}

// claimStep is how many closes are published before the claimer writes down how far it is.
const claimStep = 500

// Watcher looks after the records of other nodes, and claims those of nodes that are dead.
type Watcher struct {
	log     Log
	config  Config
	own     *Record
	publish Publisher
	seen    map[hub.NodeID]sighting
	epoch   uint64 // of the log, in which everything was seen
	// nodes that have records, as they were found at that time.
	nodes []hub.NodeID
	found time.Time

	mu    sync.Mutex
	stats WatcherStats
}

// sighting is the last message of a record, and when it was seen first. Sequences alone are not enough: a log that
// begins anew uses them again.
type sighting struct {
	seq      uint64
	stored   time.Time
	since    time.Time
	finished bool // it is the tombstone of a node that was dealt with
}

// tombstoneKept is how long the tombstone of a node stays for it to find, if it was only stopped.
const tombstoneKept = time.Hour

// WatcherStats are totals since the start.
type WatcherStats struct {
	Claims    uint64 // nodes that this one claimed
	Lost      uint64 // closes published with NODE_LOST
	Recorded  uint64 // closes published that the dead node had recorded
	Conflicts uint64 // claims that came too late
}

// NewWatcher makes a Watcher for the node whose Record is own; Run starts it.
func NewWatcher(log Log, c Config, own *Record, p Publisher) *Watcher {
	return &Watcher{log: log, config: c.withDefaults(), own: own, publish: p, seen: make(map[hub.NodeID]sighting)}
}

// Stats answers all counters.
func (w *Watcher) Stats() WatcherStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// lookEvery is the time between two looks at nodes that may be dead: it adds to the lease.
const lookEvery = 250 * time.Millisecond

// Run looks after the records of other nodes until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	for pause(ctx, lookEvery) {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.config.Logger.Warn("life records of other nodes cannot be read", "error", err)
		}
	}
}

// Recover publishes the closes of earlier processes of this instance, which are dead for sure. A cluster that starts
// at the same time answers late, or only the second time: Recover tries until ctx ends.
func (w *Watcher) Recover(ctx context.Context) error {
	if w.config.Instance == "" {
		return nil
	}
	for {
		err := w.recoverAll(ctx)
		if err == nil {
			return nil
		}
		if !pause(ctx, lookEvery) {
			return err
		}
		w.config.Logger.Warn("closes of an earlier process cannot be published yet; to be tried again", "error", err)
	}
}

func (w *Watcher) recoverAll(ctx context.Context) error {
	nodes, err := w.log.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if node == w.config.Node {
			continue
		}
		last, err := w.log.Last(ctx, node)
		if errors.Is(err, ErrNone) {
			continue
		}
		if err != nil {
			return err
		}
		if err := w.recover(ctx, node, last); err != nil {
			return err
		}
	}
	return nil
}

func (w *Watcher) recover(ctx context.Context, node hub.NodeID, last Message) error {
	same, err := w.sameInstance(ctx, node, last)
	if err != nil || !same {
		return err
	}
	return w.claim(ctx, node, last.Seq)
}

// sameInstance asks the last message, and only when that is a claimer's all that were before.
func (w *Watcher) sameInstance(ctx context.Context, node hub.NodeID, last Message) (bool, error) {
	if b, err := readBatch(last.Data); err != nil || b.claim == "" {
		return b.instance == w.config.Instance, err
	}
	replay, err := w.replay(ctx, node, last.Seq)
	return replay.Instance == w.config.Instance, err
}

// look claims every node whose record did not change for a lease, by our own clock, and while we could
// write our own: when nobody can write, silence says nothing.
func (w *Watcher) look(ctx context.Context) error {
	if epoch := w.log.Epoch(); !w.own.Valid() || epoch != w.epoch {
		clear(w.seen)
		w.epoch = epoch
		return nil
	}
	if err := w.find(ctx); err != nil {
		return err
	}
	seen := make(map[hub.NodeID]sighting, len(w.seen))
	for _, node := range w.nodes {
		if node == w.config.Node || w.config.Healthy(node) {
			continue
		}
		s, err := w.sight(ctx, node)
		if err != nil {
			continue // gone meanwhile, or to be asked again
		}
		if since(s.since, time.Now()) < s.patience(w.config.Lease) {
			seen[node] = s
			continue
		}
		if err := w.bury(ctx, node, s); err != nil {
			w.config.Logger.Warn("claim of a dead node is not finished; to be tried again", "node", string(node), "error", err)
		}
	}
	w.seen = seen
	return nil
}

// find lists the nodes that have records, every Renew.
func (w *Watcher) find(ctx context.Context) (err error) {
	if now := time.Now(); now.Sub(w.found) >= w.config.Renew {
		w.nodes, err = w.log.Nodes(ctx)
		w.found = now
	}
	return err
}

// sight looks at the last message of a record; a tombstone does not change.
func (w *Watcher) sight(ctx context.Context, node hub.NodeID) (sighting, error) {
	s := w.seen[node]
	if s.finished {
		return s, nil
	}
	m, err := w.log.Last(ctx, node)
	if err != nil || m.Seq == s.seq && m.Time.Equal(s.stored) {
		return s, err
	}
	b, err := readBatch(m.Data)
	return sighting{m.Seq, m.Time, time.Now(), err == nil && b.finished}, nil
}

// patience is how long the message must not change before something is done.
func (s *sighting) patience(lease time.Duration) time.Duration {
	if s.finished {
		return tombstoneKept
	}
	return lease
}

// bury claims a node, or forgets the tombstone of one that was dealt with.
func (w *Watcher) bury(ctx context.Context, node hub.NodeID, s sighting) error {
	if s.finished {
		return w.purge(ctx, node, s.seq+1)
	}
	return w.claim(ctx, node, s.seq)
}

// claim ends a node for good: once the log has taken the claim, the owner can append nothing more. Then it
// publishes what the owner could not.
func (w *Watcher) claim(ctx context.Context, node hub.NodeID, last uint64) error {
	at, err := w.append(ctx, node, last, 0, false)
	if _, ok := errors.AsType[*Conflict](err); ok { // it lives, or somebody was quicker
		w.count(func(st *WatcherStats) { st.Conflicts++ })
		return nil
	}
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	w.config.Gone(node)
	replay, err := w.replay(ctx, node, at)
	if err != nil {
		return err
	}
	w.config.Logger.Warn("claimed a dead node: publishing the closes of its connections",
		"node", string(node), "connections", len(replay.Open), "recorded_closes", len(replay.Close))
	w.count(func(st *WatcherStats) { st.Claims++ })
	return w.finish(ctx, node, at, replay)
}

// finish publishes in steps, and writes down after each how far it is, which also tells other survivors
// that somebody is at it. The last message stays as a tombstone, which tells the owner, if it wakes, that it is dead.
func (w *Watcher) finish(ctx context.Context, node hub.NodeID, at uint64, replay Replay) error {
	lost := lostOf(replay)
	for done, finished := replay.Done, false; !finished; {
		step := lost[min(done, uint64(len(lost))):min(done+claimStep, uint64(len(lost)))]
		if err := w.publish.PublishClosed(ctx, node, step); err != nil {
			return err
		}
		w.countStep(step)
		done += uint64(len(step))
		finished = done >= uint64(len(lost))
		var err error
		if at, err = w.append(ctx, node, at, done, finished); err != nil {
			return err // also when another survivor took over, who publishes the same
		}
	}
	return w.purge(ctx, node, at)
}

func (w *Watcher) purge(ctx context.Context, node hub.NodeID, below uint64) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	return w.log.Purge(ctx, node, below)
}

func lostOf(r Replay) []Lost {
	lost := make([]Lost, 0, len(r.Close)+len(r.Open))
	for i := range r.Close {
		lost = append(lost, Lost{Recorded: &r.Close[i], Time: r.Claimed})
	}
	for _, o := range r.Open {
		lost = append(lost, Lost{Open: o, Time: r.Claimed})
	}
	return lost
}

func (w *Watcher) replay(ctx context.Context, node hub.NodeID, upTo uint64) (Replay, error) {
	r := newReader()
	if err := w.log.Read(ctx, node, upTo, r.read); err != nil {
		return Replay{}, fmt.Errorf("life record of node %s: %w", node, err)
	}
	return r.result(), nil
}

func (w *Watcher) append(ctx context.Context, node hub.NodeID, after, done uint64, finished bool) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	return w.log.Append(ctx, node, after, appendClaim(nil, w.config.Node, done, finished))
}

func (w *Watcher) countStep(step []Lost) {
	w.count(func(st *WatcherStats) {
		for i := range step {
			if step[i].Recorded != nil {
				st.Recorded++
			} else {
				st.Lost++
			}
		}
	})
}

func (w *Watcher) count(f func(*WatcherStats)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.stats)
}

package life_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-broker/holdfast/internal/bus/life"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

const (
	owner    hub.NodeID = "owneraaaaa"
	survivor hub.NodeID = "survivoraa"
	other    hub.NodeID = "otheraaaaa"
)

// told keeps what callbacks were told.
type told struct {
	mu   sync.Mutex
	list []string
}

func (t *told) add(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, s)
}

func (t *told) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.list)
}

// node is one node with its record and its watcher, as it is in a process.
type node struct {
	record  *life.Record
	watcher *life.Watcher
	events  *events
	told    *told
	rewinds int
	live    map[string]*life.Open
}

func start(t *testing.T, log life.Log, id hub.NodeID, instance string) *node {
	t.Helper()
	n := &node{events: &events{}, told: &told{}, live: make(map[string]*life.Open)}
	c := life.Config{
		Node: id, Instance: instance,
		Frozen:  func(frozen bool) { n.told.add(fmt.Sprintf("frozen %t", frozen)) },
		Claimed: func() { n.told.add("claimed") },
	}
	var err error
	n.record, err = life.Start(t.Context(), log, c, n.events, n.rewind)
	if err != nil {
		t.Fatal(err)
	}
	n.watcher = life.NewWatcher(log, c, n.record, n, func(hub.NodeID) bool { return false },
		func(gone hub.NodeID) { n.told.add("gone " + string(gone)) })
	return n
}

func (n *node) rewind(r *life.Record) {
	n.rewinds++
	for _, o := range n.live {
		r.Opened(o, nil)
	}
}

func (n *node) open(key string) {
	n.record.Opened(&life.Open{Key: key, Namespace: "ns", Endpoint: "/", User: "ann", Time: time.Unix(1, 2)}, func() {
		n.events.take()
		n.told.add("open " + key)
	})
}

func (n *node) close(key string) {
	n.record.Closed(&life.Close{Key: key, Namespace: "ns", Seq: 7, Event: []byte("closed " + key)}, func() {
		n.events.take()
		n.told.add("close " + key)
	})
}

func (n *node) PublishClosed(_ context.Context, of hub.NodeID, closes []life.Lost) error {
	for _, c := range closes {
		if c.Recorded != nil {
			n.told.add(fmt.Sprintf("%s: %s", of, c.Recorded.Event))
		} else {
			n.told.add(fmt.Sprintf("%s: lost %s", of, c.Open.Key))
		}
	}
	return nil
}

func expect(t *testing.T, n *node, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, n.told.all()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// stop ends a node at once. What it has recorded stays: an event is not confirmed, so it is no orderly end.
func stop(t *testing.T, n *node) {
	t.Helper()
	n.events.hold(true)
	n.events.take()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = n.record.Stop(ctx)
}

func TestEventsWaitForTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		defer stop(t, n)
		log.setAway(true)
		n.open("a")
		n.close("a")
		expect(t, n)
		log.setAway(false)
		time.Sleep(time.Second) // virtual
		expect(t, n, "open a", "close a")
	})
}

func TestOneWriteCarriesWhatHappenedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		defer stop(t, n)
		log.setAway(true)
		n.open("first")
		synctest.Wait()
		for i := range 100 {
			n.open(fmt.Sprint(i))
		}
		log.setAway(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := n.record.Stats().Appends; got != 3 {
			t.Errorf("%d messages for the start, one connection and a hundred more, want 3", got)
		}
	})
}

func TestLostAnswerIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		defer stop(t, n)
		log.loseNext("append", 1)
		n.open("a")
		time.Sleep(time.Second)
		expect(t, n, "open a")
		if got := len(log.messages(owner)); got != 2 {
			t.Errorf("%d messages, want 2: the one whose answer was lost must not be written twice", got)
		}
	})
}

func TestFreezeAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		defer stop(t, n)
		log.setAway(true)
		time.Sleep(life.DefaultLease - time.Second)
		if !n.record.Valid() {
			t.Error("not valid before the end of the lease")
		}
		time.Sleep(time.Second)
		expect(t, n, "frozen true")
		if n.record.Valid() {
			t.Error("valid after the end of the lease")
		}
		log.setAway(false)
		time.Sleep(time.Second)
		expect(t, n, "frozen true", "frozen false")
		if st := n.record.Stats(); !n.record.Valid() || st.Freezes != 1 || st.Frozen {
			t.Errorf("valid %t, %+v", n.record.Valid(), st)
		}
	})
}

// An idle node renews and nobody claims it, however long.
func TestIdleNodeLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n, s := start(t, log, owner, ""), start(t, log, survivor, "")
		ctx, cancel := context.WithCancel(t.Context())
		go s.watcher.Run(ctx)
		time.Sleep(time.Hour)
		expect(t, n)
		expect(t, s)
		cancel()
		stop(t, n)
		stop(t, s)
	})
}

func TestDeadNodeIsClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n, s := start(t, log, owner, ""), start(t, log, survivor, "")
		n.open("a")
		n.open("b")
		n.open("c")
		n.close("b") // published, and said to be
		time.Sleep(life.DefaultRenew)
		n.events.hold(true)
		n.close("c") // whether anybody saw it is not known
		synctest.Wait()
		stop(t, n)
		ctx, cancel := context.WithCancel(t.Context())
		go s.watcher.Run(ctx)
		time.Sleep(life.DefaultLease - time.Second)
		expect(t, s)
		time.Sleep(life.DefaultRenew + 2*time.Second)
		expect(t, s, "gone owneraaaaa", "owneraaaaa: closed c", "owneraaaaa: lost a")
		if left := log.messages(owner); len(left) != 1 {
			t.Errorf("%d messages left of a node that is dealt with, want its tombstone", len(left))
		}
		time.Sleep(life.DefaultLease + life.DefaultRenew)
		if left := log.messages(owner); len(left) != 0 {
			t.Errorf("%d messages left a lease later", len(left))
		}
		expect(t, s, "gone owneraaaaa", "owneraaaaa: closed c", "owneraaaaa: lost a")
		cancel()
		stop(t, s)
	})
}

// A node that was stopped beyond its lease can publish nothing once it goes on.
func TestClaimedNodePublishesNothingMore(t *testing.T) {
	for name, finished := range map[string]bool{"while the claimer is at it": false, "when it is all over": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newMemoryLog()
				n := start(t, log, owner, "")
				n.open("a")
				expect(t, n, "open a")
				last := log.messages(owner)
				claim := []byte("\x32\x0asurvivoraa")
				if _, err := log.Append(t.Context(), owner, last[len(last)-1].Seq, claim); err != nil {
					t.Fatal(err)
				}
				if finished {
					_ = log.Purge(t.Context(), owner, 1000)
				}
				n.open("b")
				n.close("a")
				time.Sleep(time.Minute)
				expect(t, n, "open a", "frozen true", "claimed")
				if n.record.Valid() {
					t.Error("valid although it is claimed")
				}
				stop(t, n)
			})
		})
	}
}

func TestTwoSurvivorsPublishTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n, s, o := start(t, log, owner, ""), start(t, log, survivor, ""), start(t, log, other, "")
		for i := range 1200 {
			n.open(fmt.Sprintf("%04d", i))
		}
		synctest.Wait()
		stop(t, n)
		ctx, cancel := context.WithCancel(t.Context())
		go s.watcher.Run(ctx)
		go o.watcher.Run(ctx)
		time.Sleep(3 * life.DefaultLease)
		synctest.Wait()
		if got := len(s.told.all()) + len(o.told.all()); got != 1201 { // and one "gone"
			t.Errorf("%d closes were published, want each of 1200 once", got-1)
		}
		cancel()
		stop(t, s)
		stop(t, o)
	})
}

// The second survivor goes on behind what the first wrote down, and what it repeats is the same.
func TestClaimerDiesHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n, s := start(t, log, owner, ""), start(t, log, survivor, "")
		for i := range 1200 {
			n.open(fmt.Sprintf("%04d", i))
		}
		synctest.Wait()
		stop(t, n)
		// The first claimer published one step, wrote it down, and died in the second.
		last := log.messages(owner)
		seq, err := log.Append(t.Context(), owner, last[len(last)-1].Seq, []byte("\x32\x0aotheraaaaa"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(t.Context(), owner, seq, []byte("\x32\x0aotheraaaaa\x38\xf4\x03")); err != nil { // done: 500
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go s.watcher.Run(ctx)
		time.Sleep(2 * life.DefaultLease)
		synctest.Wait()
		got := s.told.all()
		if len(got) != 701 || got[1] != "owneraaaaa: lost 0500" || got[700] != "owneraaaaa: lost 1199" {
			t.Errorf("%d told, want 700 closes behind the first 500", len(got)-1)
		}
		cancel()
		stop(t, s)
	})
}

// Nobody is held dead while nobody can write: silence says nothing then.
func TestNobodyClaimsDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n, s := start(t, log, owner, ""), start(t, log, survivor, "")
		ctx, cancel := context.WithCancel(t.Context())
		go s.watcher.Run(ctx)
		time.Sleep(5 * time.Second)
		log.setAway(true)
		time.Sleep(time.Minute)
		log.setAway(false)
		time.Sleep(time.Minute)
		expect(t, n, "frozen true", "frozen false")
		expect(t, s, "frozen true", "frozen false")
		cancel()
		stop(t, n)
		stop(t, s)
	})
}

// Earlier processes of the same instance are dead: nobody need wait for their lease.
func TestRecoverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n, foreign := start(t, log, owner, "disk-1"), start(t, log, other, "disk-2")
		n.open("a")
		foreign.open("b")
		synctest.Wait()
		stop(t, n)
		s := start(t, log, survivor, "disk-1")
		if err := s.watcher.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect(t, s, "gone owneraaaaa", "owneraaaaa: lost a")
		stop(t, foreign)
		stop(t, s)
	})
}

func TestOrderlyStopLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		n.open("a")
		n.close("a")
		if err := n.record.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect(t, n, "open a", "close a")
		if left := log.messages(owner); len(left) != 0 {
			t.Errorf("%d messages left", len(left))
		}
	})
}

func TestRecordStaysSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		n.live["kept"] = &life.Open{Key: "kept", Namespace: "ns", Time: time.Unix(1, 0)}
		n.record.Opened(n.live["kept"], nil)
		for i := range 30_000 {
			key := fmt.Sprint(i)
			n.open(key)
			n.close(key)
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		time.Sleep(3 * life.DefaultRenew)
		synctest.Wait()
		size := 0
		for _, m := range log.messages(owner) {
			size += len(m.Data)
		}
		if size > 3<<20 || n.rewinds == 0 {
			t.Errorf("%d bytes for one open connection, compacted %d times", size, n.rewinds)
		}
		stop(t, n)
		s := start(t, log, survivor, "")
		ctx, cancel := context.WithCancel(t.Context())
		go s.watcher.Run(ctx)
		time.Sleep(2 * life.DefaultLease)
		expect(t, s, "gone owneraaaaa", "owneraaaaa: lost kept")
		cancel()
		stop(t, s)
	})
}

// Servers that come back without their disks lose the record, and no connection.
func TestLostLogBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		n.live["kept"] = &life.Open{Key: "kept", Namespace: "ns", Time: time.Unix(1, 0)}
		n.record.Opened(n.live["kept"], nil)
		synctest.Wait()
		log.wipe()
		n.open("later")
		time.Sleep(time.Second)
		expect(t, n, "open later")
		stop(t, n)
		s := start(t, log, survivor, "")
		ctx, cancel := context.WithCancel(t.Context())
		go s.watcher.Run(ctx)
		time.Sleep(2 * life.DefaultLease)
		expect(t, s, "gone owneraaaaa", "owneraaaaa: lost kept", "owneraaaaa: lost later")
		cancel()
		stop(t, s)
	})
}

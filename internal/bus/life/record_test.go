package life_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
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
		Healthy: func(hub.NodeID) bool { return false },
		Gone:    func(gone hub.NodeID) { n.told.add("gone " + string(gone)) },
	}
	var err error
	n.record, err = life.Start(t.Context(), log, c, n.events, n.rewind)
	if err != nil {
		t.Fatal(err)
	}
	n.watcher = life.NewWatcher(log, c, n.record, n)
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
			n.open(strconv.Itoa(i))
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

// A node that stops with all others, and cannot write any more, has said enough for others, or for its next start:
// it waits no longer than its lease.
func TestStopGivesUpWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		n.open("a")
		expect(t, n, "open a")
		log.setAway(true)
		n.close("a")
		began := time.Now()
		if err := n.record.Stop(t.Context()); err == nil {
			t.Error("the stop says that the close was recorded")
		}
		if took := time.Since(began); took > life.DefaultLease+time.Second {
			t.Errorf("the stop took %v", took)
		}
		log.setAway(false)
		s := start(t, log, survivor, "")
		ctx, cancel := context.WithCancel(t.Context())
		go s.watcher.Run(ctx)
		time.Sleep(2 * life.DefaultLease)
		expect(t, n, "open a", "frozen true")
		expect(t, s, "gone owneraaaaa", "owneraaaaa: lost a")
		cancel()
		stop(t, s)
	})
}

// What the bus has not confirmed is lost with the process, so it is waited for as long as the caller allows.
func TestStopWaitsForTheBusBeyondTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		n.events.hold(true)
		n.open("a")
		expect(t, n, "open a")
		log.setAway(true)
		n.close("a")
		time.AfterFunc(2*life.DefaultLease, func() { log.setAway(false) })
		time.AfterFunc(2*life.DefaultLease+time.Second, func() { n.events.hold(false) })
		if err := n.record.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		expect(t, n, "open a", "frozen true", "frozen false", "close a")
		if left := log.messages(owner); len(left) != 0 {
			t.Errorf("%d messages left", len(left))
		}
	})
}

// A stop with nothing to say does not wait for a log that is away.
func TestStopWithNothingToSayIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		log.setAway(true)
		began := time.Now()
		_ = n.record.Stop(t.Context())
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the stop took %v", took)
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
			key := strconv.Itoa(i)
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

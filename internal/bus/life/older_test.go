package life_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus/life"
)

// A single server that lost what it had not synced comes back with an older state: within its lease nobody can have
// claimed the node, so it writes its record again, and neither loses a close nor makes a second one.
func TestOlderLogIsWrittenAgainWithinTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		n.open("closed later")
		synctest.Wait()
		synced := log.messages(owner)
		n.live["kept"] = &life.Open{Key: "kept", Namespace: "ns", Time: time.Unix(1, 0)}
		n.record.Opened(n.live["kept"], nil)
		n.close("closed later")
		time.Sleep(2 * life.DefaultRenew)
		n.live["later"] = &life.Open{Key: "later", Namespace: "ns", Time: time.Unix(1, 0)}
		log.comeBack(synced[len(synced)-1].Seq)
		n.open("later")
		time.Sleep(2 * life.DefaultRenew)
		expect(t, n, "open closed later", "close closed later", "open later")
		if n.record.Stats().Freezes != 0 || n.rewinds != 1 {
			t.Errorf("%+v, written again %d times", n.record.Stats(), n.rewinds)
		}
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

// A close that was recorded and not yet published when the log came back older must still be in the record, under
// the sequence that it has now.
func TestOlderLogKeepsUnpublishedCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		n.open("a")
		for range 10 {
			time.Sleep(life.DefaultRenew) // later sequences were marked as published
		}
		log.comeBack(2)
		time.Sleep(2 * life.DefaultRenew)
		n.events.hold(true)
		n.close("a")
		synctest.Wait()
		stop(t, n)
		s := start(t, log, survivor, "")
		ctx, cancel := context.WithCancel(t.Context())
		go s.watcher.Run(ctx)
		time.Sleep(2 * life.DefaultLease)
		expect(t, s, "gone owneraaaaa", "owneraaaaa: closed a")
		cancel()
		stop(t, s)
	})
}

// When its lease is over, the node may have been claimed in what the log has lost: it cannot go on.
func TestOlderLogAfterTheLeaseEndsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		n.open("a")
		synctest.Wait()
		log.setAway(true)
		time.Sleep(2 * life.DefaultLease)
		log.comeBack(1)
		log.setAway(false)
		time.Sleep(life.DefaultLease - time.Second)
		expect(t, n, "open a", "frozen true")
		time.Sleep(2 * time.Second)
		expect(t, n, "open a", "frozen true", "claimed")
		stop(t, n)
	})
}

// The sequence that a frozen node expects may belong to a claim by now.
func TestClaimWithTheExpectedSequenceIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n := start(t, log, owner, "")
		n.open("a")
		synctest.Wait()
		log.setAway(true)
		time.Sleep(2*life.DefaultLease + time.Millisecond) // between two attempts of the node
		log.setAway(false)
		log.comeBack(1)
		if _, err := log.Append(t.Context(), owner, 1, []byte("\x32\x0asurvivoraa")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		expect(t, n, "open a", "frozen true", "claimed")
		stop(t, n)
	})
}

// What a survivor saw before the log came back older says nothing of how long a node has been silent since.
func TestNobodyCountsAcrossAnOlderLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		n, s := start(t, log, owner, ""), start(t, log, survivor, "")
		n.open("a")
		synctest.Wait()
		stop(t, n)
		ctx, cancel := context.WithCancel(t.Context())
		go s.watcher.Run(ctx)
		time.Sleep(life.DefaultLease - time.Second)
		log.comeBack(log.messages(survivor)[len(log.messages(survivor))-1].Seq)
		time.Sleep(life.DefaultLease - time.Second)
		expect(t, s)
		time.Sleep(3 * time.Second)
		expect(t, s, "gone owneraaaaa", "owneraaaaa: lost a")
		cancel()
		stop(t, s)
	})
}

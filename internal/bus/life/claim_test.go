package life_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus/life"
)

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
		time.Sleep(time.Hour + life.DefaultRenew)
		if left := log.messages(owner); len(left) != 0 {
			t.Errorf("%d messages left an hour later", len(left))
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
// The servers of a cluster that starts answer late: what is lost is asked again, in whatever step.
func TestRecoverInSpiteOfSilence(t *testing.T) {
	for _, operation := range []string{"nodes", "append", "read"} {
		t.Run(operation, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newMemoryLog()
				n := start(t, log, owner, "disk-1")
				n.open("a")
				synctest.Wait()
				stop(t, n)
				s := start(t, log, survivor, "disk-1")
				synctest.Wait()
				log.loseNext(operation, 2)
				if err := s.watcher.Recover(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := s.told.all(); !slices.Contains(got, "owneraaaaa: lost a") {
					t.Errorf("told %q", got)
				}
				log.setAway(true)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := s.watcher.Recover(ctx); !errors.Is(err, errAway) {
					t.Errorf("without an answer: %v", err)
				}
				log.setAway(false)
				stop(t, s)
			})
		})
	}
}

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

package bus

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// small keeps the outbox full under load, so that back-pressure is part of what is tested, and notices
// a hung server soon.
func small(c *Config) { c.OutboxSize, c.StaleAfter = 512<<10, 400*time.Millisecond }

// Promise 3: every event reaches NATS at least once, in order, whatever happens to the server or to
// the way there, and Publish blocks nobody meanwhile.
func TestPromise3AtLeastOnceToNATS(t *testing.T) {
	t.Parallel() // it waits most of the time
	t.Run("sigstop shorter than stale", func(t *testing.T) {
		s := newScene(t, func(c *Config) { c.OutboxSize = 512 << 10 })
		for range 3 {
			s.freeze(s.allWait)
		}
		s.finish(0)
	})
	t.Run("sigstop", func(t *testing.T) {
		// The whole outbox does not fit into the socket: nats.go blocks in a write.
		s := newScene(t, func(c *Config) { c.StaleAfter = 5 * time.Second })
		s.freeze(func() bool { return s.node.bus.Stats().Publisher.Stale >= 1 && s.allWait() })
		s.finish(1)
	})
	t.Run("cut", func(t *testing.T) {
		s := newScene(t, small)
		for i := range 10 {
			s.more()
			s.proxy.Cut()
			eventually(t, "reconnect", func() bool { return s.node.bus.Stats().Publisher.Reconnects > uint64(i) })
		}
		s.finish(10)
	})
	t.Run("sigterm", func(t *testing.T) {
		s := newScene(t, small)
		for range 3 {
			s.restart(s.process.Terminate)
		}
		s.finish(3)
	})
	t.Run("sigkill", func(t *testing.T) {
		s := newScene(t, small)
		for range 3 {
			s.restart(s.process.Kill)
		}
		s.finish(3)
	})
	t.Run("half open", func(t *testing.T) { // nothing comes back any more, but the socket stays
		s := newScene(t, small)
		s.more()
		s.proxy.Hold()
		eventually(t, "watchdog", func() bool { return s.node.bus.Stats().Publisher.Stale >= 1 })
		s.proxy.Cut()
		s.finish(1)
	})
}

const clients = 6

// scene is a node under load whose way to NATS is disturbed.
type scene struct {
	t       *testing.T
	process *bustest.Process
	proxy   *bustest.Proxy
	ledger  *ledger
	node    *node
	load    *load
}

func newScene(t *testing.T, change func(*Config)) *scene {
	s := &scene{t: t, process: bustest.StartProcess(t)}
	s.proxy = bustest.NewProxy(t, s.process.URL)
	s.ledger = newLedger(t, s.process.URL)
	s.node = startNode(t, s.proxy.URL, change)
	s.load = startLoad(t, s.node, clients, 0)
	s.more()
	return s
}

// more waits until the load goes on.
func (s *scene) more() { s.t.Helper(); s.ledger.waitFor(s.ledger.count() + 2000) }

// allWait reports whether every client waits for room.
func (s *scene) allWait() bool { return s.node.bus.Stats().Publisher.Waiting == clients }

// freeze stops the server as a process until a condition is met.
func (s *scene) freeze(until func() bool) {
	s.t.Helper()
	s.process.Freeze()
	defer s.more()
	defer s.process.Thaw()
	eventually(s.t, "condition while the server is stopped", until)
}

// restart ends the server under load and starts it again. What the server has confirmed and not yet
// given to the subscriber dies with it, which is not the publisher's promise; so no confirmation passes
// for a while before, until the subscriber has everything that can have been confirmed.
func (s *scene) restart(end func()) {
	s.t.Helper()
	s.proxy.Hold()
	s.ledger.waitFor(int(s.node.bus.Stats().Publisher.Published))
	eventually(s.t, "unconfirmed events", func() bool { return s.node.bus.Stats().Publisher.OutboxBytes > 256<<10 })
	end()
	s.proxy.Refuse()
	s.process.Start()
	s.ledger.Connect(s.process.URL)
	s.proxy.Admit()
	s.more()
}

// finish lets the load end and checks that nothing is missing.
func (s *scene) finish(reconnects uint64) {
	s.t.Helper()
	s.load.stop()
	s.node.closeBus(s.t)
	s.ledger.check(s.load)
	st := s.node.bus.Stats().Publisher
	s.t.Logf("%+v", st)
	if st.Reconnects < reconnects || reconnects > 0 && st.Republished == 0 {
		s.t.Errorf("the test disturbed nothing: %d reconnects, %d republished", st.Reconnects, st.Republished)
	}
	if st.Published != st.Confirmed || int(st.Published) != s.ledger.count() {
		s.t.Errorf("published %d, confirmed %d, seen %d", st.Published, st.Confirmed, s.ledger.count())
	}
	if slowest := time.Duration(s.load.slowest.Load()); slowest > 3*time.Second { // so long may a busy machine let anybody wait
		s.t.Errorf("a Publish took %v", slowest)
	}
}

// A stopped server blocks nats.go for seconds; the goroutine that publishes an event must not notice.
func TestPromise3PublishNeverBlocks(t *testing.T) {
	process := bustest.StartProcess(t)
	n := startNode(t, process.URL, func(c *Config) { c.StaleAfter = time.Minute })
	c, _ := n.open(t)
	process.Freeze()
	defer process.Thaw()
	payload := make([]byte, 10_000)
	var slowest time.Duration
	for taken := true; taken; {
		begin := time.Now()
		taken = c.Message(hub.Binary, payload)
		slowest = max(slowest, time.Since(begin))
	}
	begin := time.Now()
	c.Closed(hub.End{Cause: hub.CauseTransportError})
	slowest = max(slowest, time.Since(begin))
	if slowest > 5*time.Second { // a write that the server does not take blocks for a minute
		t.Errorf("a Publish took %v", slowest)
	}
	t.Logf("slowest of %d: %v", n.bus.Stats().Publisher.OutboxEvents, slowest)

	// The server is not there to confirm: Close ends with its context and says what is left.
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	begin = time.Now()
	err := n.bus.Close(ctx)
	if err == nil || time.Since(begin) > 10*time.Second {
		t.Errorf("Close: %v after %v", err, time.Since(begin))
	}
}

// A PONG confirms what was published before its PING, and nothing that was published meanwhile.
func TestPromise3BarrierConfirmsOnlyWhatCameBefore(t *testing.T) {
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	r := bustest.Record(t, url, "holdfast.*.message.>")
	n := startNode(t, proxy.URL)
	stats := func() PublisherStats { return n.bus.Stats().Publisher }
	c, _ := n.open(t)
	eventually(t, "open event confirmed", func() bool { return stats().Confirmed == 1 })
	proxy.Hold()
	pings := proxy.Pings()
	c.Message(hub.Text, []byte("before"))
	r.Wait(1)
	eventually(t, "barrier", func() bool { return proxy.Pings() > pings })
	proxy.Swallow()
	c.Message(hub.Text, []byte("during"))
	eventually(t, "published", func() bool { return stats().Published == 3 })
	proxy.Release()
	eventually(t, "first message confirmed", func() bool { return stats().Confirmed >= 2 })
	if got := stats().Confirmed; got != 2 {
		t.Errorf("%d confirmed", got)
	}
	proxy.Cut()
	if m := r.Wait(2)[1]; string(m.Data) != "during" || m.Header.Get(HeaderSeq) != "3" {
		t.Errorf("%s, seq %s", m.Data, m.Header.Get(HeaderSeq))
	}
	eventually(t, "one event published again", func() bool { return stats().Republished == 1 && stats().Reconnects == 1 })
}

package ws_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// pipedTo is piped for connections of one engine.
func pipedTo(t *testing.T, e *ws.Engine, cfg ws.Config, quotas ...*ws.Quota) *link {
	t.Helper()
	cfg.HeartbeatInterval = -1
	server, client := net.Pipe()
	return started(t, e, cfg, server, client, func(l *link) { l.SetQuotas(quotas...) })
}

// flood sends so many messages of 16 bytes each, for as long as the connection takes them.
func flood(l *link, n int) {
	go func() { _ = l.peer.TrySend(repeat(wstest.Text("0123456789"))(n)...) }()
}

// closeAll ends connections whose peers still want to be heard.
func closeAll(links ...*link) {
	for _, l := range links {
		drained := untilClosed(l)
		l.Close(1000, "", 0, nil)
		drained()
	}
}

// Ten may come at once and ten in every second after that, of all together; and each gets its part.
func TestConnectionsShareAQuota(t *testing.T) {
	for name, quota := range map[string]struct {
		messages int
		bytes    int64
	}{"messages": {10, 0}, "bytes": {0, 160}, "both": {10, 160}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const total, perSecond, peers = 60, 10, 3
				var over atomic.Uint64
				e := newEngine(t)
				q := e.NewQuota(quota.messages, quota.bytes, &over)
				var links []*link
				for range peers {
					l := pipedTo(t, e, ws.Config{}, q)
					links = append(links, l)
					flood(l, total)
				}
				start := time.Now()
				all := func() (n int) {
					for _, l := range links {
						n += len(l.rec.Events())
					}
					return n
				}
				for all() < total {
					time.Sleep(100 * time.Millisecond)
					if n, allowed := all(), perSecond+int(time.Since(start).Seconds()*perSecond)+peers; n > allowed {
						t.Fatalf("%d after %v", n, time.Since(start))
					}
					if time.Since(start) > time.Minute {
						t.Fatalf("only %d after %v", all(), time.Since(start))
					}
				}
				if d := time.Since(start); d > 7*time.Second {
					t.Errorf("%d took %v, want %d in a second", total, d, perSecond)
				}
				for _, l := range links {
					if n := len(l.rec.Events()); n < total/peers/2 {
						t.Errorf("one got %d of %d through", n, total)
					}
				}
				if over.Load() == 0 || e.OverRate() != 0 {
					t.Errorf("%d held for the quota, %d for rates of their own", over.Load(), e.OverRate())
				}
				closeAll(links...)
			})
		})
	}
}

// Who draws on another quota is not held, whatever happens to this one.
func TestQuotaHoldsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var over atomic.Uint64
		e := newEngine(t)
		loud := pipedTo(t, e, ws.Config{}, e.NewQuota(1, 0, &over))
		quiet := pipedTo(t, e, ws.Config{}, e.NewQuota(1000, 0, &over))
		free := pipedTo(t, e, ws.Config{})
		flood(loud, 100)
		flood(quiet, 100)
		flood(free, 100)
		synctest.Wait()
		if n := len(loud.rec.Events()); n > 2 || loud.State().Held != ws.HoldRate {
			t.Errorf("%d messages of the loud one, held for %b", n, loud.State().Held)
		}
		for name, l := range map[string]*link{"quiet": quiet, "free": free} {
			if n := len(l.rec.Events()); n != 100 || l.State().Held != 0 {
				t.Errorf("%d messages of the %s one, held for %b", n, name, l.State().Held)
			}
		}
		closeAll(loud, quiet, free)
	})
}

// A chunk can hold thousands of messages: a connection is held within it, not behind it.
func TestQuotaHoldsWithinAChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var over atomic.Uint64
		e := newEngine(t)
		l := pipedTo(t, e, ws.Config{}, e.NewQuota(1000, 0, &over))
		var chunk []byte
		for range 5000 {
			chunk = wstest.Text("").Append(chunk)
		}
		go func() { _, _ = l.peer.Write(chunk) }()
		synctest.Wait()
		if n := len(l.rec.Events()); n < 1000 || n > 1010 {
			t.Errorf("%d messages at once, want a second's worth and a hundredth", n)
		}
		time.Sleep(5 * time.Second)
		if n := len(l.rec.Events()); n != 5000 {
			t.Errorf("%d messages", n)
		}
		closeAll(l)
	})
}

// What a hold keeps of a chunk is memory of that connection, which it gives back when memory is short.
func TestHeldInputIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 100 * 16
		var over atomic.Uint64
		e := newEngine(t)
		l := pipedTo(t, e, ws.Config{}, e.NewQuota(1, 0, &over))
		var chunk []byte
		for range 100 {
			chunk = wstest.Text("0123456789").Append(chunk)
		}
		go func() { _, _ = l.peer.Write(chunk) }()
		synctest.Wait()
		if got, want := l.State().Unfinished, size-16*len(l.rec.Events()); got != want {
			t.Errorf("it holds %d bytes, want %d", got, want)
		}
		closed := untilClosed(l)
		l.Shed("no memory")
		if got := l.State().Unfinished; got != 0 {
			t.Errorf("then it holds %d bytes", got)
		}
		closed()
	})
}

// A policy that closes is for what the peer alone has done.
func TestQuotaClosesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var over atomic.Uint64
		e := newEngine(t)
		q := e.NewQuota(1, 1, &over)
		l := pipedTo(t, e, ws.Config{Rates: ws.Rates{Messages: 1000, Policy: ws.RateClose}}, q)
		flood(l, 3)
		time.Sleep(time.Minute)
		if n := len(l.rec.Events()); n != 3 || l.rec.Ended() {
			t.Errorf("%d messages; ended: %v", n, l.rec.Ended())
		}
		if l.State().Held != 0 || q.Owes() {
			t.Errorf("held for %b, owes: %v", l.State().Held, q.Owes())
		}
		closeAll(l)
	})
}

// A connection that changes over does not draw on the old quota any more, and pays there what it has drawn.
func TestQuotasChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var old, young atomic.Uint64
		e := newEngine(t)
		first, second := e.NewQuota(1, 0, &old), e.NewQuota(1, 0, &young)
		l := pipedTo(t, e, ws.Config{}, first)
		l.peer.Send(wstest.Text("a"), wstest.Text("b"))
		synctest.Wait()
		l.SetQuotas(second)
		if l.State().Held != ws.HoldRate || !first.Owes() || second.Owes() {
			t.Fatalf("held for %b; %v, %v", l.State().Held, first.Owes(), second.Owes())
		}
		time.Sleep(5 * time.Second)
		l.peer.Send(wstest.Text("c"), wstest.Text("d"))
		synctest.Wait()
		if l.State().Held != ws.HoldRate || first.Owes() || !second.Owes() {
			t.Fatalf("held for %b; %v, %v", l.State().Held, first.Owes(), second.Owes())
		}
		time.Sleep(5 * time.Second)
		l.SetQuotas()
		flood(l, 100)
		synctest.Wait()
		if n := len(l.rec.Events()); n != 104 || old.Load() != 1 || young.Load() != 1 {
			t.Errorf("%d messages, held %d and %d times", n, old.Load(), young.Load())
		}
		closeAll(l)
	})
}

// Quotas can change at any time: nothing is lost, and nobody is held for ever.
func TestQuotasChangeWhileManyDraw(t *testing.T) {
	const peers, each = 4, 2000
	var over atomic.Uint64
	e := newEngine(t)
	quotas := []*ws.Quota{e.NewQuota(20_000, 0, &over), e.NewQuota(0, 200_000, &over)}
	var senders sync.WaitGroup
	var links []*link
	for range peers {
		server, client := wstest.TCP(t)
		l := started(t, e, ws.Config{}, server, client, nil)
		links = append(links, l)
		senders.Go(func() {
			for range each {
				l.peer.Send(wstest.Text("0123456789"))
			}
		})
	}
	stop := make(chan struct{})
	var changer sync.WaitGroup
	changer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				links[i%peers].SetQuotas(quotas[:i%3]...)
			}
		}
	})
	senders.Wait()
	for _, l := range links {
		eventually(t, "all messages", func() bool { return len(l.rec.Events()) == each })
	}
	close(stop)
	changer.Wait()
}

package bus

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Three nodes at three servers: each call to all is heard once by each, and answered in parts of any size.
func TestCallToAllOverACluster(t *testing.T) {
	servers := bustest.StartCluster(t, 3)
	var heard atomic.Int64
	big := pattern("big", 2<<20)
	serve := func(_ context.Context, _ hub.NodeID, request []byte, a *Answer) {
		heard.Add(1)
		go func() {
			defer a.End(request)
			if err := a.Send(big); err != nil {
				t.Error(err)
			}
		}()
	}
	var nodes []*peer
	for _, s := range servers {
		nodes = append(nodes, startPeer(t, s.URL, serve))
	}
	for i, caller := range nodes {
		request := pattern(strconv.Itoa(i), 3<<20)
		got := caller.askAll(t.Context(), request)
		if len(got) != 2 {
			t.Errorf("%d answers", len(got))
		}
		for node, a := range got {
			if a.err != nil || len(a.parts) != 2 || !bytes.Equal(a.parts[0], big) || !bytes.Equal(a.parts[1], request) {
				t.Errorf("%s: %d parts, %v", node, len(a.parts), a.err)
			}
		}
	}
	if n := heard.Load(); n != 6 {
		t.Errorf("heard %d times", n)
	}
}

func TestCallToAllOfNobody(t *testing.T) {
	p := startPeer(t, bustest.Server(t), echo)
	if got := p.askAll(t.Context(), nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// A silent node is not waited for when the others have answered, and one that says goodbye is gone.
func TestCallToAllWithMissingNodes(t *testing.T) {
	t.Parallel() // it waits most of the time
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	times := func(c *Config) {
		soonSilentOnly(c)
		c.Peers.CallSilence = 10 * time.Second
	}
	caller, good := startPeer(t, url, echo, times), startPeer(t, url, echo, times)
	silent := startPeer(t, proxy.URL, echo, times)
	answers := make(chan *Answer, 1)
	leaving := startPeer(t, url, func(_ context.Context, _ hub.NodeID, _ []byte, a *Answer) { answers <- a }, times)
	proxy.Swallow()
	caller.until(t, silent.id, NodeFellSilent)
	go func() {
		<-answers
		leaving.Leave(context.Background())
		leaving.closeBus(t)
	}()
	proxy.Hold()
	began := time.Now()
	got := caller.askAll(t.Context(), []byte("x"))
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
	got[good.id].wantPart(t, "good", []byte("x"))
	if err := got[silent.id].err; !errors.Is(err, hub.ErrUnreachable) {
		t.Errorf("silent: %v", err)
	}
	if err := got[leaving.id].err; !errors.Is(err, hub.ErrGone) {
		t.Errorf("leaving: %v", err)
	}
}

// A node that is dead for the server, too, is not waited for as long as one that says nothing. One that works is.
func TestCallToAllDoesNotWaitForTheDead(t *testing.T) {
	t.Parallel() // it waits most of the time
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	times := func(c *Config) { c.Peers.CallSilence = 10 * time.Second }
	answers := make(chan *Answer, 1)
	caller, dead := startPeer(t, url, echo, times), startPeer(t, proxy.URL, echo, times)
	slow := startPeer(t, url, func(_ context.Context, _ hub.NodeID, _ []byte, a *Answer) { answers <- a }, times)
	proxy.Refuse()
	defer proxy.Admit() // so that it can end in order
	began := time.Now()
	ended := make(chan error, 2)
	caller.BeginAll(t.Context(), []byte("x"), func(node hub.NodeID, _ []byte, _ bool, err error) {
		if (node == slow.id) == (err != nil) {
			t.Errorf("%s, of %s and %s: %v", node, dead.id, slow.id, err)
		}
		ended <- err
	}, func() { close(ended) })
	if err := <-ended; !errors.Is(err, hub.ErrUnreachable) {
		t.Errorf("dead: %v", err)
	}
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("took %v", took)
	}
	(<-answers).End(nil)
	for range ended {
	}
}

func TestCancelledCallToAll(t *testing.T) {
	url := bustest.Server(t)
	var ends sync.WaitGroup
	ends.Add(2)
	arrived := make(chan struct{}, 2)
	serve := func(ctx context.Context, _ hub.NodeID, _ []byte, a *Answer) {
		context.AfterFunc(ctx, func() {
			a.End(nil)
			ends.Done()
		})
		arrived <- struct{}{}
	}
	mute := func(c *Config) { c.Peers.Working = time.Hour } // they do not ask whether they are still waited for
	caller := startPeer(t, url, echo)
	startPeer(t, url, serve, mute)
	startPeer(t, url, serve, mute)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		<-arrived
		cancel()
	}()
	got := caller.askAll(ctx, nil)
	if len(got) != 2 {
		t.Errorf("%v", got)
	}
	for _, a := range got {
		if !errors.Is(a.err, context.Canceled) {
			t.Error(a.err)
		}
	}
	ends.Wait()
}

// The owner's connection to NATS is closed fifty times under load: calls fail as unreachable or not at all,
// and no answer is damaged.
func TestKickedConnections(t *testing.T) {
	t.Parallel() // it waits most of the time
	url := bustest.Server(t)
	callerProxy, calleeProxy := bustest.NewProxy(t, url), bustest.NewProxy(t, url)
	// The defaults, but for the pace of announcements.
	defaults := func(c *Config) { c.Peers = PeersConfig{Announce: 100 * time.Millisecond} }
	caller, callee := startPeer(t, callerProxy.URL, echo, defaults), startPeer(t, calleeProxy.URL, echo, defaults)
	var good, failed atomic.Uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				want := pattern(strconv.Itoa(i), 1+i*w*997%100_000)
				if w == 7 {
					want = pattern(strconv.Itoa(i), 1<<20)
				}
				began := time.Now()
				got := caller.ask(t.Context(), callee.id, want)
				if took := time.Since(began); took > 15*time.Second {
					t.Errorf("took %v: %v", took, got.err)
				}
				switch {
				case got.err == nil && len(got.parts) == 1 && bytes.Equal(got.parts[0], want):
					good.Add(1)
				case errors.Is(got.err, hub.ErrUnreachable) || errors.Is(got.err, hub.ErrBusAway):
					failed.Add(1)
				default:
					t.Errorf("%d parts, %v", len(got.parts), got.err)
				}
			}
		})
	}
	for i := range 50 {
		at := good.Load()
		eventually(t, "load", func() bool { return good.Load() > at+5 })
		if i%5 == 4 {
			callerProxy.Cut()
		} else {
			calleeProxy.Cut()
		}
	}
	close(stop)
	wg.Wait()
	if st := callee.Stats(); st.Reconnects < 30 {
		t.Errorf("%d reconnects", st.Reconnects)
	}
	t.Logf("%d good, %d failed, %+v", good.Load(), failed.Load(), caller.Stats())
	eventually(t, "nothing left", func() bool {
		return caller.Stats().Pending == 0 && callee.Stats().Serving == 0 &&
			caller.calls.budget.used.Load() == 0 && callee.callers.budget.used.Load() == 0
	})
}

// What is no envelope, or one that makes no sense, is counted and does nothing.
func TestGarbageBetweenNodes(t *testing.T) {
	url := bustest.Server(t)
	a, b := startPeer(t, url, echo), startPeer(t, url, echo)
	nc := bustest.Dial(t, url)
	good := (&envelope{kind: kindRequest, call: 1, size: 100, body: []byte("x")}).append(nil, a.id)
	subjects := []string{
		subjectAll, subjectTo + string(b.id), subjectNode + string(b.id), subjectNode + "x",
		subjectAnswers + string(b.id) + ".a", subjectAnswers + string(b.id) + ".1", subjectAnswers + string(b.id) + ".x",
	}
	var sent uint64
	for _, s := range subjects {
		for _, data := range [][]byte{nil, {}, []byte("hello"), good[:headerLen-1], append([]byte{9}, good[1:]...),
			append([]byte{envelopeVersion, 0}, good[2:]...), append([]byte{envelopeVersion, 255}, good[2:]...),
			append(append([]byte{envelopeVersion, 1, 0, 0}, "UPPERCASE!"...), good[14:]...)} {
			if err := nc.Publish(s, data); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		m := &nats.Msg{Subject: s, Header: nats.Header{"Status": {"503"}}}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all counted", func() bool { return b.Stats().Garbage >= sent })
	a.ask(t.Context(), b.id, []byte("x")).wantPart(t, "afterwards", []byte("x"))
	if got := ids(b.Nodes()); got != sortedIDs(a, b) {
		t.Errorf("nodes %s", got)
	}
}

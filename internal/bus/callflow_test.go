package bus

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// sender answers with many parts of that size, and counts those that left.
type sender struct {
	parts, size int
	left        atomic.Int64
	ended       chan error
}

func (s *sender) serve(_ context.Context, _ hub.NodeID, _ []byte, a *Answer) {
	go func() {
		for range s.parts {
			if err := a.Send(make([]byte, s.size)); err != nil {
				s.ended <- err
				a.End(nil)
				return
			}
			s.left.Add(1)
		}
		a.End(nil)
		s.ended <- nil
	}()
}

// The callee sends no more than a window ahead of its caller.
func TestWindowHoldsTheCallee(t *testing.T) {
	url := bustest.Server(t)
	const window = 64 << 10
	small := func(c *Config) { c.Peers.Window = window }
	s := &sender{parts: 500, size: 1 << 10, ended: make(chan error, 1)}
	caller, callee := startPeer(t, url, echo, small), startPeer(t, url, s.serve, small)
	take, ended := make(chan struct{}), make(chan error, 1)
	taken := 0
	caller.Begin(t.Context(), callee.id, nil, func(_ []byte, more bool, err error) {
		<-take
		taken++
		if !more {
			ended <- err
		}
	})
	eventually(t, "a full window", func() bool { return s.left.Load() == window>>10 })
	for range 100 {
		take <- struct{}{}
	}
	// Credit comes for a quarter of a window at a time.
	eventually(t, "the next window", func() bool { return s.left.Load() >= window>>10+100-window>>12 })
	if left := s.left.Load(); left > window>>10+101 {
		t.Errorf("%d parts left for 101 taken", left)
	}
	close(take)
	if err := <-ended; err != nil || taken != 501 {
		t.Errorf("%d parts, %v", taken, err)
	}
	<-s.ended
}

// A credit that was lost is repeated when the callee says that it waits.
func TestLostCreditIsRepeated(t *testing.T) {
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	small := func(c *Config) { c.Peers.Window = 64 << 10 }
	s := &sender{parts: 200, size: 1 << 10, ended: make(chan error, 1)}
	caller, callee := startPeer(t, proxy.URL, echo, small), startPeer(t, url, s.serve, small)
	ended := make(chan error, 1)
	taken := 0
	caller.Begin(t.Context(), callee.id, nil, func(_ []byte, more bool, err error) {
		if taken++; taken == 1 {
			eventually(t, "a full window", func() bool { return s.left.Load() == 64 })
			proxy.Swallow()
		}
		if taken == 64 {
			// All of the window is taken and its credits are lost.
			go func() {
				c := caller.calls.find(1)
				eventually(t, "credit for all", func() bool {
					c.mu.Lock()
					defer c.mu.Unlock()
					return c.legs[0].credited == 64<<10
				})
				proxy.Cut()
			}()
		}
		if !more {
			ended <- err
		}
	})
	if err := <-ended; err != nil || taken != 201 {
		t.Errorf("%d parts, %v", taken, err)
	}
	<-s.ended
}

// A part that was lost fails the call, also when no other part follows, and ends the callee.
func TestLostPartFailsTheCall(t *testing.T) {
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	answers := make(chan *Answer, 1)
	times := func(c *Config) { c.Peers.CallSilence, c.Peers.Working = 10*time.Second, 100*time.Millisecond }
	callee := startPeer(t, proxy.URL, func(_ context.Context, _ hub.NodeID, _ []byte, a *Answer) { answers <- a }, times)
	caller := startPeer(t, url, echo, times)
	ended := make(chan error, 1)
	parts := make(chan string, 10)
	caller.Begin(t.Context(), callee.id, nil, func(part []byte, more bool, err error) {
		if more {
			parts <- string(part)
		} else {
			ended <- err
		}
	})
	a := <-answers
	if err := a.Send([]byte("1")); err != nil || <-parts != "1" {
		t.Fatal(err)
	}
	proxy.Swallow()
	if err := a.Send([]byte("2")); err != nil {
		t.Fatal(err)
	}
	if err := callee.nc.FlushTimeout(100 * time.Millisecond); err == nil {
		t.Fatal("nothing was lost")
	}
	proxy.Cut()
	if err := <-ended; !errors.Is(err, hub.ErrUnreachable) || caller.Stats().Lost != 1 {
		t.Errorf("%v, %d lost", err, caller.Stats().Lost)
	}
	<-a.ctx.Done() // nobody waits for the rest
	a.End(nil)
}

// Without NATS nothing begins, and what is under way ends.
func TestCallsWithoutNATS(t *testing.T) {
	t.Parallel() // it waits most of the time
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	answers := make(chan *Answer, 1)
	quick := func(c *Config) {
		soonSilentOnly(c)
		c.Peers.CallSilence = 4 * time.Second
	}
	callee := startPeer(t, url, func(_ context.Context, _ hub.NodeID, _ []byte, a *Answer) { answers <- a }, quick)
	caller := startPeer(t, proxy.URL, echo, quick)
	ended := make(chan error, 1)
	caller.Begin(t.Context(), callee.id, nil, func(_ []byte, _ bool, err error) { ended <- err })
	a := <-answers
	proxy.Refuse()
	eventually(t, "loss seen", func() bool { return !caller.bus.Connected() })
	if err := <-ended; !errors.Is(err, hub.ErrUnreachable) {
		t.Errorf("under way: %v", err)
	}
	began := time.Now()
	got, all := caller.ask(t.Context(), callee.id, nil), caller.askAll(t.Context(), nil)
	if !errors.Is(got.err, hub.ErrBusAway) || !errors.Is(all[callee.id].err, hub.ErrBusAway) {
		t.Errorf("new: %v, %v", got.err, all)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("new: after %v", took)
	}
	<-a.ctx.Done() // its caller is silent
	a.End(nil)
	proxy.Admit()
	caller.until(t, callee.id, NodeHeardAgain)
	caller.Begin(t.Context(), callee.id, nil, func(_ []byte, _ bool, err error) { ended <- err })
	(<-answers).End(nil)
	if err := <-ended; err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A NATS server that is stopped takes nothing and says nothing: nobody hangs.
func TestFrozenServerHoldsNobody(t *testing.T) {
	process := bustest.StartProcess(t, maxPayload(t, 8<<20)...)
	quick := func(c *Config) { c.Peers.CallSilence = time.Second }
	caller, callee := startPeer(t, process.URL, echo, quick), startPeer(t, process.URL, echo, quick)
	process.Freeze()
	defer process.Thaw() // before the nodes end
	began := time.Now()
	for _, size := range []int{0, 9 << 20, 0} {
		got := caller.ask(t.Context(), callee.id, make([]byte, size))
		if !errors.Is(got.err, hub.ErrUnreachable) && !errors.Is(got.err, hub.ErrBusAway) {
			t.Errorf("%d bytes: %v", size, got.err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// The end of a bus ends the calls that it began and those that it serves.
func TestCloseEndsCalls(t *testing.T) {
	url := bustest.Server(t)
	serving, ends := make(chan struct{}, 1), make(chan error, 2)
	serve := func(ctx context.Context, _ hub.NodeID, _ []byte, a *Answer) {
		context.AfterFunc(ctx, func() {
			a.End(nil)
			ends <- ctx.Err()
		})
		serving <- struct{}{}
	}
	a, b := startPeer(t, url, serve), startPeer(t, url, serve)
	begun := make(chan error, 2)
	a.Begin(t.Context(), b.id, nil, func(_ []byte, _ bool, err error) { begun <- err })
	<-serving
	b.Begin(t.Context(), a.id, nil, func(_ []byte, _ bool, err error) { begun <- err })
	<-serving
	a.closeBus(t)
	if err := <-begun; !errors.Is(err, hub.ErrUnreachable) { // it may have been served
		t.Errorf("begun: %v", err)
	}
	if err := <-ends; !errors.Is(err, context.Canceled) {
		t.Errorf("served: %v", err)
	}
	if got := a.ask(t.Context(), b.id, nil); !errors.Is(got.err, hub.ErrBusAway) {
		t.Errorf("afterwards: %v", got.err)
	}
	b.closeBus(t)
	if err := <-begun; err == nil {
		t.Error("answered by a node that has ended")
	}
}

// Pieces whose rest never comes are forgotten.
func TestStalePiecesAreDropped(t *testing.T) {
	t.Parallel() // it waits most of the time
	url := bustest.Server(t)
	quick := func(c *Config) { c.Peers.CallSilence = 3 * time.Second }
	callee, caller := startPeer(t, url, echo, quick), startPeer(t, url, echo, quick)
	e := envelope{kind: kindRequest, call: 77, size: 1 << 20, body: make([]byte, 1000)}
	if err := caller.publish(subjectTo+string(callee.id), 0, &e); err != nil {
		t.Fatal(err)
	}
	used := func() int64 { return callee.callers.budget.used.Load() }
	eventually(t, "a piece", func() bool { return used() == 1<<20 })
	eventually(t, "no piece", func() bool { return used() == 0 })
}

// A chunk that is missing in the middle fails the call at once.
func TestLostChunkOfARequestIsRefused(t *testing.T) {
	url := bustest.Server(t)
	callee, caller := startPeer(t, url, echo), startPeer(t, url, echo)
	ended := make(chan error, 1)
	c := &call{p: caller.Peers, open: 1, prompt: 1, onOne: func(_ []byte, _ bool, err error) { ended <- err }}
	c.legs = c.one[:]
	c.legs[0].node = caller.table.member(callee.id)
	if err := caller.calls.add(c); err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint32{0, 2, 3} {
		e := envelope{kind: kindRequest, call: c.id, seq: seq, size: 4, body: []byte{1}}
		if err := caller.publish(subjectTo+string(callee.id), 0, &e); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; !errors.Is(err, hub.ErrUnreachable) {
		t.Error(err)
	}
	eventually(t, "one refusal", func() bool { return callee.Stats().Refused == 1 })
	if st := callee.Stats(); st.Served != 0 {
		t.Errorf("%d served", st.Served)
	}
}

// Memory for messages in pieces is bounded for each node and for all.
func TestBudget(t *testing.T) {
	all := &budget{limit: 100}
	a, b := budget{limit: 60, parent: all}, budget{limit: 60, parent: all}
	for i, ok := range []bool{a.take(60), !a.take(1), !b.take(41), b.take(40), !b.take(1)} {
		if !ok {
			t.Errorf("step %d", i)
		}
	}
	a.give(60)
	b.give(40)
	if all.used.Load()+a.used.Load()+b.used.Load() != 0 {
		t.Error("not given back")
	}
	var as assembly
	if _, _, err := as.add(make([]byte, 1), 200, all); err == nil {
		t.Error("more than there is")
	}
	if _, _, err := as.add(make([]byte, 50), 80, all); err != nil {
		t.Error(err)
	}
	if _, _, err := as.add(make([]byte, 31), 80, all); err == nil {
		t.Error("more than announced")
	}
	as.drop()
	if all.used.Load() != 0 {
		t.Error("not given back by drop")
	}
}

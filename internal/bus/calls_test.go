package bus

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

func TestAnswerInParts(t *testing.T) {
	url := bustest.Server(t)
	caller := startPeer(t, url, echo)
	callee := startPeer(t, url, func(_ context.Context, from hub.NodeID, request []byte, a *Answer) {
		if from != caller.id {
			t.Errorf("from %s", from)
		}
		for i := range binary.BigEndian.Uint16(request) {
			if err := a.Send(pattern("part", int(i))); err != nil {
				t.Error(err)
			}
		}
		a.End([]byte("end"))
		a.End([]byte("again"))
		if err := a.Send(nil); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
	})
	for _, n := range []uint16{0, 1, 100} {
		got := caller.ask(t.Context(), callee.id, binary.BigEndian.AppendUint16(nil, n))
		if got.err != nil || len(got.parts) != int(n)+1 || string(got.parts[n]) != "end" {
			t.Fatalf("%d parts: %d, %v", n, len(got.parts), got.err)
		}
		for i, part := range got.parts[:n] {
			if string(part) != string(pattern("part", i)) {
				t.Errorf("part %d of %d is damaged", i, n)
			}
		}
	}
	eventually(t, "all calls over", func() bool { return caller.Stats().Pending == 0 && callee.Stats().Serving == 0 })
	if st := caller.Stats(); st.Late != 0 {
		t.Errorf("%d messages after the end", st.Late)
	}
}

// Calls that one goroutine begins arrive in their order, also when some take many chunks and others one.
func TestCallsKeepTheirOrder(t *testing.T) {
	url := bustest.Server(t)
	var mu sync.Mutex
	var next uint32
	callee := startPeer(t, url, func(_ context.Context, _ hub.NodeID, request []byte, a *Answer) {
		mu.Lock()
		defer mu.Unlock()
		if n := binary.BigEndian.Uint32(request); n != next {
			t.Errorf("%d as number %d", n, next)
		}
		next++
		a.End(nil)
	})
	caller := startPeer(t, url, echo)
	var wg sync.WaitGroup
	for i := range uint32(300) {
		request := make([]byte, 4)
		if i%50 == 7 {
			request = make([]byte, 2<<20)
		}
		binary.BigEndian.PutUint32(request, i)
		wg.Add(1)
		caller.Begin(t.Context(), callee.id, request, func(_ []byte, _ bool, err error) {
			if err != nil {
				t.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
}

// What one NATS message cannot carry goes in several, whatever the server takes.
func TestBigCallsOverASmallMaxPayload(t *testing.T) {
	t.Parallel() // it waits most of the time
	for _, limit := range []int{1 << 10, 64 << 10, 1 << 20, 8 << 20} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			url := bustest.StartProcess(t, maxPayload(t, limit)...).URL
			// On two cores with a race detector, 9 MiB in 512 bytes take their time.
			slow := func(c *Config) { c.Peers.CallSilence = 20 * time.Second }
			caller, callee := startPeer(t, url, echo, slow), startPeer(t, url, echo, slow)
			var wg sync.WaitGroup
			for i, size := range []int{9 << 20, 100, 3<<20 + 1, 0} {
				wg.Go(func() {
					want := pattern(strconv.Itoa(i), size)
					caller.ask(t.Context(), callee.id, want).wantPart(t, strconv.Itoa(size), want)
				})
			}
			wg.Wait()
			if used := caller.calls.budget.used.Load() + callee.callers.budget.used.Load(); used != 0 {
				t.Errorf("%d bytes not given back", used)
			}
		})
	}
}

func TestCallsThatCannotBegin(t *testing.T) {
	url := bustest.Server(t)
	caller, callee := startPeer(t, url, echo), startPeer(t, url, echo)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx     context.Context
		node    hub.NodeID
		request []byte
		want    error
	}{
		"unknown node":  {t.Context(), hub.NewNodeID(), nil, hub.ErrGone},
		"ended context": {ended, callee.id, nil, context.Canceled},
		"too large":     {t.Context(), callee.id, make([]byte, maxWhole+1), errTooLarge},
	} {
		if got := caller.ask(test.ctx, test.node, test.request); !errors.Is(got.err, test.want) {
			t.Errorf("%s: %v, want %v", name, got.err, test.want)
		}
	}
	if n := callee.Stats().Served; n != 0 {
		t.Errorf("%d calls arrived", n)
	}
}

// A node that nobody can reach is reported at once, not when it was silent for long, and is not gone.
func TestNoResponderIsUnreachableAtOnce(t *testing.T) {
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	slow := func(c *Config) { // much slower than "at once", also on a machine that stands still
		c.Peers.CallSilence, c.Peers.SilentAfter, c.Peers.RemoveAfter = 40*time.Second, time.Hour, time.Hour
	}
	caller, callee := startPeer(t, url, echo, slow), startPeer(t, proxy.URL, echo)
	caller.ask(t.Context(), callee.id, []byte("x")).wantPart(t, "before", []byte("x"))
	proxy.Refuse()
	defer proxy.Admit() // so that the callee can end in order
	nc := bustest.Dial(t, url)
	eventually(t, "server knows", func() bool {
		_, err := nc.Request(subjectTo+string(callee.id), nil, 10*time.Second)
		return errors.Is(err, nats.ErrNoResponders)
	})
	began := time.Now()
	got := caller.ask(t.Context(), callee.id, []byte("x"))
	if took := time.Since(began); !errors.Is(got.err, hub.ErrUnreachable) || took > 10*time.Second {
		t.Errorf("%v after %v", got.err, took)
	}
	all := caller.askAll(t.Context(), []byte("x"))
	if took := time.Since(began); !errors.Is(all[callee.id].err, hub.ErrUnreachable) || took > 20*time.Second {
		t.Errorf("all: %v after %v", all, took)
	}
}

// A callee that hangs is given up after a while, or at the deadline if that is nearer.
func TestSilentCalleeIsUnreachable(t *testing.T) {
	t.Parallel() // it waits most of the time
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	quick := func(c *Config) { c.Peers.CallSilence, c.Peers.SilentAfter = 3*time.Second, time.Hour }
	caller, callee := startPeer(t, url, echo, quick), startPeer(t, proxy.URL, echo, quick)
	proxy.Hold()
	began := time.Now()
	got := caller.ask(t.Context(), callee.id, []byte("x"))
	if took := time.Since(began); !errors.Is(got.err, hub.ErrUnreachable) || took < 2*time.Second || took > 15*time.Second {
		t.Errorf("%v after %v", got.err, took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := caller.ask(ctx, callee.id, []byte("x")); !errors.Is(got.err, context.DeadlineExceeded) {
		t.Errorf("at the deadline: %v", got.err)
	}
	proxy.Release()
	eventually(t, "late answers", func() bool { return caller.Stats().Late >= 1 })
	caller.ask(t.Context(), callee.id, []byte("x")).wantPart(t, "after", []byte("x"))
}

// A call that takes longer than a caller waits for a sign lives on the callee's signs.
func TestLongCallLives(t *testing.T) {
	url := bustest.Server(t)
	times := func(c *Config) { c.Peers.CallSilence, c.Peers.Working = time.Second, 100*time.Millisecond }
	answers := make(chan *Answer, 1)
	callee := startPeer(t, url, func(_ context.Context, _ hub.NodeID, _ []byte, a *Answer) { answers <- a }, times)
	caller := startPeer(t, url, echo, times)
	ended := make(chan error, 1)
	caller.Begin(t.Context(), callee.id, nil, func(_ []byte, _ bool, err error) { ended <- err })
	a := <-answers
	eventually(t, "three times the silence", func() bool { return caller.now.Load() > 3*ticks })
	a.End(nil)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDeadlineTravels(t *testing.T) {
	t.Parallel() // it waits most of the time
	const limit = 5 * time.Second
	url := bustest.Server(t)
	deadlines := make(chan time.Duration, 1)
	told := make(chan struct{}) // the caller was
	callee := startPeer(t, url, func(ctx context.Context, _ hub.NodeID, _ []byte, a *Answer) {
		d, _ := ctx.Deadline()
		deadlines <- time.Until(d)
		context.AfterFunc(ctx, func() { // at its deadline, or by the caller's cancel: whichever is first
			<-told
			a.End(nil)
		})
	})
	caller := startPeer(t, url, echo)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if got := caller.ask(ctx, callee.id, nil); !errors.Is(got.err, context.DeadlineExceeded) {
		t.Errorf("caller: %v", got.err)
	}
	close(told)
	if d := <-deadlines; d <= 0 || d > limit {
		t.Errorf("callee has %v left", d)
	}
}

// A callee without the caller's cancel ends at the deadline by itself.
func TestDeadlineEndsTheCalleeWithoutItsCaller(t *testing.T) {
	t.Parallel() // it waits most of the time
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	ends := make(chan error, 1)
	callee := startPeer(t, url, func(ctx context.Context, _ hub.NodeID, _ []byte, a *Answer) {
		proxy.Swallow()
		context.AfterFunc(ctx, func() {
			ends <- ctx.Err()
			a.End(nil)
		})
	})
	caller := startPeer(t, proxy.URL, echo)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_ = caller.ask(ctx, callee.id, nil)
	if err := <-ends; !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestCancelEndsTheCallee(t *testing.T) {
	for name, lost := range map[string]bool{"heard": false, "lost, with the caller's connection": true} {
		t.Run(name, func(t *testing.T) {
			url := bustest.Server(t)
			proxy := bustest.NewProxy(t, url)
			arrived, ends := make(chan struct{}, 1), make(chan error, 1)
			// What is not told when it happens is found when the callee says that it works, or never.
			working := time.Hour
			if lost {
				working = 100 * time.Millisecond
			}
			times := func(c *Config) { c.Peers.Working = working }
			callee := startPeer(t, url, func(ctx context.Context, _ hub.NodeID, _ []byte, a *Answer) {
				context.AfterFunc(ctx, func() {
					ends <- ctx.Err()
					a.End(nil)
				})
				arrived <- struct{}{}
			}, times)
			caller := startPeer(t, proxy.URL, echo, times)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			caller.Begin(ctx, callee.id, nil, func(_ []byte, _ bool, err error) { ended <- err })
			<-arrived
			if lost {
				proxy.Swallow()
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("caller: %v", err)
			}
			if lost {
				proxy.Cut()
			}
			if err := <-ends; !errors.Is(err, context.Canceled) {
				t.Errorf("callee: %v", err)
			}
		})
	}
}

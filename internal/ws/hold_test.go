package ws_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

func TestRefusedEventIsOfferedAgainOnceAfterRelease(t *testing.T) {
	var offers []string
	var room atomic.Bool
	refused := make(chan struct{}, 1)
	l := connected(t, ws.Config{}, func(l *link) {
		take := func(kind string) func([]byte) bool {
			return func(payload []byte) bool {
				offers = append(offers, kind+string(payload)) // the methods run one at a time
				if strings.HasPrefix(string(payload), "no") && !room.Swap(false) {
					refused <- struct{}{}
					return false
				}
				return true
			}
		}
		message := take("m-")
		l.rec.Message = func(_ wire.Opcode, p []byte) bool { return message(p) }
		l.rec.Ping, l.rec.Pong = take("ping-"), take("pong-")
	})
	l.peer.Send(wstest.Text("a"), wstest.Text("no1"), wstest.Text("b"), wstest.Ping("no2"), wstest.Pong("no3"), wstest.Text("c"))
	for range 3 {
		<-refused
		eventually(t, "HoldBusy", func() bool { return l.State().Held == ws.HoldBusy })
		room.Store(true)
		l.Release(ws.HoldBusy)
	}
	l.rec.WaitFor("text c")
	want := "m-a m-no1 m-no1 m-b ping-no2 ping-no2 pong-no3 pong-no3 m-c"
	if got := strings.Join(offers, " "); got != want {
		t.Errorf("offered %s, want %s", got, want)
	}
	if got := strings.Join(l.rec.Events(), ", "); got != "text a, text no1, text b, ping no2, pong no3, text c" {
		t.Errorf("recorded %s", got)
	}
	l.peer.Expect(wire.Pong, "no2")
}

func TestHandlerThatStaysBusyIsAskedOncePerRelease(t *testing.T) {
	var offers atomic.Int32
	l := connected(t, ws.Config{}, func(l *link) {
		l.rec.Message = func(wire.Opcode, []byte) bool { return offers.Add(1) > 3 }
	})
	l.peer.Send(wstest.Text("x"), wstest.Text("y"))
	for n := int32(1); n <= 3; n++ {
		eventually(t, "an offer", func() bool { return offers.Load() == n && l.State().Held != 0 })
		l.Release(ws.HoldBusy)
	}
	l.rec.WaitFor("text y")
	if n := offers.Load(); n != 5 {
		t.Errorf("%d offers, want 5", n)
	}
}

// numbers floods a connection with numbered messages until the test stops it; it answers how many went.
func numbers(p *wstest.Peer, size int, stop <-chan struct{}) (sent uint64) {
	payload := make([]byte, size)
	for {
		select {
		case <-stop:
			return sent
		default:
		}
		binary.BigEndian.PutUint64(payload, sent)
		if p.TrySend(wstest.Binary(payload)) != nil {
			return sent
		}
		sent++
	}
}

// inOrder makes a handler that checks numbered messages.
func inOrder(t *testing.T, seen *atomic.Uint64) func(wire.Opcode, []byte) bool {
	return func(_ wire.Opcode, payload []byte) bool {
		if n := binary.BigEndian.Uint64(payload); n != seen.Load() {
			t.Errorf("message %d came after %d", n, seen.Load())
		}
		seen.Add(1)
		return true
	}
}

func TestNoEventAfterHoldHasReturned(t *testing.T) {
	var seen atomic.Uint64
	l := connected(t, ws.Config{}, func(l *link) { l.rec.Message = inOrder(t, &seen) })
	stop := make(chan struct{})
	sent := make(chan uint64, 1)
	go func() { sent <- numbers(l.peer, 100, stop) }()
	for range 50 {
		eventually(t, "progress", func() bool { return seen.Load() > 0 })
		l.Hold(ws.HoldPaused)
		at := seen.Load()
		for range 20 {
			if now := seen.Load(); now != at {
				t.Fatalf("%d events after Hold returned", now-at)
			}
			time.Sleep(10 * time.Microsecond)
		}
		l.Release(ws.HoldPaused)
	}
	close(stop)
	n := <-sent
	eventually(t, "every message", func() bool { return seen.Load() == n })
}

func TestHeldPeerFeelsBackPressureAndLosesNothing(t *testing.T) {
	var seen atomic.Uint64
	l := connected(t, ws.Config{}, func(l *link) { l.rec.Message = inOrder(t, &seen) })
	l.Hold(ws.HoldPaused)
	stop := make(chan struct{})
	sent := make(chan uint64, 1)
	_ = l.peer.SetWriteDeadline(time.Now().Add(time.Second / 2))
	var whole uint64
	go func() { whole = numbers(l.peer, 64<<10, stop); sent <- whole }()
	n := <-sent // the write deadline ended it: the socket took no more
	_ = l.peer.SetWriteDeadline(time.Time{})
	if seen.Load() > 0 {
		t.Errorf("%d events while held", seen.Load())
	}
	l.Release(ws.HoldPaused)
	eventually(t, "every whole message", func() bool { return seen.Load() >= n })
}

func TestHoldAndReleaseFromManyGoroutines(t *testing.T) {
	var seen atomic.Uint64
	l := connected(t, ws.Config{}, func(l *link) {
		check := inOrder(t, &seen)
		l.rec.Message = func(op wire.Opcode, p []byte) bool {
			if seen.Load()%7 == 3 && time.Now().UnixNano()%2 == 0 {
				go l.Release(ws.HoldBusy)
				return false
			}
			return check(op, p)
		}
	})
	stop := make(chan struct{})
	sent := make(chan uint64, 1)
	go func() { sent <- numbers(l.peer, 50, stop) }()
	var wg sync.WaitGroup
	for _, h := range []ws.Hold{ws.HoldPaused, 4, 8, 4} {
		wg.Go(func() {
			for range 500 {
				l.Hold(h)
				l.Release(h)
			}
		})
	}
	wg.Wait()
	close(stop)
	n := <-sent
	eventually(t, "every message", func() bool { return seen.Load() == n })
}

func TestHeldConnectionThatIsClosedReadsOnlyForThePeersClose(t *testing.T) {
	l := connected(t, ws.Config{}, func(l *link) {
		l.rec.Message = func(wire.Opcode, []byte) bool { return false }
	})
	l.peer.Send(wstest.Text("kept"), wstest.Text("kept too"))
	eventually(t, "HoldBusy", func() bool { return l.State().Held == ws.HoldBusy })
	l.peer.Send(wstest.Text("unread"))
	l.Hold(ws.HoldPaused)
	l.Close(4000, "", 0, nil)
	l.peer.ExpectClose(4000)
	l.peer.Send(wstest.Text("discarded"), wstest.Close(4000, "fine"))
	l.peer.ExpectEnd()
	if end := l.rec.End(); !end.WasClean || end.Reason != "fine" {
		t.Errorf("ended as %+v", end)
	}
	if got := l.rec.Events(); !slices.Equal(got, []string{"close"}) {
		t.Errorf("recorded %v", got)
	}
}

// The hold of an event that is refused begins when the Handler has answered: a Close meanwhile has seen none.
func TestConnectionThatIsClosedWhileAnEventIsRefusedReadsThePeersClose(t *testing.T) {
	l := connected(t, ws.Config{CloseTimeout: wstest.Patience}, func(l *link) {
		l.rec.Message = func(wire.Opcode, []byte) bool {
			l.Close(4000, "", 0, nil)
			return false
		}
	})
	l.peer.Send(wstest.Text("refused"))
	l.peer.ExpectClose(4000)
	l.peer.Send(wstest.Close(4000, "fine"))
	l.peer.ExpectEnd()
	if end := l.rec.End(); !end.WasClean || end.Reason != "fine" {
		t.Errorf("ended as %+v", end)
	}
}

func TestHangUpWhileHeldIsToldAfterRelease(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	l.Hold(ws.HoldPaused)
	l.peer.Send(wstest.Text("last words"))
	_ = l.peer.Close()
	time.Sleep(20 * time.Millisecond) // gives a mistake its chance
	if got := l.rec.Events(); len(got) != 0 {
		t.Fatalf("recorded %v while held", got)
	}
	l.Release(ws.HoldPaused)
	if end := l.rec.End(); end.Cause != ws.Transport {
		t.Errorf("ended as %+v", end)
	}
	if got := strings.Join(l.rec.Events(), ", "); got != "text last words, close" {
		t.Errorf("recorded %s", got)
	}
}

func TestResetWhileHeldEndsAtOnce(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS=%v", secure), func(t *testing.T) {
			links := make(chan *link, 1)
			url := serve(t, ws.Config{}, secure, func(l *link) { links <- l })
			p := wstest.Dial(t, url, nil)
			l := <-links
			p.Send(wstest.Text("first"))
			l.rec.WaitFor("text first")
			l.Hold(ws.HoldPaused)
			p.Send(wstest.Text("unread"))
			if secure {
				wstest.NewPeer(t, inner(p.Conn)).Reset()
			} else {
				p.Reset()
			}
			if end := l.rec.End(); end.Cause != ws.Transport {
				t.Errorf("ended as %+v", end)
			}
		})
	}
}

func TestTerminateWhileHeld(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	l.Hold(ws.HoldPaused)
	l.Terminate(0)
	l.rec.End()
}

func TestConnectionMayStartHeld(t *testing.T) {
	url := serve(t, ws.Config{}, false, func(l *link) {
		l.Hold(ws.HoldPaused)
		time.AfterFunc(20*time.Millisecond, func() { l.Release(ws.HoldPaused) })
	})
	p := wstest.Dial(t, url, nil, wstest.Text("early"), wstest.Ping("x"))
	p.Expect(wire.Pong, "x")
}

func TestClocksStandStillWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := ws.Config{HeartbeatInterval: 30 * time.Second, HeartbeatTimeout: 10 * time.Second}
		l := piped(t, cfg, nil)
		silent(l)
		done, told := outcome(t)
		m := text("x")
		m.Confirmation = ws.Received
		mustSend(t, l.Conn, m, done)
		time.Sleep(time.Second)
		l.Hold(ws.HoldPaused)
		time.Sleep(10 * time.Minute)
		if l.rec.Ended() || len(told) > 0 {
			t.Fatal("a time limit passed while held")
		}
		released := time.Now()
		l.Release(ws.HoldPaused)
		if o := <-told; !errors.Is(o.Err, ws.ErrNotConfirmed) || !around(time.Since(released), 10*time.Second) {
			t.Errorf("outcome %v after %v", o.Err, time.Since(released))
		}
		if end := l.rec.End(); end.Cause != ws.PingTimeout || !around(time.Since(released), 10*time.Second) {
			t.Errorf("ended as %+v after %v", end, time.Since(released))
		}
	})
}

// silent lets the peer read everything and answer nothing.
func silent(l *link) {
	go func() {
		for {
			if _, err := l.peer.Read(make([]byte, 4096)); err != nil {
				return
			}
		}
	}()
}

// around: the clock of the engine is late by up to two ticks.
func around(got, want time.Duration) bool { return got >= want && got <= want+30*time.Millisecond }

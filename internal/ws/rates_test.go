package ws_test

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// floods are what a peer sends far too much of: what a second may hold, and the frames.
var floods = map[string]struct {
	rates  ws.Rates
	frames func(n int) []wstest.Frame
}{
	"messages": {ws.Rates{Messages: 10}, repeat(wstest.Text("m"))},
	"bytes":    {ws.Rates{Bytes: 160}, repeat(wstest.Text("0123456789"))}, // 16 bytes with its header
	"pings":    {ws.Rates{ControlFrames: 10}, repeat(wstest.Ping("p"))},
	"pongs":    {ws.Rates{ControlFrames: 10}, repeat(wstest.Pong("p"))},
}

func repeat(f wstest.Frame) func(int) []wstest.Frame {
	return func(n int) (all []wstest.Frame) {
		for range n {
			all = append(all, f)
		}
		return all
	}
}

// Ten may come at once and ten in every second after that; each read may bring one too many.
func TestPeerOverItsRateIsReadAtItsRate(t *testing.T) {
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const total, perSecond = 60, 10
				l := piped(t, ws.Config{HeartbeatInterval: -1, Rates: flood.rates}, nil)
				drained := untilClosed(l)
				go func() { _ = l.peer.TrySend(flood.frames(total)...) }()
				start := time.Now()
				for len(l.rec.Events()) < total {
					time.Sleep(100 * time.Millisecond)
					allowed := perSecond + int(time.Since(start).Seconds()*perSecond) + 1
					if n := len(l.rec.Events()); n > allowed {
						t.Fatalf("%d after %v", n, time.Since(start))
					}
					if time.Since(start) > time.Minute {
						t.Fatalf("only %d after %v", len(l.rec.Events()), time.Since(start))
					}
				}
				if d := time.Since(start); d > 7*time.Second {
					t.Errorf("%d took %v, want %d in a second", total, d, perSecond)
				}
				l.Close(1000, "", 0, nil)
				drained()
			})
		})
	}
}

func TestPeerOverItsRateIsClosedWhereAsked(t *testing.T) {
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				flood.rates.Policy = ws.RateClose
				l := piped(t, ws.Config{HeartbeatInterval: -1, Rates: flood.rates}, nil)
				closed := untilClosed(l)
				go func() { _ = l.peer.TrySend(flood.frames(11)...) }()
				if code, _ := closed(); code != wire.PolicyViolation {
					t.Errorf("closed with %d", code)
				}
				end := l.rec.End()
				if end.Cause != ws.RateLimited || end.SentReason != "more in a second than this endpoint allows" || end.Fault != nil {
					t.Errorf("ended as %+v", end)
				}
				if n := len(l.rec.Events()) - 1; n != 10 {
					t.Errorf("%d were told, want those within the rate", n)
				}
			})
		})
	}
}

func TestPeerWithinItsRatesIsNeverHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t)
		server, client := net.Pipe()
		rates := ws.Rates{Messages: 10, Bytes: 10 * 8, ControlFrames: 10, Policy: ws.RateClose}
		l := started(t, e, ws.Config{Rates: rates}, server, client, nil)
		closed := untilClosed(l)
		for range 300 {
			l.peer.Send(wstest.Text(""))
			time.Sleep(110 * time.Millisecond)
		}
		if n := e.OverRate(); n != 0 || l.rec.Ended() {
			t.Errorf("%d times over the rate; %v", n, l.rec.Events()[:3])
		}
		l.Close(1000, "", 0, nil)
		closed()
	})
}

// Pongs that a backend asked for are none of the peer's doing.
func TestAskedPongsAreFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{HeartbeatInterval: -1, Rates: ws.Rates{ControlFrames: 1, Policy: ws.RateClose}}, nil)
		closed := untilClosed(l)
		for i := range 30 {
			done, answered := outcome(t)
			if err := l.Ping(fmt.Append(nil, i), ws.Received, done); err != nil {
				t.Fatal(err)
			}
			if o := <-answered; o.Err != nil {
				t.Fatal(o.Err)
			}
		}
		l.Close(1000, "", 0, nil)
		if code, _ := closed(); code != 1000 {
			t.Errorf("closed with %d", code)
		}
	})
}

// A hold for the rate and one for a pause end each on its own.
func TestRateAndPauseAreHoldsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{HeartbeatInterval: -1, Rates: ws.Rates{Messages: 1}}, nil)
		go func() { _ = l.peer.TrySend(repeat(wstest.Text("m"))(4)...) }()
		synctest.Wait()
		if got := l.State().Held; got != ws.HoldRate {
			t.Fatalf("held for %b", got)
		}
		l.Hold(ws.HoldPaused)
		before := len(l.rec.Events())
		time.Sleep(time.Minute)
		if got := l.State().Held; got != ws.HoldPaused || len(l.rec.Events()) != before {
			t.Fatalf("held for %b; %v", got, l.rec.Events())
		}
		l.Release(ws.HoldPaused)
		time.Sleep(10 * time.Second)
		if n := len(l.rec.Events()); n != 4 {
			t.Errorf("%d messages were told", n)
		}
	})
}

// What is over the rate does not count as silence, and closing does not wait for it.
func TestCloseReadsOnOverTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{Rates: ws.Rates{Bytes: 1}}, nil)
		closed := untilClosed(l)
		go func() { _ = l.peer.TrySend(repeat(wstest.Text("0123456789"))(10)...) }()
		time.Sleep(time.Minute)
		if l.rec.Ended() {
			t.Fatalf("ended as %+v", l.rec.End())
		}
		l.Close(1000, "", 0, nil)
		if code, _ := closed(); code != 1000 {
			t.Errorf("closed with %d", code)
		}
		if end := l.rec.End(); !end.WasClean {
			t.Errorf("ended as %+v", end)
		}
	})
}

func TestFrameOverItsLimitIsRefused(t *testing.T) {
	l := connected(t, ws.Config{FrameSize: 10}, nil)
	l.peer.Send(wstest.Frame{Opcode: wire.Text, NoFin: true, Payload: []byte("0123456789")},
		wstest.Frame{Opcode: wire.Continuation, Payload: []byte("0123456789")})
	l.rec.WaitFor("text 01234567890123456789")
	l.peer.Send(wstest.Text("0123456789A"))
	if reason := l.peer.ExpectClose(1009); reason != "frame is longer than the limit" {
		t.Errorf("reason %q", reason)
	}
	_ = l.peer.Close()
	if end := l.rec.End(); end.Cause != ws.MessageTooBig || end.Fault.Name != wire.UnsupportedMessageLength {
		t.Errorf("ended as %+v", end)
	}
}

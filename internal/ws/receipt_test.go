package ws_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

func confirmed(s string, c ws.Confirmation) *ws.Message {
	return &ws.Message{Opcode: wire.Text, Payload: []byte(s), Confirmation: c}
}

func TestWrittenIsToldWhenTheKernelTookIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := stuck(t, ws.Config{})
		done, told := outcome(t)
		mustSend(t, l.Conn, confirmed("x", ws.Written), done)
		synctest.Wait()
		if len(told) != 0 {
			t.Error("told before it was written")
		}
		l.peer.Expect(wire.Text, "0")
		l.peer.Expect(wire.Text, "x")
		if o := <-told; o.Err != nil {
			t.Error(o.Err)
		}
	})
}

func TestReceivedIsToldByThePongBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := stuck(t, ws.Config{})
		done1, told1 := outcome(t)
		done2, told2 := outcome(t)
		mustSend(t, l.Conn, confirmed("x", ws.Received), done1)
		mustSend(t, l.Conn, confirmed("y", ws.Received), done2)
		l.peer.Expect(wire.Text, "0")
		l.peer.Expect(wire.Text, "x")
		l.peer.Expect(wire.Text, "y")
		f := l.peer.Receive() // one ping for the flush
		if f.Opcode != wire.Ping || len(f.Payload) != 8 {
			t.Fatalf("received %v %q", f.Opcode, f.Payload)
		}
		time.Sleep(time.Second)
		l.peer.Send(wstest.Frame{Opcode: wire.Pong, Payload: f.Payload})
		for _, told := range []<-chan ws.Outcome{told1, told2} {
			if o := <-told; o.Err != nil || o.RTT < time.Second || o.RTT > time.Second+time.Millisecond {
				t.Errorf("outcome %+v", o)
			}
		}
		if len(l.rec.Events()) != 0 {
			t.Errorf("recorded %v", l.rec.Events())
		}
	})
}

func TestPongConfirmsAllPingsBefore(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	var told []<-chan ws.Outcome
	var last wstest.Frame
	for i := range 5 {
		done, ch := outcome(t)
		told = append(told, ch)
		if i%2 == 0 {
			mustSend(t, l.Conn, confirmed("x", ws.Received), done)
			l.peer.Expect(wire.Text, "x")
		} else if err := l.Ping(fmt.Append(nil, "own ", i), ws.Received, done); err != nil {
			t.Fatal(err)
		}
		last = l.peer.Receive()
	}
	l.peer.Send(wstest.Frame{Opcode: wire.Pong, Payload: last.Payload})
	for _, ch := range told {
		if o := <-ch; o.Err != nil || o.RTT <= 0 {
			t.Errorf("outcome %+v", o)
		}
	}
	if l.State().RTT <= 0 {
		t.Error("no RTT")
	}
}

func TestPongThatAnswersNothingIsAnEvent(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	l.peer.Send(wstest.Pong("heartbeat of the client"))
	l.rec.WaitFor("pong heartbeat of the client")
	done, told := outcome(t)
	if err := l.Ping([]byte("p"), ws.Received, done); err != nil {
		t.Fatal(err)
	}
	l.peer.Expect(wire.Ping, "p")
	l.peer.Send(wstest.Pong("q"), wstest.Pong("p"), wstest.Pong("p"))
	l.rec.WaitFor("pong q")
	l.rec.WaitFor("pong p") // the second
	if o := <-told; o.Err != nil {
		t.Error(o.Err)
	}
}

func TestLimitOfUnansweredPings(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	for i := range ws.MaxPings {
		if err := l.Ping([]byte{byte(i)}, ws.Queued, nil); err != nil {
			t.Fatalf("ping %d: %v", i, err)
		}
		l.peer.Receive()
	}
	if err := l.Ping(nil, ws.Queued, nil); !errors.Is(err, ws.ErrTooManyPings) {
		t.Errorf("one ping more: %v", err)
	}
	done, told := outcome(t)
	mustSend(t, l.Conn, confirmed("waits for a place", ws.Received), done)
	l.peer.Expect(wire.Text, "waits for a place")
	l.peer.Send(wstest.Pong("\x00"))
	f := l.peer.Receive()
	l.peer.Send(wstest.Frame{Opcode: wire.Pong, Payload: f.Payload})
	if o := <-told; o.Err != nil {
		t.Error(o.Err)
	}
}

func TestLimitOfReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{SendQueueMessages: 2 * ws.MaxReceipts, HeartbeatInterval: -1}, nil)
		silent(l)
		var told atomic.Int32
		done := func(o ws.Outcome) {
			if errors.Is(o.Err, ws.ErrNotConfirmed) {
				told.Add(1)
			}
		}
		for range ws.MaxReceipts {
			mustSend(t, l.Conn, confirmed("x", ws.Received), done)
		}
		if _, err := l.Send(confirmed("x", ws.Received), done); !errors.Is(err, ws.ErrTooManyPings) {
			t.Errorf("one more: %v", err)
		}
		start := time.Now()
		for told.Load() < ws.MaxReceipts && time.Since(start) < time.Minute {
			time.Sleep(time.Second)
		}
		// MaxPings of them have a ping under way; the others wait for a place, then for a pong.
		if n := told.Load(); n != ws.MaxReceipts || time.Since(start) > 2*ws.DefaultHeartbeatTimeout+2*time.Second {
			t.Errorf("%d outcomes after %v", n, time.Since(start))
		}
		mustSend(t, l.Conn, confirmed("x", ws.Received), done)
	})
}

// Pings that nobody waits for give their places back, too.
func TestReceiptBehindUnansweredPingsIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{HeartbeatInterval: -1}, nil)
		silent(l)
		for range ws.MaxPings {
			if err := l.Ping(nil, ws.Queued, nil); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		done, told := outcome(t)
		mustSend(t, l.Conn, confirmed("x", ws.Received), done)
		time.Sleep(2*ws.DefaultHeartbeatTimeout + time.Second)
		select {
		case o := <-told:
			if !errors.Is(o.Err, ws.ErrNotConfirmed) {
				t.Errorf("outcome %v", o.Err)
			}
		default:
			t.Error("there is no outcome")
		}
	})
}

func TestReceiptIsGivenUpInTime(t *testing.T) {
	for _, interval := range []time.Duration{-1, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			l := piped(t, ws.Config{HeartbeatInterval: interval}, nil)
			done, told := outcome(t)
			mustSend(t, l.Conn, confirmed("x", ws.Received), done)
			l.peer.Expect(wire.Text, "x")
			f := l.peer.Receive()
			start := time.Now()
			if o := <-told; !errors.Is(o.Err, ws.ErrNotConfirmed) || !around(time.Since(start), ws.DefaultHeartbeatTimeout) {
				t.Errorf("outcome %v after %v", o.Err, time.Since(start))
			}
			l.peer.Send(wstest.Frame{Opcode: wire.Pong, Payload: f.Payload}, wstest.Text("next"))
			l.rec.WaitFor("text next")
			if n := len(l.rec.Events()); n != 1 {
				t.Errorf("a late pong to our own ping was told: %v", l.rec.Events())
			}
		})
	}
}

func TestNoReceiptWhileHeld(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	l.Hold(ws.HoldPaused)
	if _, err := l.Send(confirmed("x", ws.Received), nil); !errors.Is(err, ws.ErrHeld) {
		t.Errorf("send: %v", err)
	}
	if err := l.Ping(nil, ws.Received, nil); !errors.Is(err, ws.ErrHeld) {
		t.Errorf("ping: %v", err)
	}
	mustSend(t, l.Conn, confirmed("y", ws.Written), nil)
	l.peer.Expect(wire.Text, "y")
	l.Release(ws.HoldPaused)
	mustSend(t, l.Conn, confirmed("x", ws.Received), nil)
	l.peer.Expect(wire.Text, "x")
}

// A connection that is not read for a moment can be asked: somebody who was told of its opening may be quicker than what
// ends the hold, and a client that sends too much does not keep others from being sure.
func TestReceiptWaitsForAHoldThatIsOverSoon(t *testing.T) {
	for name, hold := range map[string]ws.Hold{"opening": ws.HoldOpening, "over its rate": ws.HoldRate} {
		t.Run(name, func(t *testing.T) {
			l := connected(t, ws.Config{}, nil)
			l.Hold(hold)
			told := make(chan ws.Outcome, 2)
			mustSend(t, l.Conn, confirmed("x", ws.Received), func(o ws.Outcome) { told <- o })
			if err := l.Ping(nil, ws.Received, func(o ws.Outcome) { told <- o }); err != nil {
				t.Fatal(err)
			}
			for pings := 0; pings < 2; {
				if f := l.peer.Receive(); f.Opcode == wire.Ping {
					l.peer.Send(wstest.Frame{Opcode: wire.Pong, Payload: f.Payload})
					pings++
				}
			}
			l.Release(hold)
			for range 2 {
				if o := <-told; o.Err != nil {
					t.Error(o.Err)
				}
			}
		})
	}
}

// The ping of a receipt passes messages that came later, also where none of them ends with a batch.
func TestPingForAReceiptPassesLaterMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := stuck(t, ws.Config{})
		mustSend(t, l.Conn, confirmed("receipt, please", ws.Received), func(ws.Outcome) {})
		for range 3 {
			mustSend(t, l.Conn, binaryMessage(200_000), nil)
		}
		l.peer.Expect(wire.Text, "0")
		l.peer.Expect(wire.Text, "receipt, please")
		var got []wire.Opcode
		for range 4 {
			got = append(got, l.peer.Receive().Opcode)
		}
		if want := []wire.Opcode{wire.Binary, wire.Ping, wire.Binary, wire.Binary}; !slices.Equal(got, want) {
			t.Errorf("received %v, want %v", got, want)
		}
	})
}

package ws_test

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// untilClosed answers each ping, as a stock client does, and each close frame, and tells when which came.
func untilClosed(l *link) (closed func() (code uint16, after time.Duration)) {
	start := time.Now()
	var at time.Duration
	var code uint16
	done := make(chan struct{})
	_ = l.peer.SetDeadline(time.Time{})
	go func() {
		defer close(done)
		for {
			f, err := l.peer.TryReceive()
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded): // only impatient
			case err != nil:
				return
			case f.Opcode == wire.Ping:
				_ = l.peer.TrySend(wstest.Frame{Opcode: wire.Pong, Payload: f.Payload})
			case f.Opcode == wire.Close:
				at = time.Since(start)
				code, _, _ = wire.ParseClose(f.Payload)
				_ = l.peer.TrySend(wstest.Frame{Opcode: wire.Close, Payload: f.Payload})
			}
		}
	}()
	return func() (uint16, time.Duration) { <-done; return code, at }
}

func TestIdleConnectionIsClosed(t *testing.T) {
	const limit = 5 * time.Minute
	for name, test := range map[string]struct {
		live func(*link) // what goes on at 4 and at 8 minutes
		last time.Duration
	}{
		"nothing but the heartbeat": {func(*link) {}, 0},
		"control frames":            {func(l *link) { l.peer.Send(wstest.Ping("x"), wstest.Pong("y")) }, 0},
		"messages of the client":    {func(l *link) { l.peer.Send(wstest.Text("x")) }, 8 * time.Minute},
		"messages to the client":    {func(l *link) { _, _ = l.Send(text("x"), nil) }, 8 * time.Minute},
		"half a message":            {func(l *link) { l.peer.Raw([]byte{0x81}) }, 8 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := piped(t, ws.Config{IdleTimeout: limit}, nil)
				closed := untilClosed(l)
				for range 2 {
					time.Sleep(4 * time.Minute)
					if l.rec.Ended() {
						break
					}
					test.live(l)
					if name == "half a message" {
						l.peer.Raw([]byte{0x80, 0, 0, 0, 0})
					}
				}
				code, after := closed()
				if code != wire.GoingAway || after < test.last+limit || after > test.last+limit+time.Second {
					t.Errorf("closed with %d after %v, want %v", code, after, test.last+limit)
				}
				if end := l.rec.End(); end.Cause != ws.Idle || !end.WasClean || end.SentReason != "no message for too long" {
					t.Errorf("ended as %+v", end)
				}
			})
		})
	}
}

func TestUnreadIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{IdleTimeout: time.Minute, HeartbeatInterval: -1}, nil)
		closed := untilClosed(l)
		l.Hold(ws.HoldPaused)
		time.Sleep(10 * time.Minute)
		if l.rec.Ended() {
			t.Fatal("it ended while it was not read")
		}
		l.Release(ws.HoldPaused)
		if _, after := closed(); after < 11*time.Minute {
			t.Errorf("closed after %v: the clock did not start anew", after)
		}
	})
}

func TestLifetimeEndsWithinItsLastTenth(t *testing.T) {
	const limit = 5 * time.Minute
	seen := make(map[time.Duration]bool)
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			l := piped(t, ws.Config{Lifetime: limit}, nil)
			l.Hold(ws.HoldPaused) // it does not stand still
			closed := untilClosed(l)
			code, after := closed()
			if code != ws.ExpiredCode || after < limit*9/10 || after > limit+time.Second {
				t.Errorf("closed with %d after %v", code, after)
			}
			seen[after.Round(time.Second)] = true
			if end := l.rec.End(); end.Cause != ws.Expired || !end.WasClean {
				t.Errorf("ended as %+v", end)
			}
		})
	}
	if len(seen) < 5 {
		t.Errorf("only %d different lifetimes among 20", len(seen))
	}
}

func TestExpiredConnectionIsSentWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{Lifetime: time.Minute, HeartbeatInterval: -1}, nil)
		mustSend(t, l.Conn, text("first"), nil) // which nobody reads until it is over
		mustSend(t, l.Conn, text("last"), nil)
		time.Sleep(61 * time.Second)
		l.peer.Expect(wire.Text, "first")
		l.peer.Expect(wire.Text, "last")
		l.peer.ExpectClose(ws.ExpiredCode)
		l.peer.Send(wstest.Close(ws.ExpiredCode, ""))
		if end := l.rec.End(); end.Cause != ws.Expired || !end.WasClean {
			t.Errorf("ended as %+v", end)
		}
	})
}

// A broker that stood still for a while owes all its pings at once; after a few beats they are spread again.
func TestHeartbeatsDriftApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 30 * time.Second
		l := piped(t, ws.Config{HeartbeatInterval: interval}, nil)
		_ = l.peer.SetDeadline(time.Time{})
		seen := make(map[time.Duration]bool)
		first := receivePatiently(t, l.peer, time.Minute)
		l.peer.Send(wstest.Frame{Opcode: wire.Pong, Payload: first.Payload})
		last := time.Now()
		for range 20 {
			f := receivePatiently(t, l.peer, time.Minute)
			between := time.Since(last)
			if last = time.Now(); between < interval*95/100-time.Second || between > interval*105/100+time.Second {
				t.Errorf("%v between two pings", between)
			}
			seen[between.Round(200*time.Millisecond)] = true
			l.peer.Send(wstest.Frame{Opcode: wire.Pong, Payload: f.Payload})
		}
		if len(seen) < 4 {
			t.Errorf("pings came at only %d different distances", len(seen))
		}
	})
}

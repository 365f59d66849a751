package ws_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// part makes a fragment: of a new message if number is 0.
func part(number uint64, s string, more bool) *ws.Message {
	return &ws.Message{Opcode: wire.Text, Payload: []byte(s), Fragment: number, More: more}
}

func (l *link) expectPart(t *testing.T, op wire.Opcode, payload string, more bool) {
	t.Helper()
	f := l.peer.Receive()
	if f.Opcode != op || f.NoFin != more || string(f.Payload) != payload {
		t.Fatalf("received %v %q more=%v, want %v %q more=%v", f.Opcode, f.Payload, f.NoFin, op, payload, more)
	}
}

func TestOtherMessagesWaitBehindAnUnfinishedOne(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	number := mustSend(t, l.Conn, part(0, "a", true), nil).Fragment
	if number == 0 {
		t.Fatal("an unfinished message has no number")
	}
	l.expectPart(t, wire.Text, "a", true)
	if s := mustSend(t, l.Conn, text("other"), nil); s.Buffered != 5 {
		t.Errorf("buffered %d behind an unfinished message", s.Buffered)
	}
	second := mustSend(t, l.Conn, part(0, "x", true), nil).Fragment
	if err := l.Ping([]byte("passes"), ws.Queued, nil); err != nil {
		t.Fatal(err)
	}
	l.peer.Expect(wire.Ping, "passes")
	l.peer.Send(wstest.Ping("also"))
	l.peer.Expect(wire.Pong, "also")
	if s := mustSend(t, l.Conn, part(number, "b", true), nil); s.Fragment != number {
		t.Errorf("number %d became %d", number, s.Fragment)
	}
	l.expectPart(t, wire.Continuation, "b", true)
	mustSend(t, l.Conn, part(second, "y", false), nil)
	mustSend(t, l.Conn, part(number, "", false), nil)
	l.expectPart(t, wire.Continuation, "", false)
	l.peer.Expect(wire.Text, "other")
	l.expectPart(t, wire.Text, "x", true)
	l.expectPart(t, wire.Continuation, "y", false)
	eventually(t, "three messages out", func() bool { return l.State().MessagesOut == 3 })
	if bytes, frames, _ := l.Unaccounted(); bytes != 0 || frames != 0 {
		t.Errorf("the empty queue counts %d bytes, %d frames", bytes, frames)
	}
}

func TestForeignFragmentIsRefused(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	number := mustSend(t, l.Conn, part(0, "a", true), nil).Fragment
	wrongKind := part(number, "b", false)
	wrongKind.Opcode = wire.Binary
	for name, m := range map[string]*ws.Message{"number": part(number+1, "b", false), "kind": wrongKind} {
		if _, err := l.Send(m, nil); !errors.Is(err, ws.ErrFragment) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustSend(t, l.Conn, part(number, "b", false), nil)
	if _, err := l.Send(part(number, "c", false), nil); !errors.Is(err, ws.ErrFragment) {
		t.Errorf("after the last fragment: %v", err)
	}
}

func TestAbandonedMessageClosesWith1011(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	whole := mustSend(t, l.Conn, part(0, "a", true), nil).Fragment
	mustSend(t, l.Conn, part(whole, "b", false), nil)
	l.Abandon(whole) // it is finished: nothing happens
	number := mustSend(t, l.Conn, part(0, "a", true), nil).Fragment
	l.Abandon(number + 1)
	mustSend(t, l.Conn, part(number, "b", true), nil)
	l.Abandon(number)
	l.peer.ExpectClose(1011)
	l.peer.Send(wstest.Close(1011, ""))
	if end := l.rec.End(); end.Cause != ws.Abandoned || !end.WasClean {
		t.Errorf("ended as %+v", end)
	}
}

func TestMessageThatIsNotContinuedInTimeClosesWith1011(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{HeartbeatInterval: -1}, nil)
		number := mustSend(t, l.Conn, part(0, "a", true), nil).Fragment
		l.expectPart(t, wire.Text, "a", true)
		for range 3 {
			time.Sleep(9 * time.Second)
			mustSend(t, l.Conn, part(number, "b", true), nil)
			l.expectPart(t, wire.Continuation, "b", true)
		}
		start := time.Now()
		l.peer.ExpectClose(1011)
		if !around(time.Since(start), ws.DefaultFragmentTimeout) {
			t.Errorf("closed after %v", time.Since(start))
		}
	})
}

func TestMessageOfWhichAFragmentWasWrittenNeverExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{HeartbeatInterval: -1}, nil)
		first := part(0, "a", true)
		first.ExpireAfter = time.Second
		number := mustSend(t, l.Conn, first, nil).Fragment
		l.expectPart(t, wire.Text, "a", true)
		time.Sleep(5 * time.Second)
		mustSend(t, l.Conn, part(number, "b", false), nil)
		l.expectPart(t, wire.Continuation, "b", false)

		synctest.Wait()
		mustSend(t, l.Conn, text("0"), nil) // which the peer does not read: now a message can expire whole
		synctest.Wait()
		number = mustSend(t, l.Conn, first, nil).Fragment
		mustSend(t, l.Conn, part(number, "b", true), nil)
		time.Sleep(5 * time.Second)
		if _, err := l.Send(part(number, "c", false), nil); !errors.Is(err, ws.ErrFragment) {
			t.Errorf("continued an expired message: %v", err)
		}
		l.peer.Expect(wire.Text, "0")
		mustSend(t, l.Conn, text("1"), nil)
		l.peer.Expect(wire.Text, "1")
	})
}

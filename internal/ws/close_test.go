package ws_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

func TestPeerClosesAndTheServerEndsTCP(t *testing.T) {
	for _, test := range []struct {
		frame  wstest.Frame
		code   uint16
		reason string
	}{
		{wstest.Close(1000, ""), 1000, ""},
		{wstest.Close(4321, "bye"), 4321, "bye"},
		{wstest.Close(0, ""), wire.NoStatusReceived, ""},
	} {
		l := connected(t, ws.Config{}, nil)
		l.peer.Send(test.frame)
		f := l.peer.Receive()
		if want := len(test.frame.Payload) - len(test.reason); f.Opcode != wire.Close || len(f.Payload) != want {
			t.Errorf("answer to close %d: %v %q", test.code, f.Opcode, f.Payload)
		}
		if len(f.Payload) == 2 && binary.BigEndian.Uint16(f.Payload) != test.code {
			t.Errorf("close %d was answered with %q", test.code, f.Payload)
		}
		l.peer.ExpectEnd()
		end := l.rec.End()
		if end.Code != test.code || end.Reason != test.reason || !end.WasClean || end.Cause != ws.PeerClose || end.SentCode != test.code {
			t.Errorf("close %d ended as %+v", test.code, end)
		}
	}
}

func TestCloseFlushesTheQueueFirst(t *testing.T) {
	l := connected(t, ws.Config{SendQueueBytes: 8 << 20}, nil)
	n := clog(t, l.Conn)
	mustSend(t, l.Conn, text("last"), nil)
	done, told := outcome(t)
	l.Close(4000, "enough", 7, done)
	if _, err := l.Send(text("late"), nil); !errors.Is(err, ws.ErrClosing) {
		t.Errorf("send after Close: %v", err)
	}
	for range n {
		if f := l.peer.Receive(); f.Opcode != wire.Binary {
			t.Fatalf("received %v before the queue was flushed", f.Opcode)
		}
	}
	l.peer.Expect(wire.Text, "last")
	if reason := l.peer.ExpectClose(4000); reason != "enough" {
		t.Errorf("reason is %q", reason)
	}
	if o := <-told; o.Err != nil {
		t.Errorf("close frame: %v", o.Err)
	}
	l.peer.Send(wstest.Text("ignored"), wstest.Close(4000, "ok"))
	l.peer.ExpectEnd()
	end := l.rec.End()
	if end.Code != 4000 || end.Reason != "ok" || end.SentCode != 4000 || end.SentReason != "enough" || !end.WasClean ||
		end.Cause != ws.LocalClose || end.Tag != 7 {
		t.Errorf("ended as %+v", end)
	}
	if got := l.rec.Events(); len(got) != 1 {
		t.Errorf("recorded %v", got)
	}
}

func TestPeerThatDoesNotCloseIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{CloseTimeout: 3 * time.Second}, nil)
		start := time.Now()
		l.Close(1001, "", 0, nil)
		l.peer.ExpectClose(1001)
		end := l.rec.End()
		if d := time.Since(start); d < 3*time.Second || d > 3*time.Second+100*time.Millisecond {
			t.Errorf("ended after %v", d)
		}
		if end.Code != wire.AbnormalClosure || end.WasClean || end.Cause != ws.LocalClose || end.SentCode != 1001 {
			t.Errorf("ended as %+v", end)
		}
	})
}

func TestPeerThatDoesNotReadTheCloseIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{CloseTimeout: 3 * time.Second}, nil)
		done, told := outcome(t)
		l.Close(1001, "", 0, done)
		if end := l.rec.End(); end.SentCode != 0 || end.WasClean {
			t.Errorf("ended as %+v", end)
		}
		if o := <-told; !errors.Is(o.Err, ws.ErrClosing) {
			t.Errorf("close frame: %v", o.Err)
		}
	})
}

func TestSecondCloseOnlyWaits(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	first, told1 := outcome(t)
	second, told2 := outcome(t)
	l.Close(4001, "a", 1, first)
	l.Close(4002, "b", 2, second)
	l.peer.ExpectClose(4001)
	for _, told := range []<-chan ws.Outcome{told1, told2} {
		if o := <-told; o.Err != nil {
			t.Errorf("outcome %v", o.Err)
		}
	}
	l.peer.Send(wstest.Close(4001, ""))
	if end := l.rec.End(); end.Tag != 1 || end.SentCode != 4001 {
		t.Errorf("ended as %+v", end)
	}
	third, told3 := outcome(t)
	l.Close(1000, "", 0, third)
	if o := <-told3; o.Err != nil {
		t.Errorf("close after a clean end: %v", o.Err)
	}
}

func TestCloseFramesThatCross(t *testing.T) {
	for range 200 {
		l := connected(t, ws.Config{}, nil)
		var wg sync.WaitGroup
		wg.Go(func() { l.Close(4001, "", 0, nil) })
		wg.Go(func() { l.peer.Send(wstest.Close(4002, "")) })
		f := l.peer.Receive()
		if f.Opcode != wire.Close {
			t.Fatalf("received %v", f.Opcode)
		}
		l.peer.ExpectEnd()
		wg.Wait()
		if end := l.rec.End(); !end.WasClean || end.Code != 4002 {
			t.Fatalf("ended as %+v", end)
		}
	}
}

func TestTerminateSendsNoCloseFrame(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	l.Terminate(9)
	if f, err := l.peer.TryReceive(); err == nil {
		t.Errorf("received %v", f.Opcode)
	}
	if end := l.rec.End(); end.Cause != ws.LocalTerminate || end.Tag != 9 || end.Code != wire.AbnormalClosure || end.WasClean {
		t.Errorf("ended as %+v", end)
	}
	l.Terminate(8)
	if _, err := l.Send(text("x"), nil); !errors.Is(err, ws.ErrClosing) {
		t.Errorf("send: %v", err)
	}
}

func TestTerminateWithinAHandler(t *testing.T) {
	l := connected(t, ws.Config{}, func(l *link) {
		l.rec.Message = func(wire.Opcode, []byte) bool { l.Terminate(3); return true }
	})
	l.peer.Send(wstest.Text("die"), wstest.Text("never seen"))
	if end := l.rec.End(); end.Tag != 3 {
		t.Errorf("ended as %+v", end)
	}
	if got := strings.Join(l.rec.Events(), ", "); got != "text die, close" {
		t.Errorf("recorded %s", got)
	}
}

func TestTerminateBeforeStartClosesTheSocket(t *testing.T) {
	e := newEngine(t)
	server, client := wstest.TCP(t)
	c, p := wstest.Connect(t, e, e.Prepare(ws.Config{}), server, client)
	c.Terminate(0)
	p.ExpectEnd()
}

func TestStreamThatEndsWithoutAClose(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	l.peer.Send(wstest.Text("hello"))
	_ = l.peer.Close()
	end := l.rec.End()
	if end.Code != wire.AbnormalClosure || end.WasClean || end.Cause != ws.Transport || end.SentCode != 0 {
		t.Errorf("ended as %+v", end)
	}
	if got := strings.Join(l.rec.Events(), ", "); got != "text hello, close" {
		t.Errorf("recorded %s", got)
	}
}

func TestResetInTheMiddleOfAFrame(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	b := wstest.Text("hello").Append(nil)
	l.peer.Raw(b[:len(b)-2])
	l.peer.Reset()
	if end := l.rec.End(); end.Cause != ws.Transport || end.Code != wire.AbnormalClosure {
		t.Errorf("ended as %+v", end)
	}
}

// The poller tells of the data and of the end behind it but once.
func TestEndBehindDataIsSeen(t *testing.T) {
	var blocked, proceed = make(chan struct{}), make(chan struct{})
	l := connected(t, ws.Config{HeartbeatInterval: -1}, func(l *link) {
		l.rec.Message = func(_ wire.Opcode, payload []byte) bool {
			if string(payload) == "first" {
				close(blocked)
				<-proceed
			}
			return true
		}
	})
	l.peer.Send(wstest.Text("first"))
	<-blocked
	l.peer.Send(wstest.Text("last"))
	_ = l.peer.Close()
	time.Sleep(50 * time.Millisecond) // for the poller
	close(proceed)
	l.rec.WaitFor("text last")
	l.rec.End()
}

func TestCloseIsToldOnceWhoeverEndsIt(t *testing.T) {
	for range 200 {
		l := connected(t, ws.Config{}, nil)
		var wg sync.WaitGroup
		wg.Go(func() { l.Close(1000, "", 0, nil) })
		wg.Go(func() { l.Terminate(0) })
		wg.Go(func() { _ = l.peer.TrySend(wstest.Text("x"), wstest.Close(1000, "")) })
		wg.Go(func() { _ = l.peer.Close() })
		wg.Go(func() { _, _ = l.Send(text("y"), nil) })
		wg.Wait()
		l.rec.End() // the recorder fails the test on anything that comes later
	}
}

// A client that hangs up on what it has not read resets its connection. What it said before is heard all the same.
func TestLastWordsOfAPeerThatResets(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS=%v", secure), func(t *testing.T) {
			links := make(chan *link, 1)
			url := serve(t, ws.Config{}, secure, func(l *link) { links <- l })
			for range 20 { // who comes first is a matter of chance
				p := wstest.Dial(t, url, nil)
				l := <-links
				p.Send(wstest.Text("first"))
				l.rec.WaitFor("text first")
				clog(t, l.Conn)
				p.Send(wstest.Text("last words"), wstest.Close(1001, "gone"))
				if secure {
					_ = inner(p.Conn).Close()
				} else {
					_ = p.Close()
				}
				if end := l.rec.End(); end.Cause != ws.PeerClose || end.Code != 1001 || end.Reason != "gone" {
					t.Errorf("ended as %+v", end)
				}
				if got := strings.Join(l.rec.Events(), ", "); got != "text first, text last words, close" {
					t.Errorf("recorded %s", got)
				}
			}
		})
	}
}

// Whoever sends meanwhile learns of the reset first, and most often.
func TestLastWordsOfAPeerThatResetsWhileItIsSentTo(t *testing.T) {
	e := newEngine(t)
	var sends sync.WaitGroup
	defer sends.Wait()
	for range 40 {
		server, client := wstest.TCP(t)
		l := started(t, e, ws.Config{}, server, client, nil)
		mustSend(t, l.Conn, text("unread"), nil)
		sends.Go(func() {
			for {
				if _, err := l.Send(text("tick"), nil); errors.Is(err, ws.ErrClosing) {
					return
				}
				time.Sleep(20 * time.Microsecond)
			}
		})
		l.peer.Send(wstest.Text("last words"), wstest.Close(1001, ""))
		_ = l.peer.Close()
		if end := l.rec.End(); end.Cause != ws.PeerClose || end.Code != 1001 {
			t.Errorf("ended as %+v", end)
		}
		if got := l.rec.Events(); got[0] != "text last words" {
			t.Errorf("recorded %v", got)
		}
	}
}

package ws_test

import (
	"testing"
	"testing/synctest"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func later(s string) *ws.Message {
	m := text(s)
	m.Later = true
	return m
}

func TestLaterMessagesWaitForFlush(t *testing.T) {
	for name, release := range map[string]func(*link){
		"flush":     func(l *link) { l.Flush() },
		"next send": func(l *link) { mustSend(t, l.Conn, text(""), nil) },
		"close":     func(l *link) { l.Close(1000, "", 0, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			l := connected(t, ws.Config{}, nil)
			for i, s := range []string{"one", "two", "three"} {
				if sent := mustSend(t, l.Conn, later(s), nil); sent.Waits != (i == 0) {
					t.Errorf("%s: %+v", s, sent)
				}
			}
			if s := l.State(); s.Buffered != len("onetwothree") || s.MessagesOut != 0 {
				t.Errorf("written before its time: %+v", s)
			}
			release(l)
			for _, s := range []string{"one", "two", "three"} {
				l.peer.Expect(wire.Text, s)
			}
			if name == "flush" {
				if s := l.State(); s.Buffered != 0 || s.MessagesOut != 3 {
					t.Errorf("state %+v", s)
				}
			}
		})
	}
}

// What waits for Flush is written rather than refuse what comes behind it.
func TestLaterMessagesAreNoBacklog(t *testing.T) {
	for name, cfg := range map[string]ws.Config{"bytes": {SendQueueBytes: 5}, "messages": {SendQueueMessages: 1}} {
		t.Run(name, func(t *testing.T) {
			l := connected(t, cfg, nil)
			for _, s := range []string{"one", "two", "three"} {
				if sent := mustSend(t, l.Conn, later(s), nil); !sent.Waits {
					t.Errorf("%s: %+v", s, sent)
				}
			}
			l.Flush()
			for _, s := range []string{"one", "two", "three"} {
				l.peer.Expect(wire.Text, s)
			}
		})
	}
}

// A writer who is there takes along what is sent later: nobody needs to flush.
func TestLaterBehindAWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := stuck(t, ws.Config{})
		if sent := mustSend(t, l.Conn, later("1"), nil); sent.Waits {
			t.Errorf("%+v", sent)
		}
		l.peer.Expect(wire.Text, "0")
		l.peer.Expect(wire.Text, "1")
	})
}

// Fragments are written at once, and what waits goes before them.
func TestLaterAndFragments(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	mustSend(t, l.Conn, later("1"), nil)
	first := later("2")
	first.More = true
	sent := mustSend(t, l.Conn, first, nil)
	if sent.Waits {
		t.Errorf("%+v", sent)
	}
	l.peer.Expect(wire.Text, "1")
	if f := l.peer.Receive(); !f.NoFin || string(f.Payload) != "2" {
		t.Errorf("frame %+v", f)
	}
	mustSend(t, l.Conn, later("4"), nil) // behind the unfinished message
	last := later("3")
	last.Fragment = sent.Fragment
	mustSend(t, l.Conn, last, nil)
	l.peer.Expect(wire.Continuation, "3")
	l.peer.Expect(wire.Text, "4")
}

// Who waits for messages that were never flushed is told when the connection ends.
func TestLaterMessagesOfAConnectionThatEnds(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	told := make(chan ws.Outcome, 2)
	for range 2 {
		m := later("x")
		m.Confirmation = ws.Written
		mustSend(t, l.Conn, m, func(o ws.Outcome) { told <- o })
	}
	l.Terminate(0)
	for range 2 {
		if o := <-told; o.Err == nil {
			t.Error("confirmed as written")
		}
	}
}

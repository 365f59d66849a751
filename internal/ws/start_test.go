package ws_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

func unstarted(t *testing.T, cfg ws.Config) *link {
	e := newEngine(t)
	server, client := wstest.TCP(t)
	l := &link{rec: wstest.NewRecorder(t)}
	l.Conn, l.peer = wstest.Connect(t, e, e.Prepare(cfg), server, client)
	t.Cleanup(func() { l.Terminate(0) })
	return l
}

func TestConnectionCanBeSentToBeforeItsStart(t *testing.T) {
	l := unstarted(t, ws.Config{SendQueueBytes: 100 << 10})
	mustSend(t, l.Conn, text("early"), nil)
	l.peer.Expect(wire.Text, "early")
	for {
		if _, err := l.Send(binaryMessage(50<<10), nil); errors.Is(err, ws.ErrQueueFull) {
			break
		}
	}
	l.peer.Send(wstest.Text("hello"))
	go func() {
		for {
			if _, err := l.peer.TryReceive(); err != nil {
				return
			}
		}
	}()
	eventually(t, "an empty queue", func() bool { return l.State().Buffered == 0 })
	l.Start(l.rec, 0)
	l.rec.WaitFor("writable")
	l.rec.WaitFor("text hello")
}

func TestConnectionThatWasClosedBeforeItsStart(t *testing.T) {
	l := unstarted(t, ws.Config{})
	l.Close(1012, "", 0, nil)
	l.peer.ExpectClose(1012)
	l.peer.Send(wstest.Text("unseen"), wstest.Close(1012, ""))
	l.Start(l.rec, ws.HoldPaused)
	if end := l.rec.End(); !end.WasClean || len(l.rec.Events()) != 1 {
		t.Errorf("ended as %+v after %v", end, l.rec.Events())
	}
}

func TestConnectionThatWasTerminatedBeforeItsStart(t *testing.T) {
	l := unstarted(t, ws.Config{})
	l.Terminate(5)
	l.Start(l.rec, 0)
	if end := l.rec.End(); end.Tag != 5 {
		t.Errorf("ended as %+v", end)
	}
}

func TestTerminateDoesNotWaitForAPeerThatReadsNothing(t *testing.T) {
	const patient = 4 * time.Second // TLS would try for 5 s to say that it ends
	links := make(chan *link, 1)
	url := serve(t, ws.Config{SendQueueBytes: 1 << 20}, true, func(l *link) { links <- l })
	_ = wstest.Dial(t, url, nil)
	l := <-links
	for {
		if _, err := l.Send(binaryMessage(64<<10), nil); errors.Is(err, ws.ErrQueueFull) {
			break
		}
	}
	start := time.Now()
	l.Terminate(0)
	if d := time.Since(start); d > patient {
		t.Errorf("Terminate took %v", d)
	}
	l.rec.End()
	if d := time.Since(start); d > patient {
		t.Errorf("the end took %v", d)
	}
}

package ws_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// epollEngine has the epoll driver whatever the others have.
func epollEngine(t testing.TB) *ws.Engine {
	e := ws.NewEngine(ws.EngineConfig{Driver: ws.DriverEpoll, Resolution: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(e.Close)
	return e
}

func polled(t testing.TB, e *ws.Engine, set func(*link)) *link {
	t.Helper()
	server, client := wstest.TCP(t)
	return started(t, e, ws.Config{}, server, client, set)
}

func TestEpollConnectionHasNoGoroutine(t *testing.T) {
	e := epollEngine(t)
	polled(t, e, nil) // the loops run
	before := runtime.NumGoroutine()
	for range 20 {
		l := polled(t, e, nil)
		l.peer.Send(wstest.Text("x"))
		l.rec.WaitFor("text x")
		clog(t, l.Conn) // waiting for room takes none either
		l.Hold(ws.HoldPaused)
	}
	eventually(t, "an end of the handshakes", func() bool { return runtime.NumGoroutine() <= before })
}

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestEpollClosesEveryDescriptor(t *testing.T) {
	e := epollEngine(t)
	first := polled(t, e, nil)
	before := descriptors(t)
	for name, end := range map[string]func(*link){
		"terminated":         func(l *link) { l.Terminate(0) },
		"closed by the peer": func(l *link) { l.peer.Send(wstest.Close(1000, "")) },
		"closed by us": func(l *link) {
			l.Close(1000, "", 0, nil)
			l.peer.ExpectClose(1000)
			l.peer.Send(wstest.Close(1000, ""))
		},
		"hung up":                func(l *link) { _ = l.peer.Close() },
		"reset":                  func(l *link) { l.peer.Reset() },
		"reset while held":       func(l *link) { l.Hold(ws.HoldPaused); l.peer.Reset() },
		"terminated when full":   func(l *link) { clog(t, l.Conn); l.Terminate(0) },
		"reset when full":        func(l *link) { clog(t, l.Conn); l.peer.Reset() },
		"broken off":             func(l *link) { l.peer.Send(wstest.Frame{Opcode: 3}); l.peer.ExpectClose(1002); _ = l.peer.Close() },
		"terminated when closed": func(l *link) { _ = l.peer.Close(); l.Terminate(0) },
	} {
		for range 10 {
			l := polled(t, e, nil)
			end(l)
			l.rec.End()
			_ = l.peer.Close()
		}
		if now := descriptors(t); now != before {
			t.Errorf("%s: %d descriptors are open, %d before", name, now, before)
		}
	}
	for range 10 {
		server, client := wstest.TCP(t)
		c, p := wstest.Connect(t, e, e.Prepare(ws.Config{}), server, client)
		c.Terminate(0)
		_ = p.Close()
	}
	eventually(t, "the end of those that were not started", func() bool { return descriptors(t) == before })
	first.peer.Send(wstest.Text("still here"))
	first.rec.WaitFor("text still here")
}

// TestEpollSocketThatAlwaysHasMoreGivesWay lets one peer send a lot, then a second one little, and looks at how much of
// the first is read before the second.
func TestEpollSocketThatAlwaysHasMoreGivesWay(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one loop
	e := epollEngine(t)
	busy, wait := make(chan struct{}), make(chan struct{})
	loopHolder := polled(t, e, func(l *link) {
		l.rec.Message = func(wire.Opcode, []byte) bool { close(busy); <-wait; return true } // the loop sees nothing
	})
	var read, before int
	much := polled(t, e, func(l *link) {
		l.rec.Message = func(_ wire.Opcode, p []byte) bool { read += len(p); return true } // on the one loop
	})
	little := polled(t, e, func(l *link) {
		l.rec.Message = func(wire.Opcode, []byte) bool { before = read; return true }
	})
	loopHolder.peer.Send(wstest.Text("x"))
	<-busy
	frame := wstest.Binary(make([]byte, 1000)).Append(nil)
	flood := bytes.Repeat(frame, 4*ws.ChunkSize/len(frame)+1)
	_ = much.peer.SetWriteDeadline(time.Now().Add(wstest.Patience))
	if n, err := much.peer.Write(flood); err != nil {
		t.Fatalf("the socket takes %d bytes only: %v", n, err)
	}
	little.peer.Send(wstest.Text("x"))
	close(wait)
	little.rec.Wait(1)
	if before > ws.ChunkSize {
		t.Errorf("%d bytes were read before the other had its turn, want %d at most", before, ws.ChunkSize)
	}
}

// TestLastWordsOfAPeerThatReadNothing: who hangs up on what he has not read resets the connection, and both are seen at once.
func TestLastWordsOfAPeerThatReadNothing(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one loop
	e := epollEngine(t)
	busy, wait := make(chan struct{}), make(chan struct{})
	loopHolder := polled(t, e, func(l *link) {
		l.rec.Message = func(wire.Opcode, []byte) bool { close(busy); <-wait; return true } // the loop sees nothing
	})
	l := polled(t, e, nil)
	clog(t, l.Conn)
	loopHolder.peer.Send(wstest.Text("x"))
	<-busy
	l.peer.Send(wstest.Text("last words"), wstest.Close(1001, "gone"))
	_ = l.peer.Close()
	close(wait)
	if end := l.rec.End(); end.Cause != ws.PeerClose || end.Code != 1001 || end.Reason != "gone" || end.WasClean {
		t.Errorf("ended as %+v", end)
	}
	if got := strings.Join(l.rec.Events(), ", "); got != "text last words, close" {
		t.Errorf("recorded %s", got)
	}
}

// unixPair are the ends of a connection over a Unix socket.
func unixPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return server, client
}

func TestUnixSocket(t *testing.T) {
	server, client := unixPair(t)
	l := started(t, newEngine(t), ws.Config{}, server, client, echo(t))
	for _, size := range []int{1, 1000, 300_000} {
		message := strings.Repeat("x", size)
		go l.peer.Send(wstest.Text(message))
		l.peer.Expect(wire.Text, message)
	}
	_ = l.peer.Close()
	if end := l.rec.End(); end.Cause != ws.Transport {
		t.Errorf("ended as %+v", end)
	}
}

// TestHangUpOfAUnixSocketWhileHeld: epoll tells of it again and again, also who asked for nothing.
func TestHangUpOfAUnixSocketWhileHeld(t *testing.T) {
	server, client := unixPair(t)
	l := started(t, newEngine(t), ws.Config{}, server, client, nil)
	l.Hold(ws.HoldPaused)
	l.peer.Send(wstest.Text("last words"))
	_ = l.peer.Close()
	before := processTime(t)
	time.Sleep(200 * time.Millisecond) // gives a mistake its chance
	if took := processTime(t) - before; took > 100*time.Millisecond {
		t.Errorf("waiting took %v of processor time", took)
	}
	if got := l.rec.Events(); len(got) != 0 {
		t.Fatalf("recorded %v while held", got)
	}
	l.Release(ws.HoldPaused)
	l.rec.End()
	if got := strings.Join(l.rec.Events(), ", "); got != "text last words, close" {
		t.Errorf("recorded %s", got)
	}
}

func processTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestNothingReachesTheSocketThatTookOverTheDescriptor sends to connections before and after their end, while new ones
// take over their numbers.
func TestNothingReachesTheSocketThatTookOverTheDescriptor(t *testing.T) {
	e := newEngine(t)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 100 {
				name := fmt.Sprint(worker, " ", i)
				l := polled(t, e, nil)
				sending := make(chan struct{})
				wg.Go(func() {
					for n := range 200 {
						_, _ = l.Send(text(name), nil)
						if n == 10 {
							close(sending)
						}
					}
				})
				l.peer.Expect(wire.Text, name)
				<-sending
				l.Terminate(0)
				for {
					f, err := l.peer.TryReceive()
					if err != nil {
						break
					}
					if string(f.Payload) != name {
						t.Errorf("%q received %q", name, f.Payload)
					}
				}
				_ = l.peer.Close()
			}
		})
	}
	wg.Wait()
}

// TestShedAfterTheEndTouchesNoOtherSocket: who sheds has chosen a connection a while ago, which may have ended since.
func TestShedAfterTheEndTouchesNoOtherSocket(t *testing.T) {
	l := polled(t, epollEngine(t), nil)
	l.peer.Send(wstest.Close(1000, ""))
	l.rec.End()
	var others []int // one of them has the number now
	for range 16 {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
		others = append(others, pair[:]...)
	}
	l.Shed("no memory")
	for _, fd := range others {
		if _, err := unix.SendmsgN(fd, []byte("x"), nil, nil, unix.MSG_NOSIGNAL); err != nil {
			t.Errorf("a socket that took over a descriptor cannot be written: %v", err)
		}
	}
}

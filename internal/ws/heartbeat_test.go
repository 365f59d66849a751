package ws_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

func TestHeartbeatKeepsAnAnsweringPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{}, nil)
		pings := 0
		start := time.Now()
		_ = l.peer.SetDeadline(time.Time{})
		for time.Since(start) < 10*time.Minute {
			f := receivePatiently(t, l.peer, time.Minute)
			if f.Opcode != wire.Ping {
				t.Fatalf("received %v", f.Opcode)
			}
			pings++
			time.Sleep(9 * time.Second)
			l.peer.Send(wstest.Frame{Opcode: wire.Pong, Payload: f.Payload})
		}
		if pings < 19 || pings > 21 {
			t.Errorf("%d pings in ten minutes", pings)
		}
		synctest.Wait()
		if len(l.rec.Events()) != 0 {
			t.Errorf("pongs to the heartbeat were told: %v", l.rec.Events())
		}
		if rtt := l.State().RTT; rtt < 9*time.Second || rtt > 10*time.Second {
			t.Errorf("RTT is %v", rtt)
		}
	})
}

func receivePatiently(t *testing.T, p *wstest.Peer, d time.Duration) wstest.Frame {
	t.Helper()
	for end := time.Now().Add(d); ; {
		f, err := p.TryReceive()
		if err == nil {
			return f
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestPeerWithoutPongsIsGivenUp(t *testing.T) {
	for name, cfg := range map[string]ws.Config{
		"timeout within the interval":      {HeartbeatInterval: 30 * time.Second, HeartbeatTimeout: 10 * time.Second},
		"timeout longer than the interval": {HeartbeatInterval: 4 * time.Second, HeartbeatTimeout: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := piped(t, cfg, nil)
				silent(l)
				start := time.Now()
				for !l.rec.Ended() && time.Since(start) < time.Hour {
					time.Sleep(time.Second)
				}
				if most := cfg.HeartbeatInterval + cfg.HeartbeatTimeout + 2*time.Second; time.Since(start) > most {
					t.Errorf("ended after %v, want %v at most", time.Since(start), most)
				}
				if end := l.rec.End(); end.Cause != ws.PingTimeout || end.Code != wire.AbnormalClosure {
					t.Errorf("ended as %+v", end)
				}
			})
		})
	}
}

func TestWhateverIsReadIsASignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{HeartbeatInterval: 30 * time.Second, HeartbeatTimeout: 10 * time.Second}, nil)
		silent(l)
		long := wstest.Binary(make([]byte, 1000)).Append(nil) // a long message, over which the pong must wait
		for _, b := range long[:200] {
			l.peer.Raw([]byte{b})
			time.Sleep(5 * time.Second)
		}
		if l.rec.Ended() {
			t.Errorf("ended as %+v", l.rec.End())
		}
	})
}

// The ping is behind a megabyte that takes the peer three times the timeout to read.
func TestSlowReaderIsNotTakenForADeadOne(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells how much the peer has acknowledged")
	}
	t.Parallel()
	const timeout = 2 * time.Second // a busy machine may stand still for a third of it
	l := connected(t, ws.Config{HeartbeatInterval: timeout, HeartbeatTimeout: timeout}, nil)
	_ = l.peer.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	mustSend(t, l.Conn, binaryMessage(1<<20), nil)
	buf := make([]byte, 16<<10)
	for read := 0; read < 1<<20-128<<10; { // what is left may be on the peer's side already
		time.Sleep(3 * timeout / 64)
		n, err := l.peer.Read(buf)
		if err != nil {
			t.Fatalf("the slow reader was cut off: %v", err)
		}
		if l.rec.Ended() {
			t.Fatalf("the slow reader was cut off after %d bytes: %+v", read, l.rec.End())
		}
		read += n
	}
	start := time.Now()
	if end := l.rec.End(); end.Cause != ws.PingTimeout { // now it reads nothing
		t.Errorf("ended as %+v", end)
	}
	if d := time.Since(start); d > 10*timeout {
		t.Errorf("a peer that reads nothing was given up after %v", d)
	}
}

// Nothing is asked of a peer that is not read, but the kernel sees that it takes nothing.
func TestHeldPeerThatTakesNothingIsGivenUp(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux gives a peer up that acknowledges nothing")
	}
	for name, under := range map[string]func(net.Conn) net.Conn{
		"socket":  func(nc net.Conn) net.Conn { return nc },
		"wrapped": func(nc net.Conn) net.Conn { return wrapped{nc} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := wstest.TCP(t)
			cfg := ws.Config{HeartbeatInterval: time.Second, HeartbeatTimeout: 200 * time.Millisecond}
			l := started(t, newEngine(t), cfg, under(server), client, nil)
			l.Hold(ws.HoldPaused)
			_ = l.peer.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			mustSend(t, l.Conn, binaryMessage(1<<20), nil)
			if end := l.rec.End(); end.Cause != ws.PingTimeout || end.Code != wire.AbnormalClosure {
				t.Errorf("ended as %+v", end)
			}
		})
	}
}

// wrapped is a socket as package opening leaves it to net/http, and as a PROXY header leaves it.
type wrapped struct{ net.Conn }

func (w wrapped) SyscallConn() (syscall.RawConn, error) { return w.Conn.(syscall.Conn).SyscallConn() }

// mute is a socket that the kernel has given up: it has told the writer so, and tells the reader of an end.
type mute struct {
	net.Conn
	writing, over context.Context
	write, end    context.CancelFunc
}

func newMute(nc net.Conn) *mute {
	m := &mute{Conn: nc}
	m.writing, m.write = context.WithCancel(context.Background())
	m.over, m.end = context.WithCancel(context.Background())
	return m
}

func (m *mute) Read([]byte) (int, error) {
	<-m.writing.Done()
	return 0, io.EOF
}

func (m *mute) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("HTTP/")) {
		return m.Conn.Write(b)
	}
	m.write()
	<-m.over.Done()
	return 0, syscall.ETIMEDOUT
}

func (m *mute) SetDeadline(t time.Time) error {
	if t.Equal(time.Unix(1, 0)) { // the connection is over
		m.end()
	}
	return nil
}

func TestReaderOfAPeerThatWasGivenUpHearsTheWriter(t *testing.T) {
	server, client := wstest.TCP(t)
	l := started(t, newEngine(t), ws.Config{}, newMute(server), client, nil)
	_, _ = l.Send(text("x"), nil)
	if end := l.rec.End(); end.Cause != ws.PingTimeout {
		t.Errorf("ended as %+v", end)
	}
}

func TestNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{HeartbeatInterval: -1}, nil)
		silent(l)
		time.Sleep(10 * time.Minute)
		if l.rec.Ended() {
			t.Errorf("ended as %+v", l.rec.End())
		}
	})
}

func TestPeerThatReadsNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{}, nil)
		mustSend(t, l.Conn, text("stuck"), nil)
		time.Sleep(2 * time.Minute)
		if end := l.rec.End(); end.Cause != ws.PingTimeout {
			t.Errorf("ended as %+v", end)
		}
	})
}

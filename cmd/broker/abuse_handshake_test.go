package main_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// halfOpen opens so many sockets, each of which says that much and no more. They are closed with the test.
func (a *abuse) halfOpen(n int, said string) {
	a.t.Helper()
	for i := range n {
		nc, err := net.Dial("tcp", address(a.broker.URL("")))
		if err != nil {
			a.t.Fatalf("%d: %v", i, err)
		}
		a.t.Cleanup(func() { _ = nc.Close() })
		if _, err := nc.Write([]byte(said)); err != nil {
			a.t.Fatalf("%d: %v", i, err)
		}
	}
}

// newcomer fails the test unless somebody can connect and is served.
func (a *abuse) newcomer() {
	a.t.Helper()
	begin := time.Now()
	p := wstest.Dial(a.t, a.broker.URL("/neighbour"), nil)
	p.Send(wstest.Text("hello"))
	p.Expect(wire.Text, "hello")
	a.t.Logf("a newcomer was served after %v", time.Since(begin))
	_ = p.Close()
}

func (a *abuse) number(series string) int {
	a.t.Helper()
	v, err := strconv.ParseFloat(metric(a.t, a.broker, series), 64)
	if err != nil {
		a.t.Fatalf("%s: %v", series, err)
	}
	return int(v)
}

const half = "GET / HTTP/1.1\r\nHost: broker\r\n"

// 10,000 sockets of which each has said half of a handshake: the bound is 20 KiB for each, and all others are served
// as if they were not there.
func TestAbuseHalfOpenHandshakes(t *testing.T) {
	const sockets = 10_000
	needFiles(t, sockets+500)
	// Beside those half open there must be room for others; that room is made is TestAbuseHandshakesMakeRoom's.
	a := newAbuse(t, "path: /", "--clients-handshakes=11000", "--clients-handshake-timeout=5m")
	a.halfOpen(sockets, half)
	for range 10 {
		a.within(sockets * 20 << 10)
		a.newcomer()
	}
	a.over()
	if n := a.number("process_open_fds"); n < sockets {
		t.Errorf("only %d descriptors are open: they were cut off before they could do harm", n)
	}
}

// Handshakes that never end although something always comes: the time that a whole one may take cuts them off, and
// until then all of them take 32 MiB at most.
func TestAbuseSlowHandshake(t *testing.T) {
	const sockets = 500
	a := newAbuse(t, "path: /", "--clients-handshake-timeout=2s")
	var dripping sync.WaitGroup
	for range sockets {
		nc, err := net.Dial("tcp", address(a.broker.URL("")))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		dripping.Go(func() { drip(nc) })
	}
	cutOff := make(chan struct{})
	go func() {
		dripping.Wait()
		close(cutOff)
	}()
	a.within(32 * mib)
	select {
	case <-cutOff:
	case <-time.After(brokertest.Patience):
		t.Error("some may take as long as they like")
	}
	a.within(32 * mib)
	a.over()
}

// drip writes a header a byte at a time, slowly, until it is cut off.
func drip(nc net.Conn) {
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		text := "x"
		if i < len(half) {
			text = half[i : i+1]
		} else if i == len(half) {
			text = "X: "
		}
		if _, err := nc.Write([]byte(text)); err != nil {
			return
		}
		<-pace.C
	}
}

// needFiles skips the test where a process may not have that many open files. Both processes raise their soft limits
// to the hard one by themselves, as every Go program does.
func needFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < n {
		t.Skipf("a process may have %d open files here (ulimit -Hn), and %d are needed", limit.Max, n)
	}
}

// More half-open handshakes than may be under way: those that have taken long make room for others, so the worst that
// a client can make of one, a header of nearly 64 KiB in short lines, is bounded as well: 1 MiB for each, which takes
// some 360 KiB, beside what is not collected yet of those before.
func TestAbuseHandshakesMakeRoom(t *testing.T) {
	const most = 200
	a := newAbuse(t, "path: /", fmt.Sprintf("--clients-handshakes=%d", most), "--clients-handshake-timeout=2s")
	long := half + strings.Repeat("X-Short: line\r\n", 60<<10/15)
	for range 5 {
		a.halfOpen(most, long)
		a.within(most * mib)
		a.newcomer()
		if n := a.number("process_open_fds"); n > 2*most {
			t.Errorf("%d descriptors are open, although %d handshakes may be", n, most)
		}
	}
	a.over()
	if n := a.number(`holdfast_connections_refused_total{reason="handshakes_full"}`); n == 0 {
		t.Error("nobody was cut off to make room")
	}
	if n := a.number(`holdfast_handshakes_refused_total{status="unfinished"}`); n == 0 {
		t.Error("who was cut off is not among the handshakes that were refused")
	}
}

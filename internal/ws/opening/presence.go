package opening

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// presence is the context of a request. It ends when the handler has returned, or before if the client has gone: that is
// looked for from the first time on that somebody asks for Done, as most handshakes are answered at once.
type presence struct {
	context.Context

	nc     net.Conn
	cancel context.CancelFunc

	mu      sync.Mutex
	watched bool
	left    bool // nobody looks any more
	watcher sync.WaitGroup
}

func newPresence(nc net.Conn) *presence {
	p := &presence{nc: nc}
	p.Context, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *presence) Value(key any) any {
	if key == http.LocalAddrContextKey {
		return p.nc.LocalAddr()
	}
	return p.Context.Value(key)
}

func (p *presence) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.watched && !p.left {
		p.watched = true
		p.watcher.Go(p.watch)
	}
	return p.Context.Done()
}

// end ends the context.
func (p *presence) end() {
	p.leave()
	p.cancel()
}

// longPast as a deadline ends all waiting at once.
var longPast = time.Unix(1, 0)

// leave ends the look at the connection, so that others can read it.
func (p *presence) leave() {
	p.mu.Lock()
	looks := p.watched && !p.left
	p.left = true
	p.mu.Unlock()
	if looks {
		_ = p.nc.SetReadDeadline(longPast)
		p.watcher.Wait()
		_ = p.nc.SetReadDeadline(time.Time{})
	}
}

// watch ends the context when the client is gone, or its time is over.
func (p *presence) watch() {
	gone := awaitEnd(p.nc)
	p.mu.Lock()
	defer p.mu.Unlock()
	if gone && !p.left {
		p.cancel()
	}
}

// awaitEnd waits until a connection has ended, or its deadline has passed, without reading it. It is false where something
// came that is to be read first, or where nothing can be seen without.
func awaitEnd(nc net.Conn) bool {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	err = rc.Read(func(fd uintptr) bool {
		var waits bool
		waits, ended = peek(int(fd))
		return !waits
	})
	return ended || err != nil
}

// peek looks whether a socket has something to read (neither), has not (waits), or never will have (ended).
func peek(fd int) (waits, ended bool) {
	var b [1]byte
	for {
		n, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK)
		switch err {
		case nil:
			return false, n == 0
		case syscall.EINTR:
		case syscall.EAGAIN:
			return true, false
		default:
			return false, true
		}
	}
}

//go:build linux

// Package client is a WebSocket client for load: one goroutine and one epoll hold all its connections, so
// that the machine is left to the server that is measured. It handshakes by hand; frames are those of
// internal/ws/wire. It answers pings.
package client

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// parallel is how many handshakes are under way at once.
const parallel = 64

// These stand in epoll's data for the descriptors that Post wakes the loop with, and that Pace does.
const (
	wakeIndex = -1 - iota
	paceIndex
)

// Pool holds the connections to one server. Its methods, but for Post, belong to one goroutine; nothing is
// read while none of them runs.
type Pool struct {
	// OnMessage is called for every message; the payload is only lent.
	OnMessage func(c *Conn, now int64, payload []byte)
	// OnPost is called with what Post was given.
	OnPost func(now int64, stamps []Stamp)

	// Path of the handshake; empty: "/".
	Path string
	// Browser sends what a browser sends with a handshake, which is more.
	Browser bool

	Conns []*Conn
	// Broken counts connections that ended although nobody asked for it; Err is the first reason.
	Broken int
	Err    error

	address unix.SockaddrInet4
	host    string
	epoll   int
	wake    int
	pace    pace
	reading wire.ReaderConfig
	in      []byte
	events  []unix.EpollEvent
	dirty   []*Conn // have frames to write
	open    int
	closing bool
	over    bool

	mu     sync.Mutex
	posted []Stamp
}

// New makes a pool without connections to the host and port at address, over IPv4.
func New(address string) (*Pool, error) {
	at, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, fmt.Errorf("client: address %q: %w", address, err)
	}
	p := &Pool{
		address: unix.SockaddrInet4{Addr: [4]byte(at.IP.To4()), Port: at.Port},
		host:    address,
		reading: wire.ReaderConfig{Client: true},
		in:      make([]byte, 64<<10),
		events:  make([]unix.EpollEvent, 512),
	}
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("client: epoll: %w", err)
	}
	if p.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(p.epoll)
		return nil, fmt.Errorf("client: eventfd: %w", err)
	}
	return p, p.control(unix.EPOLL_CTL_ADD, p.wake, wakeIndex, unix.EPOLLIN)
}

// Connect opens n more connections and returns when all are open.
func (p *Pool) Connect(ctx context.Context, n int) error {
	want := p.open + n
	for started := 0; p.open < want; {
		for ; started < n && len(p.Conns)-p.open < parallel; started++ {
			if err := p.dial(); err != nil {
				return err
			}
		}
		if err := p.step(ctx, time.Second); err != nil {
			return err
		}
		if p.Broken > 0 {
			return fmt.Errorf("client: %d of %d connections open: %w", p.open, want, p.Err)
		}
	}
	return nil
}

// Run reads and answers for a time.
func (p *Pool) Run(ctx context.Context, d time.Duration) error {
	return p.Until(ctx, d, func() bool { return false })
}

// Until reads and answers until something is done, or for a time; that it was not done in time is no error.
func (p *Pool) Until(ctx context.Context, d time.Duration, done func() bool) error {
	p.flush()
	for end := time.Now().Add(d); !done(); {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		// Something outside the pool may be what is waited for.
		if err := p.step(ctx, min(left, 20*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// Post hands stamps that came another way to OnPost. It may be called by any goroutine.
func (p *Pool) Post(stamps ...Stamp) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := len(p.posted) == 0
	p.posted = append(p.posted, stamps...)
	if first && !p.over {
		_, _ = unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// Close ends all connections with close frames and waits for the answers, then for nothing more.
func (p *Pool) Close(ctx context.Context, patience time.Duration) error {
	p.closing = true
	for _, c := range p.Conns {
		c.write(wire.Close, wire.AppendClose(nil, 1000, ""))
	}
	err := p.Until(ctx, patience, func() bool { return p.open == 0 })
	if err == nil && p.open > 0 {
		err = fmt.Errorf("client: %d connections did not answer the close frame", p.open)
	}
	p.Abort()
	return err
}

// Abort ends what is left at once and gives everything back. It may be called again.
func (p *Pool) Abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return // the numbers of its descriptors may be others' by now
	}
	p.over, p.closing = true, true
	for _, c := range p.Conns {
		c.end(nil)
	}
	_, _ = unix.Close(p.wake), unix.Close(p.epoll)
}

// step waits once and handles what came.
func (p *Pool) step(ctx context.Context, wait time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	n, err := unix.EpollWait(p.epoll, p.events, int((wait+time.Millisecond-1)/time.Millisecond))
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("client: epoll: %w", err)
	}
	for _, ev := range p.events[:max(n, 0)] {
		switch ev.Fd {
		case wakeIndex:
			p.takePosted()
		case paceIndex:
			p.pace.tick()
		default:
			p.Conns[ev.Fd].ready(ev.Events)
		}
		p.flush()
	}
	return nil
}

func (p *Pool) takePosted() {
	var count [8]byte
	_, _ = unix.Read(p.wake, count[:])
	p.mu.Lock()
	stamps := p.posted
	p.posted = nil
	p.mu.Unlock()
	p.OnPost(Now(), stamps)
}

// flush writes what the handlers have sent: all frames of one connection together.
func (p *Pool) flush() {
	for _, c := range p.dirty {
		c.dirty = false
		c.flush()
	}
	p.dirty = p.dirty[:0]
}

func (p *Pool) control(op, fd, index int, events uint32) error {
	return unix.EpollCtl(p.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(index)})
}

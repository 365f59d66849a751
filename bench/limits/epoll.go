//go:build linux

package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

func serveEpoll(l net.Listener, _ *options) error {
	ready(l.Addr())
	all, err := startLoops()
	if err != nil {
		return err
	}
	return serveHTTP(l, func(conn net.Conn, _ *http.Request) { all.adopt(conn, &socket{take: answer}) })
}

// serveAccept reads the requests itself: they have to come in one piece.
func serveAccept(l net.Listener, _ *options) error {
	all, err := startLoops()
	if err != nil {
		return err
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	ready(l.Addr())
	for {
		fd, _, err := unix.Accept4(int(file.Fd()), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("accept4", err)
		}
		if err := all.add(&socket{fd: fd, take: accept}); err != nil {
			return err
		}
	}
}

func accept(s *socket, in []byte) (out, rest []byte) {
	const name = "\r\nSec-WebSocket-Key: "
	_, key, found := bytes.Cut(in, []byte(name))
	key, _, whole := bytes.Cut(key, []byte("\r\n"))
	if !found || !whole {
		return nil, in
	}
	s.take = answer
	return appendAccept(nil, string(key)), nil
}

// loops take turns with sockets.
type loops struct {
	all  []*loop
	next atomic.Uint32
}

func startLoops() (*loops, error) {
	all := &loops{}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop()
		if err != nil {
			return nil, err
		}
		all.all = append(all.all, l)
		go l.run()
	}
	return all, nil
}

// adopt takes a socket away from the net package.
func (ls *loops) adopt(conn net.Conn, s *socket) {
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if s.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			_ = ls.add(s)
		}
	})
}

func (ls *loops) add(s *socket) error {
	return ls.all[int(ls.next.Add(1))%len(ls.all)].add(s)
}

// loop waits for many sockets on one goroutine. Its epoll descriptor lies in Go's own poller, so that no thread is
// held while it waits.
type loop struct {
	epoll  int
	raw    syscall.RawConn
	events [128]unix.EpollEvent

	mu      sync.Mutex
	sockets []*socket // by descriptor
}

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else os would not give it to the poller
		return nil, err
	}
	l := &loop{epoll: fd}
	l.raw, err = os.NewFile(uintptr(fd), "epoll").SyscallConn()
	return l, err
}

func (l *loop) add(s *socket) error {
	l.mu.Lock()
	if missing := s.fd + 1 - len(l.sockets); missing > 0 {
		l.sockets = append(l.sockets, make([]*socket, missing)...)
	}
	l.sockets[s.fd] = s
	l.mu.Unlock()
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)})
}

func (l *loop) run() {
	for {
		n := 0
		err := l.raw.Read(func(uintptr) bool {
			n, _ = unix.EpollWait(l.epoll, l.events[:], 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, ev := range l.events[:n] {
			l.mu.Lock()
			s := l.sockets[ev.Fd]
			l.mu.Unlock()
			if !s.read() {
				_ = unix.Close(s.fd)
			}
		}
	}
}

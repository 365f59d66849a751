package ws

import (
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loops are the goroutines of DriverEpoll, started with the first connection that has use for them.
type loops struct {
	logger *slog.Logger

	mu    sync.Mutex
	begun bool // all is made, or was not to be had
	all   []*loop
	next  int
}

func newLoops(l *slog.Logger) *loops { return &loops{logger: l} }

// adopt takes a plain socket over from the net package; nil if it is none, or has to be driven otherwise.
func (ls *loops) adopt(nc net.Conn) *Conn {
	if ls == nil {
		return nil
	}
	rc := rawConn(nc)
	if rc == nil {
		return nil
	}
	l := ls.pick()
	if l == nil {
		return nil
	}
	fd, err := duplicate(rc)
	if err != nil {
		ls.logger.Warn("no descriptor for the epoll driver", "error", err)
		return nil
	}
	_ = nc.Close()
	p := &polled{fd: int32(fd), loop: l}
	p.conn.driver = p
	return &p.conn
}

// duplicate answers a descriptor of the same socket that the net package knows nothing of. (net.TCPConn.File would make
// the socket, which both share, a blocking one.)
func duplicate(rc syscall.RawConn) (fd int, err error) {
	failed := rc.Control(func(original uintptr) {
		fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = failed
	}
	return fd, err
}

// pick answers a loop for one more connection; they take turns. nil: there are none.
func (ls *loops) pick() *loop {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !ls.begun {
		ls.begun = true
		ls.startLocked()
	}
	if len(ls.all) == 0 {
		return nil
	}
	ls.next++
	return ls.all[ls.next%len(ls.all)]
}

func (ls *loops) startLocked() {
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop()
		if err != nil {
			ls.logger.Warn("no epoll: connections have a goroutine each", "error", err)
			return
		}
		ls.all = append(ls.all, l)
	}
}

// close ends the loops. No connection may be left.
func (ls *loops) close() {
	if ls == nil {
		return
	}
	ls.mu.Lock()
	all := ls.all
	ls.begun, ls.all = true, nil
	ls.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}

// loop waits for many sockets on one goroutine. Its epoll descriptor lies in Go's own poller, like any socket: so no
// thread, and no processor of Go's, is held while it waits.
type loop struct {
	fd    int // epoll
	event int // eventfd: somebody has poked
	raw   syscall.RawConn
	file  *os.File

	// of the goroutine alone
	events     [maxEvents]unix.EpollEvent
	ready      int                   // of events
	polled     []*polled             // by descriptor, as far as epoll knows them
	generation int32                 // of the last descriptor that epoll was told of
	attended   []*polled             // the list before poked, emptied
	wait       func(fd uintptr) bool // made once
	buf        chunk

	mu      sync.Mutex
	poked   []*polled
	asleep  bool // the goroutine waits, or is about to: who pokes must wake it
	closing bool

	done chan struct{}
}

// maxEvents is how many sockets are attended to before epoll is asked again.
const maxEvents = 128

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	l := &loop{fd: fd, done: make(chan struct{})}
	l.wait = func(uintptr) bool { return l.look() }
	if err := l.open(); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	go l.run()
	return l, nil
}

func (l *loop) open() (err error) {
	if l.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	// Edge-triggered, so that nobody needs to read it.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(l.event)}
	if err = unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, l.event, &ev); err == nil {
		err = unix.SetNonblock(l.fd, true) // else os would not give it to Go's poller
	}
	if err == nil {
		l.file = os.NewFile(uintptr(l.fd), "epoll")
		err = l.file.SetReadDeadline(time.Time{}) // says whether it is there
	}
	if err == nil {
		l.raw, err = l.file.SyscallConn()
	}
	if err != nil {
		_ = unix.Close(l.event)
	}
	return err
}

func (l *loop) run() {
	defer close(l.done)
	for l.attend() {
		if !l.look() {
			l.sleep()
		}
		for i := range l.events[:l.ready] {
			ev := &l.events[i]
			if p := l.find(ev); p != nil {
				p.run(ev.Events)
			}
		}
	}
	_ = l.file.Close()
	_ = unix.Close(l.event)
}

// find answers whom an event is for. The generation tells him from another who had his descriptor before.
func (l *loop) find(ev *unix.EpollEvent) *polled {
	if int(ev.Fd) >= len(l.polled) {
		return nil
	}
	p := l.polled[ev.Fd]
	if p == nil || p.generation != ev.Pad {
		return nil
	}
	return p
}

func (l *loop) add(p *polled) {
	if missing := int(p.fd) + 1 - len(l.polled); missing > 0 {
		l.polled = append(l.polled, make([]*polled, missing)...)
	}
	l.polled[p.fd] = p
}

// look asks epoll for events that are there already.
func (l *loop) look() bool {
	n, _ := unix.EpollWait(l.fd, l.events[:], 0) // fails for no reason that matters: the next call tells
	l.ready = max(n, 0)
	return n > 0
}

// sleep waits until there are events, unless somebody has poked.
func (l *loop) sleep() {
	l.mu.Lock()
	l.asleep = len(l.poked) == 0 && !l.closing
	sleep := l.asleep
	l.mu.Unlock()
	if !sleep {
		return
	}
	_ = l.raw.Read(l.wait)
	l.mu.Lock()
	l.asleep = false
	l.mu.Unlock()
}

// attend looks at the connections that were poked; false if there is nothing to do any more.
func (l *loop) attend() bool {
	l.mu.Lock()
	list := l.poked
	l.poked = l.attended[:0]
	for _, p := range list {
		p.poked = false
	}
	open := len(list) > 0 || !l.closing
	l.mu.Unlock()
	for _, p := range list {
		p.run(0)
	}
	clear(list)
	l.attended = list
	return open
}

// poke makes the loop look at a connection.
func (l *loop) poke(p *polled) {
	l.mu.Lock()
	if p.poked {
		l.mu.Unlock()
		return
	}
	p.poked = true
	l.poked = append(l.poked, p)
	wake := l.wakeLocked()
	l.mu.Unlock()
	if wake {
		l.wake()
	}
}

// wakeLocked answers whether the goroutine must be woken, once.
func (l *loop) wakeLocked() (wake bool) {
	wake = l.asleep
	l.asleep = false
	return wake
}

func (l *loop) wake() { _, _ = unix.Write(l.event, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (l *loop) close() {
	l.mu.Lock()
	l.closing = true
	wake := l.wakeLocked()
	l.mu.Unlock()
	if wake {
		l.wake()
	}
	<-l.done
}

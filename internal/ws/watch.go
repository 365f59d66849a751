package ws

import (
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watcher waits for a stream that must not be read at present.
type watcher interface {
	watch(ready func() bool) error
	wake()
	backlog() (acked uint64, waiting bool)
	hungUp() bool
	// woken turns the error of a read that was only woken into none.
	woken(err error) error
}

// socketWatcher sees that the socket fails while it waits. It is woken by a read deadline, which
// watch and woken take away again; whoever reads looks afterwards whether the connection is over.
type socketWatcher struct {
	nc net.Conn
	rc syscall.RawConn
}

func (w *socketWatcher) wake() { _ = w.nc.SetReadDeadline(longPast) }

func (w *socketWatcher) watch(ready func() bool) error {
	_ = w.nc.SetReadDeadline(time.Time{}) // before ready is asked, so that no wake is lost
	var failed error
	err := w.rc.Read(func(fd uintptr) bool {
		failed = socketError(int(fd))
		return failed != nil || ready()
	})
	return w.woken(errors.Join(failed, err))
}

func (w *socketWatcher) woken(err error) error {
	if !isWake(err) {
		return err
	}
	_ = w.nc.SetReadDeadline(time.Time{})
	return nil
}

// awaitInput waits until there is something to read, without reading it.
func (w *socketWatcher) awaitInput() error { return w.rc.Read(readable) }

// readable asks the kernel: what Go's poller was told may have been read since.
func readable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n > 0 || err != nil && err != unix.EINTR
}

func socketError(fd int) error {
	code, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err == nil && code != 0 {
		err = syscall.Errno(code)
	}
	return err
}

func (w *socketWatcher) backlog() (acked uint64, waiting bool) {
	_ = w.rc.Control(func(fd uintptr) { acked, waiting = unacknowledged(int(fd)) })
	return acked, waiting
}

func (w *socketWatcher) hungUp() (is bool) {
	_ = w.rc.Control(func(fd uintptr) { is = hungUp(int32(fd)) })
	return is
}

func hungUp(fd int32) bool {
	p := []unix.PollFd{{Fd: fd}}
	n, _ := unix.Poll(p, 0)
	return n > 0 && p[0].Revents&unix.POLLHUP != 0
}

// plainWatcher is for streams of which nothing can be seen without reading.
type plainWatcher chan struct{}

func (w plainWatcher) wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

func (w plainWatcher) backlog() (uint64, bool) { return 0, false }
func (w plainWatcher) hungUp() bool            { return false }

func (w plainWatcher) watch(ready func() bool) error {
	if !ready() {
		<-w
	}
	return nil
}

func (w plainWatcher) woken(err error) error {
	if isWake(err) {
		return nil
	}
	return err
}

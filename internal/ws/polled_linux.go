package ws

import (
	"io"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// polled drives a connection from a loop, by the descriptor of its socket.
//
// Who may use the descriptor: the loop, which alone reads, tells epoll of it and closes it; the writer, for whom the
// loop waits before it does; and who holds it (use).
type polled struct {
	conn   Conn
	loop   *loop
	parked atomic.Pointer[batch] // of a writer that waits for room, or for the end
	fd     int32
	users  atomic.Int32 // who holds the descriptor, and closing
	begun  atomic.Bool  // Conn.Start was called
	poked  bool         // guarded by the loop's mutex

	// of the loop's goroutine alone
	ended      bool // nothing is left to be done
	closed     bool // so is the descriptor
	watched    bool // epoll knows the descriptor
	deaf       bool // the peer hung up while the connection may not be read: epoll would tell that without end
	interest   uint32
	generation int32
}

func (p *polled) start() {
	p.conn.cfg.engine.running.Add(1)
	p.begun.Store(true)
	p.wake()
}

func (p *polled) wake()       { p.loop.poke(p) }
func (p *polled) interrupt()  { p.loop.poke(p) }
func (p *polled) abandon()    { p.loop.poke(p) }
func (p *polled) writerLeft() { p.loop.poke(p) }

func (p *polled) handOver(b *batch) {
	p.parked.Store(b)
	p.loop.poke(p)
}

// run does what can be done for the connection now: events are epoll's, or none if somebody poked.
func (p *polled) run(events uint32) {
	c := &p.conn
	if p.ended {
		return
	}
	if events == 0 {
		p.deaf = false
	}
	var more bool
	if p.begun.Load() && !c.over.Load() {
		more = p.input(events)
	}
	p.writeOn(events) // behind what came: when it fails, nothing more is read
	if c.over.Load() {
		p.end()
		return
	}
	p.watch(more)
}

// writeOn lets the writer go on that had no room, or leave when his stream has failed.
func (p *polled) writeOn(events uint32) {
	b := p.parked.Load()
	switch {
	case b == nil:
	case p.conn.over.Load(), b.failed != nil && !p.hearsOut():
		p.parked.Store(nil)
		p.conn.writeFailed(b)
		p.conn.wroteAll(b)
	case b.failed == nil && events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0:
		p.parked.Store(nil)
		p.conn.pump(b)
	}
}

// hearsOut: what is there to be read is read, up to the end.
func (p *polled) hearsOut() bool { return p.begun.Load() && p.conn.readable() && hungUp(p.fd) }

// input gives the connection what it kept and what is there to be read, of that one chunk, so that others get their
// turn. It answers whether more is to be read.
func (p *polled) input(events uint32) (more bool) {
	c := &p.conn
	defer func() {
		if c.caught(recover()) {
			c.deafen()
			more = true
		}
	}()
	for decided := false; !decided; {
		if !c.readable() {
			p.unreadable(events)
			return false
		}
		if more, decided = c.replay(); c.over.Load() {
			return false
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return more
	}
	return p.read()
}

func (p *polled) read() (more bool) {
	n, err := syscall.Read(int(p.fd), p.loop.buf[:])
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return true
	case err != nil:
		p.conn.streamEnded(err)
	case n == 0:
		p.conn.streamEnded(io.EOF)
	default:
		// Who closed the connection while the Handler refused an event saw no hold yet, and woke nobody.
		return p.conn.take(p.loop.buf[:n]) || p.conn.readable()
	}
	return false
}

// unreadable looks at what epoll tells of a connection that may not be read: an error ends it, for nothing more will
// come that could be read. A hang-up is acted on when the data before it was read.
func (p *polled) unreadable(events uint32) {
	if events&(unix.EPOLLERR|unix.EPOLLHUP) == 0 {
		return
	}
	if err := socketError(int(p.fd)); err != nil {
		p.conn.streamFailed(err)
		return
	}
	p.deaf = true
}

// watch tells epoll what is waited for: input if there may be more, room if a writer waits for it, and in any case, once
// the connection is started, that the socket fails.
func (p *polled) watch(input bool) {
	if p.deaf || !p.begun.Load() && p.parked.Load() == nil {
		p.unwatch()
		return
	}
	var interest uint32
	if input {
		interest |= unix.EPOLLIN
	}
	if p.parked.Load() != nil {
		interest |= unix.EPOLLOUT
	}
	if p.watched && interest == p.interest {
		return
	}
	op := unix.EPOLL_CTL_MOD
	if !p.watched {
		op = unix.EPOLL_CTL_ADD
		p.loop.generation++
		p.generation = p.loop.generation
	}
	ev := unix.EpollEvent{Events: interest, Fd: p.fd, Pad: p.generation}
	if err := unix.EpollCtl(p.loop.fd, op, int(p.fd), &ev); err != nil {
		p.conn.finishWith(Transport, err.Error())
		return
	}
	p.watched, p.interest = true, interest
	p.loop.add(p)
}

func (p *polled) unwatch() {
	if p.watched {
		_ = unix.EpollCtl(p.loop.fd, unix.EPOLL_CTL_DEL, int(p.fd), nil)
		p.watched = false
		p.loop.polled[p.fd] = nil
	}
}

// end brings a connection to its end that is over. Who still needs the descriptor will poke.
func (p *polled) end() {
	p.unwatch()
	c := &p.conn
	c.writeMu.Lock()
	writing := c.writing
	c.writeMu.Unlock()
	if writing || !p.release() {
		return
	}
	if p.begun.Load() {
		p.ended = true
		c.conclude()
		c.cfg.engine.running.Done()
	}
}

// tryWrite writes what the socket takes.
func (p *polled) tryWrite(b []byte) (int, error) {
	for {
		n, err := syscall.Write(int(p.fd), b)
		switch err {
		case nil:
			return n, nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}

func (p *polled) closeWrite() {
	if p.use() {
		defer p.done()
		_ = syscall.Shutdown(int(p.fd), syscall.SHUT_WR)
	}
}

// closing is far above any number of users.
const closing = 1 << 30

// use holds the descriptor open until done is called; false if it is closed, or about to be.
func (p *polled) use() bool {
	if p.users.Add(1) < closing {
		return true
	}
	p.done()
	return false
}

func (p *polled) done() {
	if p.users.Add(-1) == closing {
		p.loop.poke(p)
	}
}

func (p *polled) backlog() (acked uint64, waiting bool) {
	if !p.use() {
		return 0, false
	}
	defer p.done()
	return unacknowledged(int(p.fd))
}

// release closes the descriptor; false if somebody holds it, who will poke.
func (p *polled) release() bool {
	if p.users.Load() < closing {
		p.users.Add(closing)
	}
	if !p.closed && p.users.Load() == closing {
		p.closed = true
		_ = unix.Close(int(p.fd))
	}
	return p.closed
}

// close has nothing left to do.
func (p *polled) close(bool) {}

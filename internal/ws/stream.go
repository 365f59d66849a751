package ws

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// stream is what the portable driver needs of a connection's stream. read, watch and close belong to the reading
// goroutine, tryWrite and write to whoever is the writer; wake, interrupt, backlog and closeWrite never wait and
// may be called by anyone.
type stream interface {
	// read hands chunks to take until that answers false or somebody called wake or interrupt (nil),
	// or the stream ends (io.EOF or the error). It holds a buffer only while there is data.
	read(take func([]byte) bool) error
	// watch waits without reading until ready answers true, or the stream fails (the error). It asks
	// again after each wake, and may return nil for no reason.
	watch(ready func() bool) error
	wake()
	// backlog answers how many bytes the peer's side has acknowledged so far, and whether some still
	// wait for that; nothing where that cannot be seen.
	backlog() (acked uint64, waiting bool)
	// tryWrite writes what it can without waiting.
	tryWrite(b []byte) (int, error)
	// hungUp answers whether the peer is gone, so that what is there to be read has an end.
	hungUp() bool
	// write waits until all is written.
	write(b []byte) error
	// closeWrite lets the peer read what was written and then the end of the stream.
	closeWrite()
	// interrupt makes read, watch and write return, now and from now on.
	interrupt()
	// close gives the stream back. With clean, the peer is told so where the stream can (TLS).
	close(clean bool)
}

func newStream(nc net.Conn, b *buffers) stream {
	if rc := rawConn(nc); rc != nil {
		t := &socketStream{socketWatcher: socketWatcher{nc: nc, rc: rc}, buffers: b}
		t.writeOnce = t.writeSome
		return t
	}
	t := &plainStream{nc: nc, buffers: b}
	if rc := rawConn(inner(nc)); rc != nil {
		t.below = &socketWatcher{nc: nc, rc: rc}
		t.watcher = t.below
	} else {
		t.watcher = make(plainWatcher, 1)
	}
	return t
}

func rawConn(nc net.Conn) syscall.RawConn {
	if sc, ok := nc.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			return rc
		}
	}
	return nil
}

// inner is the stream below TLS, or nil.
func inner(nc net.Conn) net.Conn {
	if c, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return c.NetConn()
	}
	return nil
}

// socketStream reads and writes a socket by its descriptor, so that it can wait without a buffer
// and write without waiting.
type socketStream struct {
	socketWatcher
	buffers *buffers

	// of the write that is under way
	out       []byte
	n         int
	err       error
	writeOnce func(fd uintptr) bool // made once: a closure for each write would be an allocation
}

func (t *socketStream) read(take func([]byte) bool) error {
	var end error
	err := t.rc.Read(func(fd uintptr) bool {
		c := t.buffers.chunk()
		defer t.buffers.putChunk(c)
		var wait bool
		wait, end = readSome(int(fd), c[:], take)
		return !wait
	})
	return t.woken(errors.Join(end, err))
}

// readSome reads until there is no more to read now (wait), take has enough, or the stream has ended.
// A short read is no sign that nothing is left: the end of the stream may stand behind it, and of that
// the poller does not tell twice.
func readSome(fd int, buf []byte, take func([]byte) bool) (wait bool, err error) {
	for {
		n, err := syscall.Read(fd, buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return true, nil
		case err != nil:
			return false, err
		case n == 0:
			return false, io.EOF
		}
		if !take(buf[:n]) {
			return false, nil
		}
	}
}

func (t *socketStream) tryWrite(b []byte) (int, error) {
	t.out, t.n, t.err = b, 0, nil
	err := t.rc.Write(t.writeOnce)
	t.out = nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}

func (t *socketStream) writeSome(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), t.out)
		switch err {
		case syscall.EINTR:
			continue
		case nil:
			t.n = n
		case syscall.EAGAIN:
		default:
			t.err = err
		}
		return true
	}
}

func (t *socketStream) write(b []byte) error {
	_, err := t.nc.Write(b)
	return err
}

func (t *socketStream) closeWrite() { closeWrite(t.nc) }
func (t *socketStream) interrupt()  { _ = t.nc.SetDeadline(longPast) }
func (t *socketStream) close(bool)  { _ = t.nc.Close() }

// plainStream is for what is not a plain socket: TLS, or a pipe in tests. It never writes without a goroutine that may
// wait, and holds a buffer while it waits only where there is no socket below.
type plainStream struct {
	watcher
	nc      net.Conn
	below   *socketWatcher // of the socket below TLS; else nil
	more    bool           // TLS may have something that it has read already; of the reading goroutine
	buffers *buffers
}

// streamBuffer holds one TLS record.
const streamBuffer = 16 << 10

func (t *plainStream) read(take func([]byte) bool) error {
	if t.below != nil && !t.more {
		if err := t.below.awaitInput(); err != nil {
			return t.woken(err)
		}
	}
	buf := t.buffers.Get(streamBuffer)[:streamBuffer]
	defer t.buffers.Put(buf)
	for {
		if t.more {
			return t.readOn(buf, take)
		}
		n, err := t.nc.Read(buf)
		t.more = t.below != nil && n > 0
		if n > 0 && !take(buf[:n]) {
			return nil
		}
		if err != nil {
			return t.woken(err)
		}
	}
}

// readOn takes what TLS has read already, and no more: a deadline in the past keeps it from the socket, and does it no
// harm. Whoever wakes meanwhile is not missed, because the caller looks afterwards what is to be done.
func (t *plainStream) readOn(buf []byte, take func([]byte) bool) error {
	_ = t.nc.SetReadDeadline(longPast)
	for {
		n, err := t.nc.Read(buf)
		if n > 0 && !take(buf[:n]) {
			_ = t.nc.SetReadDeadline(time.Time{})
			return nil
		}
		if err != nil {
			t.more = false
			return t.woken(err)
		}
	}
}

func (t *plainStream) tryWrite([]byte) (int, error) { return 0, nil }

func (t *plainStream) write(b []byte) error {
	_, err := t.nc.Write(b)
	return err
}

func (t *plainStream) closeWrite() { closeWrite(t.nc) }
func (t *plainStream) interrupt()  { _ = t.nc.SetDeadline(longPast); t.wake() }

func (t *plainStream) close(clean bool) {
	if below := inner(t.nc); below != nil && !clean {
		_ = below.Close() // else TLS waits for a peer that does not read, to tell it
	}
	_ = t.nc.Close()
}

func closeWrite(nc net.Conn) {
	if c, ok := nc.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

// longPast as a deadline ends all waiting at once, where closing would wait for it to end.
var longPast = time.Unix(1, 0)

func isWake(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

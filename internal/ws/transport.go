package ws

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// transport is what a connection needs of its stream. read is called by one goroutine, tryWrite and
// write by one at a time, close by anyone; it makes the others return.
type transport interface {
	// read hands chunks to take until that answers false (nil) or the stream ends (io.EOF or the
	// error). It holds a buffer only while there is data.
	read(take func([]byte) bool) error
	// tryWrite writes what it can without waiting.
	tryWrite(b []byte) (int, error)
	// write waits until all is written.
	write(b []byte) error
	// closeWrite lets the peer read what was written and then the end of the stream.
	closeWrite()
	close()
}

func newTransport(nc net.Conn, b *buffers) transport {
	if sc, ok := nc.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			t := &socketTransport{nc: nc, rc: rc, buffers: b}
			t.writeOnce = t.writeSome
			return t
		}
	}
	return &streamTransport{nc: nc, buffers: b}
}

// socketTransport reads and writes a socket by its descriptor, so that it can wait without a buffer
// and write without waiting.
type socketTransport struct {
	nc      net.Conn
	rc      syscall.RawConn
	buffers *buffers

	// of the write that is under way
	out       []byte
	n         int
	err       error
	writeOnce func(fd uintptr) bool // made once: a closure for each write would be an allocation
}

func (t *socketTransport) read(take func([]byte) bool) error {
	var end error
	err := t.rc.Read(func(fd uintptr) bool {
		c := t.buffers.chunk()
		defer t.buffers.putChunk(c)
		var wait bool
		wait, end = readSome(int(fd), c[:], take)
		return !wait
	})
	return errors.Join(end, err)
}

// readSome reads until there is no more to read now (wait), take has enough, or the stream has ended.
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
		if n < len(buf) {
			return true, nil // the socket is empty; asking again would cost a system call
		}
	}
}

func (t *socketTransport) tryWrite(b []byte) (int, error) {
	t.out, t.n, t.err = b, 0, nil
	err := t.rc.Write(t.writeOnce)
	t.out = nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}

func (t *socketTransport) writeSome(fd uintptr) bool {
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

func (t *socketTransport) write(b []byte) error {
	_, err := t.nc.Write(b)
	return err
}

func (t *socketTransport) closeWrite() { closeWrite(t.nc) }
func (t *socketTransport) close()      { _ = t.nc.Close() }

// streamTransport is for what is not a plain socket: TLS, or a pipe in tests. It holds a buffer while
// it waits, and never writes without a goroutine that may wait.
type streamTransport struct {
	nc      net.Conn
	buffers *buffers
}

// streamBuffer holds one TLS record.
const streamBuffer = 16 << 10

func (t *streamTransport) read(take func([]byte) bool) error {
	buf := t.buffers.Get(streamBuffer)[:streamBuffer]
	defer t.buffers.Put(buf)
	for {
		n, err := t.nc.Read(buf)
		if n > 0 && !take(buf[:n]) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *streamTransport) tryWrite([]byte) (int, error) { return 0, nil }

func (t *streamTransport) write(b []byte) error {
	_, err := t.nc.Write(b)
	return err
}

func (t *streamTransport) closeWrite() { closeWrite(t.nc) }
func (t *streamTransport) close()      { _ = t.nc.Close() }

func closeWrite(nc net.Conn) {
	if c, ok := nc.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

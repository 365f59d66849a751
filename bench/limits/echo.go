//go:build linux

package main

import (
	"net"
	"net/http"
	"sync"
	"syscall"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// buffers are held only while there is something to read.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

func serveEcho(l net.Listener, _ *options) error {
	ready(l.Addr())
	// A goroutine of its own has a small stack.
	return serveHTTP(l, func(conn net.Conn, _ *http.Request) { go echo(conn) })
}

// echo waits inside one call of Read, so that no buffer is held and no read finds nothing.
func echo(conn net.Conn) {
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	s := socket{take: answer}
	_ = raw.Read(func(fd uintptr) (done bool) {
		s.fd = int(fd)
		return !s.read()
	})
}

// socket is a client's, and what is done with its frames.
type socket struct {
	fd   int
	held []byte // of a frame whose end has not come
	// take handles the whole frames of a chunk, in place, and returns what is to be written, and what is left.
	take func(*socket, []byte) (out, rest []byte)
}

// read takes what is there, and reports whether there may be more later.
func (s *socket) read() bool {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := syscall.Read(s.fd, *buf)
		if err == syscall.EAGAIN || err == syscall.EINTR {
			return true
		}
		if err != nil || n <= 0 {
			return false
		}
		in := (*buf)[:n]
		if len(s.held) > 0 {
			in = append(s.held, in...)
		}
		out, rest := s.take(s, in)
		s.held = append([]byte(nil), rest...)
		if len(out) > 0 && !write(s.fd, out) {
			return false
		}
		if n < len(*buf) {
			return true
		}
	}
}

// answer turns the frames of a client into those of a server: these are shorter, so they find room.
func answer(_ *socket, in []byte) (out, rest []byte) {
	out = in[:0]
	for {
		h, payload, rest, whole := next(in)
		if !whole {
			return out, in
		}
		if in = rest; !h.Opcode.IsControl() {
			out = wire.AppendFrame(out, h.Opcode, true, payload)
		}
	}
}

// next cuts the first frame off, unmasked in place; false if its end has not come.
func next(in []byte) (h wire.Header, payload, rest []byte, whole bool) {
	h, n, fault := wire.ParseHeader(in)
	if fault != nil || n == 0 || uint64(len(in)-n) < h.Length {
		return h, nil, in, false
	}
	payload, rest = in[n:n+int(h.Length)], in[n+int(h.Length):]
	wire.Mask(payload, h.Mask, 0)
	return h, payload, rest, true
}

// write gives the kernel everything at once. A peer whose socket is full is too slow for these programs.
func write(fd int, b []byte) bool {
	n, err := syscall.Write(fd, b)
	return err == nil && n == len(b)
}

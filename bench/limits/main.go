// Command limits is the bare echo peer that the broker is measured beside: as little as a Go process can do
// for a WebSocket message. It does not answer pings or closes, checks nothing, and is no server to use.
// It writes the address it listens on to stdout.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func main() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "limits:", err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	server := &http.Server{Handler: http.HandlerFunc(serve), ReadHeaderTimeout: time.Minute}
	fmt.Fprintln(os.Stderr, "limits:", server.Serve(l))
	os.Exit(1)
}

// buffers are held only while there is something to read.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

func serve(w http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n\r\n", wire.AcceptKey(r.Header.Get("Sec-WebSocket-Key")))
	if err != nil {
		_ = conn.Close()
		return
	}
	// A goroutine of its own has a small stack, and lets go of what net/http allocated.
	go echo(conn)
}

// echo waits inside one call of Read, so that no buffer is held and no read finds nothing.
func echo(conn net.Conn) {
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	var held []byte // of a frame whose end has not come
	_ = raw.Read(func(fd uintptr) (done bool) {
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		for {
			n, err := syscall.Read(int(fd), *buf)
			if err == syscall.EAGAIN || err == syscall.EINTR {
				return false
			}
			if err != nil || n <= 0 {
				return true
			}
			in := (*buf)[:n]
			if len(held) > 0 {
				in = append(held, in...)
			}
			out, rest := answer(in)
			held = append([]byte(nil), rest...)
			if len(out) > 0 && !write(int(fd), out) {
				return true
			}
			if n < len(*buf) {
				return false
			}
		}
	})
}

// answer turns the whole frames in a chunk into those of a server, in place: a server's frame is shorter.
func answer(in []byte) (out, rest []byte) {
	out = in[:0]
	for {
		h, n, fault := wire.ParseHeader(in)
		if fault != nil || n == 0 || uint64(len(in)-n) < h.Length {
			return out, in
		}
		payload := in[n : n+int(h.Length)]
		wire.Mask(payload, h.Mask, 0)
		in = in[n+int(h.Length):]
		if h.Opcode == wire.Text || h.Opcode == wire.Binary {
			out = wire.AppendFrame(out, h.Opcode, true, payload)
		}
	}
}

// write gives the kernel everything at once. A peer whose socket is full is too slow for this program.
func write(fd int, b []byte) bool {
	n, err := syscall.Write(fd, b)
	return err == nil && n == len(b)
}

//go:build linux

package client

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// maskKey is the same for all frames: nobody on the loopback is fooled by it, and masking costs the same.
var maskKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

var errHungUp = errors.New("the server hung up")

// Conn is one connection. It belongs to its pool's goroutine.
type Conn struct {
	// Index in Pool.Conns, also the number "n" in the query of its handshake.
	Index int
	// Sent and Received are the user's, to number messages with.
	Sent, Received uint64

	pool    *Pool
	fd      int // -1 when it has ended
	open    bool
	dirty   bool
	waiting bool // for the kernel to take more
	key     string
	answer  []byte // of the handshake, until it is whole
	reader  wire.Reader
	out     []byte // frames the kernel has not taken
}

// Send sends a binary message once the handler that called it, or the pool's next method, is done.
func (c *Conn) Send(payload []byte) { c.write(wire.Binary, payload) }

func (c *Conn) write(op wire.Opcode, payload []byte) {
	if c.fd < 0 {
		return
	}
	h := wire.Header{Fin: true, Opcode: op, Masked: true, Mask: maskKey, Length: uint64(len(payload))}
	c.out = wire.AppendHeader(c.out, h)
	start := len(c.out)
	c.out = append(c.out, payload...)
	wire.Mask(c.out[start:], maskKey, 0)
	c.touch()
}

func (c *Conn) touch() {
	if !c.dirty {
		c.dirty = true
		c.pool.dirty = append(c.pool.dirty, c)
	}
}

// flush writes as much as the kernel takes, and waits for it to take the rest.
func (c *Conn) flush() {
	if c.fd < 0 || c.waiting || len(c.out) == 0 {
		return
	}
	n, err := unix.Write(c.fd, c.out)
	if err != nil && err != unix.EAGAIN {
		c.end(fmt.Errorf("write: %w", err))
		return
	}
	if n = max(n, 0); n == len(c.out) {
		c.out = c.out[:0]
		return
	}
	c.out = append(c.out[:0], c.out[n:]...)
	c.waiting = true
	_ = c.pool.control(unix.EPOLL_CTL_MOD, c.fd, c.Index, unix.EPOLLIN|unix.EPOLLOUT)
}

// ready handles what epoll reports.
func (c *Conn) ready(events uint32) {
	if c.fd < 0 {
		return // ended by an event before, of the same wait
	}
	if events&unix.EPOLLOUT != 0 {
		c.waiting = false
		_ = c.pool.control(unix.EPOLL_CTL_MOD, c.fd, c.Index, unix.EPOLLIN)
		c.touch()
	}
	if events&^uint32(unix.EPOLLOUT) != 0 {
		c.read()
	}
}

// read takes what has come. After a short read there is nothing more: epoll would tell.
func (c *Conn) read() {
	for c.fd >= 0 {
		n, err := unix.Read(c.fd, c.pool.in)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			return
		case err != nil:
			c.end(fmt.Errorf("read: %w", err))
			return
		case n == 0:
			c.end(errHungUp)
			return
		}
		chunk := c.pool.in[:n]
		if !c.open {
			chunk = c.handshake(chunk)
		}
		c.frames(Now(), chunk)
		if n < len(c.pool.in) {
			return
		}
	}
}

func (c *Conn) frames(now int64, chunk []byte) {
	for len(chunk) > 0 && c.fd >= 0 {
		ev, n, fault := c.reader.Next(chunk)
		if fault != nil {
			c.end(fault)
			return
		}
		chunk = chunk[n:]
		switch ev.Kind {
		case wire.MessageEvent:
			c.pool.OnMessage(c, now, ev.Payload)
		case wire.PingEvent:
			c.write(wire.Pong, ev.Payload)
		case wire.CloseEvent:
			c.end(fmt.Errorf("closed by the server: %d %s", ev.Code, ev.Reason))
		}
	}
	c.reader.Release()
}

// end closes the socket. Without a close asked for, its reason is kept as an error.
func (c *Conn) end(reason error) {
	if c.fd < 0 {
		return
	}
	_ = unix.Close(c.fd) // this also takes it out of epoll
	c.fd = -1
	c.reader.Discard()
	if c.open {
		c.pool.open--
	}
	if c.pool.closing {
		return
	}
	c.pool.Broken++
	if c.pool.Err == nil {
		c.pool.Err = fmt.Errorf("client: connection %d: %w", c.Index, reason)
	}
}

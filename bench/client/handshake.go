//go:build linux

package client

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// dial starts a connection. On the loopback connect returns at once, so it is not made to wait in epoll.
func (p *Pool) dial() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("client: socket: %w", err)
	}
	c := &Conn{Index: len(p.Conns), pool: p, fd: fd}
	c.reader.Reset(&p.reading)
	if err := c.connect(); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("client: connection %d: %w", c.Index, err)
	}
	p.Conns = append(p.Conns, c)
	c.request()
	c.flush()
	return nil
}

func (c *Conn) connect() error {
	if err := unix.Connect(c.fd, &c.pool.address); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := unix.SetNonblock(c.fd, true); err != nil {
		return err
	}
	return c.pool.control(unix.EPOLL_CTL_ADD, c.fd, c.Index, unix.EPOLLIN)
}

// browser is what Chrome 142 sends with a handshake to the host that the page came from, besides what a handshake needs.
const browser = "Origin: http://%s\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9,de-DE;q=0.8,de;q=0.7\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

// request writes the opening handshake (RFC 6455 4.1). The query tells connections apart.
func (c *Conn) request() {
	var nonce [16]byte
	binary.BigEndian.PutUint64(nonce[:], uint64(c.Index)+1)
	c.key = base64.StdEncoding.EncodeToString(nonce[:])
	c.out = fmt.Appendf(c.out, "GET %s?n=%d HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: %s\r\n",
		cmp.Or(c.pool.Path, "/"), c.Index, c.pool.host, c.key, wire.Version)
	if c.pool.Browser {
		c.out = fmt.Appendf(c.out, browser, c.pool.host)
	} else {
		c.out = append(c.out, "User-Agent: holdfast-bench\r\n"...)
	}
	c.out = append(c.out, "\r\n"...)
}

// handshake collects the answer, judges it, and returns what came behind it.
func (c *Conn) handshake(chunk []byte) []byte {
	c.answer = append(c.answer, chunk...)
	head, rest, whole := bytes.Cut(c.answer, []byte("\r\n\r\n"))
	if !whole {
		return nil
	}
	c.answer = nil
	lines := strings.Split(string(head), "\r\n")
	accepted := false
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Accept") {
			accepted = strings.TrimSpace(value) == wire.AcceptKey(c.key)
		}
	}
	if !strings.HasPrefix(lines[0], "HTTP/1.1 101 ") || !accepted {
		c.end(fmt.Errorf("handshake: %q", head))
		return nil
	}
	c.key = ""
	c.out = nil // an idle connection keeps no buffer
	c.open = true
	c.pool.open++
	return rest
}

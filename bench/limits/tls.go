//go:build linux

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// serveTLS has a goroutine for each connection, which waits before crypto/tls reads, so that it holds no buffer.
func serveTLS(l net.Listener, o *options) error {
	pair, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	ready(l.Addr())
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go handshakeTLS(conn, config)
	}
}

// handshakeTLS ends with the upgrade; the goroutine that goes on has a small stack again.
func handshakeTLS(conn net.Conn, config *tls.Config) {
	c := tls.Server(conn, config)
	s := &socket{take: accept}
	if !s.readTLS(c) {
		_ = c.Close()
		return
	}
	go echoTLS(conn, c, s)
}

func echoTLS(conn net.Conn, c *tls.Conn, s *socket) {
	defer c.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	for {
		if raw.Read(readable) != nil || !s.readTLS(c) {
			return
		}
	}
}

func readable(fd uintptr) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
	return !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR)
}

// readTLS takes one record, which is a whole message of the clients that are meant.
func (s *socket) readTLS(c *tls.Conn) bool {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	n, err := c.Read(*buf)
	if err != nil {
		return false
	}
	out, _ := s.take(s, (*buf)[:n])
	_, err = c.Write(out)
	return err == nil
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
)

// client is a raw TCP client: it says what it is told to, and a goroutine of its own writes down everything that
// the broker says.
type client struct {
	nc     *net.TCPConn
	in     *bufio.Reader
	codec  *codec // nil: no permessage-deflate
	events chan event
	left   context.CancelFunc
}

// dial connects and does the handshake. The client is closed with the context at the latest.
func dial(ctx context.Context, address, path, offer string) (*client, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &client{nc: nc.(*net.TCPConn), in: bufio.NewReaderSize(nc, 64<<10), events: make(chan event, 64), left: cancel}
	context.AfterFunc(ctx, func() { _ = nc.Close() })
	if err := c.handshake(address, path, offer); err != nil {
		cancel()
		return nil, err
	}
	go c.listen(ctx)
	return c, nil
}

func (c *client) handshake(address, path, offer string) error {
	key := newKey()
	if _, err := c.nc.Write(handshakeRequest(address, path, key, offer)); err != nil {
		return err
	}
	extensions, err := readHandshake(c.in, key)
	if err != nil {
		return err
	}
	c.codec, err = negotiated(offer, extensions)
	return err
}

// close leaves the broker alone. Only the context's end or this ends the client's side of TCP, so that it is always
// seen whether the broker ends its own.
func (c *client) close() { c.left() }

// send writes bytes, cut into writes of chop bytes; 0 for one. Without Nagle's algorithm (off in Go) the broker gets
// them as they were cut, mostly.
func (c *client) send(b []byte, chop int) error {
	if chop <= 0 {
		chop = max(len(b), 1)
	}
	for part := range slices.Chunk(b, chop) {
		if _, err := c.nc.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// listen tells of everything the broker sends, up to the end of TCP.
func (c *client) listen(ctx context.Context) {
	r := reader{in: c.in, codec: c.codec}
	for {
		e := r.next()
		select {
		case c.events <- e:
		case <-ctx.Done():
			return
		}
		if e.kind == ended || e.kind == broken {
			return
		}
	}
}

// endOf says how TCP ended.
func endOf(err error) event {
	switch {
	case errors.Is(err, io.EOF):
		return event{kind: ended, how: "closed by the broker"}
	case errors.Is(err, syscall.ECONNRESET):
		return event{kind: ended, how: "reset by the broker"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return event{kind: ended, how: "closed by the broker within a frame"}
	}
	return event{kind: ended, how: fmt.Sprintf("left open by the broker (%v)", err)}
}

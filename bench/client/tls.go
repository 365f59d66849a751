//go:build linux

package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// TLS holds connections through crypto/tls. It is for memory and handshakes; no load for a figure per message.
type TLS struct {
	Config *tls.Config

	conns []*tls.Conn
}

// Connect opens n connections.
func (t *TLS) Connect(ctx context.Context, address string, n int) error {
	t.conns = make([]*tls.Conn, n)
	return t.each(func(i int) (err error) {
		dialer := tls.Dialer{Config: t.Config}
		nc, err := dialer.DialContext(ctx, "tcp4", address)
		if err != nil {
			return err
		}
		t.conns[i] = nc.(*tls.Conn)
		key := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%016d", i))
		_, err = fmt.Fprintf(nc, "GET /?n=%d HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: %s\r\nUser-Agent: holdfast-bench\r\n\r\n", i, address, key, wire.Version)
		if err != nil {
			return err
		}
		answer := make([]byte, 0, 512)
		for !bytes.Contains(answer, []byte("\r\n\r\n")) {
			if answer, err = more(nc.(*tls.Conn), answer); err != nil {
				return err
			}
		}
		if !bytes.Contains(answer, []byte(wire.AcceptKey(key))) {
			return fmt.Errorf("handshake: %q", answer)
		}
		return nil
	})
}

// Once sends a message on each connection and waits until it has come back.
func (t *TLS) Once(size int) error {
	return t.each(func(i int) error {
		message := Stamp{Index: uint32(i)}.AppendMessage(nil, size)
		h := wire.Header{Fin: true, Opcode: wire.Binary, Masked: true, Mask: maskKey, Length: uint64(size)}
		frame := append(wire.AppendHeader(nil, h), message...)
		wire.Mask(frame[len(frame)-size:], maskKey, 0)
		if _, err := t.conns[i].Write(frame); err != nil {
			return err
		}
		var in []byte
		for {
			h, n, fault := wire.ParseHeader(in)
			if fault != nil {
				return fault
			}
			if n > 0 && uint64(len(in)-n) >= h.Length {
				if !bytes.Equal(in[n:], message) {
					return errors.New("another message came back")
				}
				return nil
			}
			var err error
			if in, err = more(t.conns[i], in); err != nil {
				return err
			}
		}
	})
}

// Close ends all connections, without a close frame.
func (t *TLS) Close() {
	for _, c := range t.conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// each calls f for all connections, several at a time.
func (t *TLS) each(f func(i int) error) error {
	const workers = 16
	errs := make([]error, workers)
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := w; i < len(t.conns) && errs[w] == nil; i += workers {
				if err := f(i); err != nil {
					errs[w] = fmt.Errorf("client: connection %d: %w", i, err)
				}
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// more reads what comes next behind what has come.
func more(c *tls.Conn, in []byte) ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return in, err
	}
	buf := make([]byte, 4<<10)
	n, err := c.Read(buf)
	return append(in, buf[:n]...), err
}

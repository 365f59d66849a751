//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// socket is one WebSocket connection of a client.
type socket struct {
	nc     net.Conn
	in     *bufio.Reader
	reader wire.Reader

	mu  sync.Mutex
	out []byte
}

// How long a handshake may take: a broker that is stopped accepts TCP and says nothing.
const handshakeTime = 5 * time.Second

var clientReading = wire.ReaderConfig{Client: true}

func dial(address, tag string) (*socket, error) {
	nc, err := net.DialTimeout("tcp", address, handshakeTime) //nolint:gosec // an address of our own
	if err != nil {
		return nil, err
	}
	s := &socket{nc: nc, in: bufio.NewReaderSize(nc, 1024)}
	if err := s.handshake(address, tag); err != nil {
		_ = nc.Close()
		return nil, err
	}
	s.reader.Reset(&clientReading)
	return s, nil
}

func (s *socket) handshake(address, tag string) error {
	_ = s.nc.SetDeadline(time.Now().Add(handshakeTime))
	if _, err := fmt.Fprintf(s.nc, "GET /?n=%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", tag, address); err != nil {
		return err
	}
	answer, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(answer.Status)
	}
	return s.nc.SetDeadline(time.Time{})
}

// send writes one frame. Messages, pongs and the close come from two goroutines.
func (s *socket) send(op wire.Opcode, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := wire.Header{Fin: true, Opcode: op, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: uint64(len(payload))}
	s.out = wire.AppendHeader(s.out[:0], h)
	start := len(s.out)
	s.out = append(s.out, payload...)
	wire.Mask(s.out[start:], h.Mask, 0)
	_, err := s.nc.Write(s.out)
	return err
}

// closedWith is the error of a socket that a close frame ended.
type closedWith uint16

func (c closedWith) Error() string { return fmt.Sprintf("closed with %d", uint16(c)) }

// read answers pings and hands messages on until the connection ends, and says how it did.
func (s *socket) read(message func([]byte)) error {
	for {
		if _, err := s.in.Peek(1); err != nil {
			return err
		}
		chunk, _ := s.in.Peek(s.in.Buffered())
		size := len(chunk)
		for len(chunk) > 0 {
			ev, n, fault := s.reader.Next(chunk)
			if fault != nil {
				return fault
			}
			chunk = chunk[n:]
			switch ev.Kind {
			case wire.MessageEvent:
				message(ev.Payload)
			case wire.PingEvent:
				_ = s.send(wire.Pong, ev.Payload) // that it has ended is told by the next read
			case wire.CloseEvent:
				_ = s.send(wire.Close, wire.AppendClose(nil, ev.Code, ""))
				return closedWith(ev.Code)
			}
		}
		_, _ = s.in.Discard(size)
		s.reader.Release()
	}
}

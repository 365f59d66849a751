package main

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// step is something that a case does or expects. An error ends the case as failed.
type step func(*session) error

// send sends frames in one write.
func send(frames ...frame) step { return chopped(0, frames...) }

// chopped sends frames, cut into writes of so many bytes wherever frames end.
func chopped(bytes int, frames ...frame) step {
	return func(s *session) error { return s.send(bytes, frames...) }
}

// octetwise sends frames byte by byte.
func octetwise(frames ...frame) step { return chopped(1, frames...) }

// framewise sends each frame in a write of its own.
func framewise(frames ...frame) step {
	return func(s *session) error {
		for _, f := range frames {
			if err := s.send(0, f); err != nil {
				return err
			}
		}
		return nil
	}
}

// raw sends bytes that are no whole frame.
func raw(b ...byte) step {
	return func(s *session) error {
		s.note("client: bytes % x", b)
		_ = s.client.send(b, 0)
		return nil
	}
}

func wait(d time.Duration) step {
	return func(s *session) error {
		select {
		case <-time.After(d):
		case <-s.ctx.Done():
		}
		return nil
	}
}

// message expects a message, whatever its frames.
func message(op byte, payload []byte) step {
	return func(s *session) error {
		e, err := s.next()
		switch {
		case err != nil:
			return fmt.Errorf("%w; want %s %s", err, opcodeNames[op], clip(payload))
		case e.kind != gotMessage || e.opcode != op:
			return fmt.Errorf("got %v; want %s %s", e, opcodeNames[op], clip(payload))
		case !bytes.Equal(e.payload, payload):
			return fmt.Errorf("got %v; want %s: they differ at byte %d", e, clip(payload), differ(e.payload, payload))
		}
		return nil
	}
}

func differ(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func textEcho(s string) step { return message(opText, []byte(s)) }

// pongs expects the pongs to all those pings, in order. A peer may answer only the last of several pings (RFC 6455
// 5.5.3): that is not strict.
func pongs(payloads ...string) step {
	return func(s *session) error {
		for at := 0; at < len(payloads); {
			e, err := s.next()
			if err != nil {
				return fmt.Errorf("%w; want pong %q", err, payloads[at])
			}
			if e.kind != gotPong {
				return fmt.Errorf("got %v; want pong %q", e, payloads[at])
			}
			missed := at
			for at < len(payloads) && payloads[at] != string(e.payload) {
				at++
			}
			if at == len(payloads) {
				return fmt.Errorf("got %v, which answers no ping; want pong %q", e, payloads[missed])
			}
			if at > missed {
				s.permitted("%d pings before %q were not answered (5.5.3 permits it)", at-missed, payloads[at])
			}
			at++
		}
		return nil
	}
}

// closes does the closing handshake: the broker is to repeat the code, and to end TCP first (RFC 6455 5.5.1, 7.1.1).
func closes() step { return closesWith(closeFrame(1000, ""), 1000) }

// closesWith sends a close frame and expects one with that code.
func closesWith(f frame, code uint16) step {
	return steps(send(f), answersClose(code))
}

// answersClose expects the broker's close frame with that code, and then the end of TCP by the broker.
func answersClose(code uint16) step {
	return func(s *session) error {
		e, err := s.next()
		switch {
		case err != nil:
			return fmt.Errorf("%w; want close %d", err, code)
		case e.kind != gotClose:
			return fmt.Errorf("got %v; want close %d", e, code)
		case e.code == 1000 && code == 1005, e.code == 1005 && code == 1000:
			s.permitted("close frame has %d; repeating %d is typical (5.5.1)", e.code, code)
		case e.code != code:
			return fmt.Errorf("got %v; want close %d", e, code)
		}
		return hangsUp(s)
	}
}

// hangsUp expects that the broker ends TCP, in order, although the client keeps its side open (RFC 6455 7.1.1).
func hangsUp(s *session) error {
	e, err := s.next()
	switch {
	case err != nil:
		return fmt.Errorf("%w; want that the broker closes TCP", err)
	case e.kind != ended:
		return fmt.Errorf("got %v; want that the broker closes TCP", e)
	case e.how != endOf(io.EOF).how:
		return fmt.Errorf("TCP was %s; want that the broker closes it", e.how)
	}
	return nil
}

// fails expects that the broker fails the connection with that code (RFC 6455 7.1.7): a close frame, so that the
// client learns why, and the end of TCP.
func fails(code uint16) step { return answersClose(code) }

// failsAfter is fails when a valid message stood before the fault: it is the backend's, echoed or not. The echo
// races with the close frame, for the broker does not ask backends whether it may close.
func failsAfter(payload string, code uint16) step {
	return func(s *session) error {
		if err := delivered(payload)(s); err != nil {
			return err
		}
		e, err := s.next()
		if err != nil {
			return fmt.Errorf("%w; want close %d", err, code)
		}
		if e.kind != gotMessage || string(e.payload) != payload {
			s.unread(e)
		}
		return fails(code)(s)
	}
}

// expectDelivery announces a message that delivered waits for. It stands before the message is sent.
func expectDelivery(payload string) step {
	return func(s *session) error {
		s.ahead[payload] = s.backend.await([]byte(payload))
		return nil
	}
}

// delivered expects that the backend got a message.
func delivered(payload string) step {
	return func(s *session) error {
		select {
		case <-s.ahead[payload]:
			s.note("backend: got %s", clip([]byte(payload)))
			return nil
		case <-s.ctx.Done():
			return fmt.Errorf("the backend did not get %s", clip([]byte(payload)))
		}
	}
}

// steps makes one of several.
func steps(all ...step) step {
	return func(s *session) error {
		for _, do := range all {
			if err := do(s); err != nil {
				return err
			}
		}
		return nil
	}
}

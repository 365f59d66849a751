package main

import (
	"errors"
	"fmt"
)

// everything: 1000 messages in every case with compression, as the catalogue has it.
var everything bool

// caseBytes bounds the bytes of a case with compression, unless everything is set: at 1000 messages the two sections
// compress and inflate 11 GB four times over.
const caseBytes = 2 * mib

// traffic is how the messages of a case with compression are.
type traffic struct{ size, fragment int }

var traffics = []traffic{
	{16, 0}, {64, 0}, {256, 0}, {kib, 0}, {4 * kib, 0}, {8 * kib, 0}, {16 * kib, 0}, {32 * kib, 0}, {64 * kib, 0}, {128 * kib, 0},
	{8 * kib, 256}, {16 * kib, 256}, {32 * kib, 256}, {64 * kib, 256}, {128 * kib, 256},
	{128 * kib, kib}, {128 * kib, 4 * kib}, {128 * kib, 32 * kib},
}

// count is how many messages there are.
func (t traffic) count() int {
	if everything {
		return 1000
	}
	return min(1000, max(16, caseBytes/t.size))
}

func (t traffic) String() string {
	s := fmt.Sprintf("%d messages of %d bytes", t.count(), t.size)
	if t.fragment > 0 {
		s += fmt.Sprintf(" in fragments of %d", t.fragment)
	}
	return s
}

const (
	plainOffer         = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
	contextPath        = "/deflate-context"
	deflatePath        = "/deflate"
	limitedPath        = "/limited"
	limitedDeflatePath = "/limited-deflate"
)

// worthIt is the size in bytes from which on text always gets smaller. Below, the broker may well send what is shorter.
const worthIt = 256

// compressionByContent: what the messages are made of (RFC 7692 7.2).
func compressionByContent() []testCase {
	var all []testCase
	for i, c := range contents {
		for n, t := range traffics {
			all = append(all, compressedTraffic(fmt.Sprintf("12.%d.%d", i+1, n+1), c, t, c.title, plainOffer))
		}
	}
	return all
}

// compressedTraffic is a case in which messages are compressed both ways.
func compressedTraffic(id string, c content, t traffic, title, offer string) testCase {
	return testCase{
		id: id, title: fmt.Sprintf("%s: %v", title, t), rfc: "RFC 7692 7",
		path: deflatePath, offer: offer, slow: true, limit: slowLimit,
		steps: []step{agreed, converse(t, c), closes()},
	}
}

// agreed expects that the broker took an offer. It need not (RFC 7692 5.1), but a strict one takes what it can do.
func agreed(s *session) error {
	if s.client.codec == nil {
		s.permitted("the broker declined the offer, which it may (RFC 7692 5.1)")
	}
	return nil
}

// converse sends compressed messages, each after the echo of the one before.
func converse(t traffic, c content) step {
	return func(s *session) error {
		answers := 0
		for n := range t.count() {
			payload := c.piece(n, t.size)
			frames, err := s.deflated(c.op, payload, t.fragment)
			if err != nil {
				return err
			}
			if err := steps(send(frames...), countCompressed(&answers), message(c.op, payload))(s); err != nil {
				return fmt.Errorf("message %d: %w", n+1, err)
			}
		}
		if answers == 0 && !c.dense && t.size >= worthIt && s.client.codec != nil {
			s.permitted("the broker compressed nothing")
		}
		return nil
	}
}

// countCompressed looks whether the next thing is a compressed message.
func countCompressed(n *int) step {
	return func(s *session) error {
		e, err := s.next()
		if err != nil {
			return err
		}
		if e.compressed {
			*n++
		}
		s.unread(e)
		return nil
	}
}

// deflated answers a message's frames: compressed, if that was agreed, and then cut (RFC 7692 6.1).
func (s *session) deflated(op byte, payload []byte, fragment int) ([]frame, error) {
	if s.client.codec == nil {
		return fragments(op, payload, fragment), nil
	}
	compressed, err := s.client.codec.deflate(payload)
	if err != nil {
		return nil, errors.Join(errors.New("the client could not compress"), err)
	}
	frames := fragments(op, compressed, fragment)
	frames[0].rsv = rsv1
	return frames, nil
}

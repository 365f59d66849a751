package main

import (
	"fmt"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// limits: large messages, many fragments, small TCP segments, many messages (RFC 6455 5.2, 5.4).
func limits() []testCase {
	var all []testCase
	for i, op := range []byte{opText, opBinary} {
		all = append(all, largeMessages(fmt.Sprintf("9.%d", 1+i), op)...)
		all = append(all, manyFragments(fmt.Sprintf("9.%d", 3+i), op)...)
		all = append(all, smallWrites(fmt.Sprintf("9.%d", 5+i), op)...)
		all = append(all, manyMessages(fmt.Sprintf("9.%d", 7+i), op)...)
	}
	return all
}

const slowLimit = 3 * time.Minute

func largeMessages(group string, op byte) (all []testCase) {
	for i, size := range []int{64 * kib, 256 * kib, mib, 4 * mib, 8 * mib, 16 * mib} {
		all = append(all, testCase{
			id: fmt.Sprintf("%s.%d", group, i+1), rfc: "RFC 6455 5.2", slow: true, limit: slowLimit,
			title: fmt.Sprintf("%s message of %d bytes", opcodeNames[op], size),
			steps: []step{echoed(op, size, 0, 0), closes()},
		})
	}
	return all
}

func manyFragments(group string, op byte) (all []testCase) {
	for i, size := range []int{64, 256, kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib} {
		all = append(all, testCase{
			id: fmt.Sprintf("%s.%d", group, i+1), rfc: "RFC 6455 5.4", slow: true, limit: slowLimit,
			title: fmt.Sprintf("%s message of 4 MiB in fragments of %d bytes", opcodeNames[op], size),
			steps: []step{echoed(op, 4*mib, size, 0), closes()},
		})
	}
	return all
}

func smallWrites(group string, op byte) (all []testCase) {
	for i, size := range []int{64, 128, 256, 512, 1024, 2048} {
		all = append(all, testCase{
			id: fmt.Sprintf("%s.%d", group, i+1), rfc: "RFC 6455 5.2", slow: true, limit: slowLimit,
			title: fmt.Sprintf("%s message of 1 MiB in TCP writes of %d bytes", opcodeNames[op], size),
			steps: []step{echoed(op, mib, 0, size), closes()},
		})
	}
	return all
}

func manyMessages(group string, op byte) (all []testCase) {
	for i, size := range []int{0, 16, 64, 256, kib, 4 * kib} {
		all = append(all, testCase{
			id: fmt.Sprintf("%s.%d", group, i+1), rfc: "RFC 6455 5.2", slow: true, limit: slowLimit,
			title: fmt.Sprintf("1000 %s messages of %d bytes, each after the echo of the one before", opcodeNames[op], size),
			steps: []step{func(s *session) error {
				for range 1000 {
					if err := echoed(op, size, 0, 0)(s); err != nil {
						return err
					}
				}
				return nil
			}, closes()},
		})
	}
	return all
}

// echoed sends a message, in fragments and TCP writes of such sizes (0: whole), and expects it back. The payload is
// made when the case is played: all of them at once would be gigabytes.
func echoed(op byte, size, fragment, chop int) step {
	return func(s *session) error {
		payload := payloadOf(op, size)
		return steps(chopped(chop, fragments(op, payload, fragment)...), message(op, payload))(s)
	}
}

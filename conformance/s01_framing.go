package main

import "fmt"

// framing: payloads around the edges of the three forms of a length (RFC 6455 5.2).
func framing() []testCase {
	var all []testCase
	for group, op := range []byte{opText, opBinary} {
		for i, c := range []struct{ size, chop int }{
			{0, 0}, {125, 0}, {126, 0}, {127, 0}, {128, 0}, {65535, 0}, {65536, 0}, {65536, 997},
		} {
			title := fmt.Sprintf("%s message of %d bytes", opcodeNames[op], c.size)
			if c.chop > 0 {
				title += fmt.Sprintf(", in TCP writes of %d", c.chop)
			}
			payload := payloadOf(op, c.size)
			all = append(all, testCase{
				id: fmt.Sprintf("1.%d.%d", group+1, i+1), title: title, rfc: "RFC 6455 5.2",
				steps: []step{chopped(c.chop, newFrame(op, payload)), message(op, payload), closes()},
			})
		}
	}
	return all
}

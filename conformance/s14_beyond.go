package main

import (
	"fmt"
	"slices"
)

// beyond: rules of the RFCs, and limits of the broker, that the catalogue does not touch.
func beyond() []testCase {
	return slices.Concat(masking(), lengths(), ownLimits(), everyPosition(), everyCut(), endings(), brokenCompression(), offers(), contexts())
}

func masking() []testCase {
	const rfc = "RFC 6455 5.1"
	unmasked := func(f frame) frame {
		f.unmasked = true
		return f
	}
	zero := text("Hello")
	zero.key = [4]byte{}
	return []testCase{
		{id: "14.1.1", title: "text without a mask", rfc: rfc, steps: []step{send(unmasked(text("Hello"))), fails(1002)}},
		{id: "14.1.2", title: "ping without a mask", rfc: rfc, steps: []step{send(unmasked(ping("Hello"))), fails(1002)}},
		{id: "14.1.3", title: "close without a mask", rfc: rfc, steps: []step{send(unmasked(closeFrame(1000, ""))), fails(1002)}},
		{id: "14.1.4", title: "second fragment without a mask", rfc: rfc, steps: []step{
			send(text("one").unfinished(), unmasked(continuation("two"))), fails(1002),
		}},
		{id: "14.1.5", title: "a masking key of zeros is one", rfc: rfc, steps: []step{send(zero), textEcho("Hello"), closes()}},
	}
}

// lengths: in the shortest form, and below 2^63 (RFC 6455 5.2).
func lengths() []testCase {
	const rfc = "RFC 6455 5.2"
	in := func(form lengthForm, f frame) frame {
		f.form = form
		return f
	}
	huge := in(sixtyFour, binaryOf(nil))
	huge.claim = 1 << 63
	return []testCase{
		{id: "14.2.1", title: "125 bytes with a length of 16 bits", rfc: rfc, steps: []step{send(in(sixteen, binaryOf(bytesOf(125)))), fails(1002)}},
		{id: "14.2.2", title: "5 bytes with a length of 64 bits", rfc: rfc, steps: []step{send(in(sixtyFour, binaryOf(bytesOf(5)))), fails(1002)}},
		{id: "14.2.3", title: "65535 bytes with a length of 64 bits", rfc: rfc, steps: []step{send(in(sixtyFour, binaryOf(bytesOf(65535)))), fails(1002)}},
		{id: "14.2.4", title: "ping of 5 bytes with a length of 16 bits", rfc: rfc, steps: []step{send(in(sixteen, ping("Hello"))), fails(1002)}},
		{id: "14.2.5", title: "a length of 2^63", rfc: rfc, steps: []step{send(huge), fails(1002)}},
	}
}

// ownLimits: the endpoint's limits (RFC 6455 7.4.1, 10.4).
func ownLimits() []testCase {
	const rfc = "RFC 6455 7.4.1, 10.4"
	on := func(c testCase) testCase {
		c.path, c.rfc = limitedPath, rfc
		return c
	}
	claims := func(n uint64) frame {
		f := binaryOf(nil)
		f.claim = n
		return f
	}
	fits, over := string(textOf(smallMessage)), string(textOf(smallMessage+1))
	pieces := func(n int) []frame { return fragments(opText, []byte("123456789")[:n], 1) }
	return []testCase{
		on(testCase{id: "14.3.1", title: "a message as long as the limit", steps: []step{send(text(fits)), textEcho(fits), closes()}}),
		on(testCase{id: "14.3.2", title: "a message one byte longer", steps: []step{send(text(over)), fails(1009)}}),
		on(testCase{id: "14.3.3", title: "the header alone of one that is longer", steps: []step{send(claims(smallMessage + 1)), fails(1009)}}),
		on(testCase{id: "14.3.4", title: "the header alone of one of 2^63-1 bytes", steps: []step{send(claims(1<<63 - 1)), fails(1009)}}),
		on(testCase{id: "14.3.5", title: "fragments that are longer together", steps: []step{
			send(text(fits).unfinished(), continuation("x")), fails(1009),
		}}),
		on(testCase{id: "14.3.6", title: "as many fragments as the limit", steps: []step{
			send(pieces(fewFragments)...), textEcho("12345678"), closes(),
		}}),
		on(testCase{id: "14.3.7", title: "one fragment more", steps: []step{send(pieces(fewFragments + 1)...), fails(1008)}}),
		on(testCase{id: "14.3.8", title: "messages that are longer together", steps: []step{
			send(text(fits), text(fits)), textEcho(fits), textEcho(fits), closes(),
		}}),
	}
}

// everyPosition: an invalid byte is found wherever it is in a word, in text that has not ended.
func everyPosition() (all []testCase) {
	for at := range 40 {
		all = append(all, invalidAt(at))
	}
	return all
}

func invalidAt(at int) testCase {
	payload := append(slices.Repeat([]byte("x"), at), 0xFF)
	payload = append(payload, slices.Repeat([]byte("x"), 47-at)...)
	return testCase{
		id: fmt.Sprintf("14.4.%d", at+1), title: fmt.Sprintf("byte %d of an unfinished text is invalid", at), rfc: rfcText,
		steps: []step{
			send(newFrame(opText, payload).unfinished()), failsBefore(send(continuation(""))),
		},
	}
}

// everyCut: valid text is valid wherever it is cut, into frames or into TCP writes.
func everyCut() []testCase {
	whole := []byte(sample)
	var inFrames, inTCP []step
	for cut := 1; cut < len(whole); cut++ {
		parts := []frame{newFrame(opText, whole[:cut]).unfinished(), newFrame(opContinuation, whole[cut:])}
		inFrames = append(inFrames, send(parts...), message(opText, whole))
	}
	encoded := newFrame(opText, whole).append(nil)
	for cut := 1; cut < len(encoded); cut++ {
		inTCP = append(inTCP, raw(encoded[:cut]...), raw(encoded[cut:]...), message(opText, whole))
	}
	return []testCase{
		{id: "14.5.1", title: "text of all lengths of character, cut into two fragments everywhere", rfc: rfcText, steps: append(inFrames, closes())},
		{id: "14.5.2", title: "a text frame, cut into two TCP writes everywhere", rfc: rfcText, steps: append(inTCP, closes())},
	}
}

// endings: RFC 6455 5.5.1, 7.1.
func endings() []testCase {
	const rfc = "RFC 6455 5.5.1, 7.1"
	var hundred []frame
	var echoes []step
	for i := range 100 {
		s := fmt.Sprintf("message %d of case 14.6", i)
		hundred = append(hundred, text(s))
		echoes = append(echoes, textEcho(s))
	}
	return []testCase{
		{id: "14.6.1", title: "a hundred messages in one write are echoed in order", rfc: rfc, steps: []step{
			send(hundred...), steps(echoes...), closes(),
		}},
		{id: "14.6.2", title: "close, then bytes that are no frames", rfc: rfc, steps: []step{
			closesAfter(closeFrame(1000, ""), newFrame(0x7, nil).reserved(rsv2), continuation("stray")),
		}},
		{id: "14.6.3", title: "TCP ends on the client's side without a close frame", rfc: rfc, steps: []step{
			func(s *session) error { return s.client.nc.CloseWrite() }, hangsUp,
		}},
		{id: "14.6.4", title: "a message and close in one write: the backend gets the message", rfc: rfc, steps: []step{
			expectDelivery("last words of case 14.6.4"), send(text("last words of case 14.6.4"), closeFrame(1001, "bye")),
			delivered("last words of case 14.6.4"), maybeEcho("last words of case 14.6.4"), answersClose(1001),
		}},
	}
}

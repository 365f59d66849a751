package main

import (
	"bytes"
	"errors"
	"fmt"
)

// brokenCompression: RFC 7692 6 and 7.2, its examples, and what must not pass.
func brokenCompression() []testCase {
	all := append(markedWrongly(), deflateExamples()...)
	return append(all, deflateFaults()...)
}

const rfcDeflate = "RFC 7692 7.2"

// squeezed is a case on an endpoint with compression.
func squeezed(id, title, rfc string, steps ...step) testCase {
	return testCase{id: id, title: title, rfc: rfc, path: contextPath, offer: "permessage-deflate", steps: append([]step{agreed}, steps...)}
}

// helloAgain refers to the message before; that must not pass if the client agreed to begin each message anew.
func helloAgain(s *session) error {
	const hello, again = "\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00"
	begin := steps(send(marked(hello)), textEcho("Hello"), send(marked(again)))
	if s.client.codec != nil && s.client.codec.agreed.clientNoContext {
		return steps(begin, fails(1007))(s)
	}
	return steps(begin, textEcho("Hello"), closes())(s)
}

// marked is a text frame whose payload is DEFLATE already.
func marked(payload string) frame { return text(payload).reserved(rsv1) }

func markedWrongly() []testCase {
	const rfc = "RFC 7692 6"
	return []testCase{
		squeezed("14.7.1", "RSV1 on a continuation", rfc, send(text("one").unfinished(), continuation("two").reserved(rsv1)), fails(1002)),
		squeezed("14.7.2", "RSV1 on a ping", rfc, send(ping("one").reserved(rsv1)), fails(1002)),
		squeezed("14.7.3", "RSV1 on a close frame", rfc, send(closeFrame(1000, "").reserved(rsv1)), fails(1002)),
		squeezed("14.7.4", "RSV2 on a compressed message", "RFC 6455 5.2", send(text("one").reserved(rsv1|rsv2)), fails(1002)),
		squeezed("14.7.5", "a message that is not compressed", rfc, send(text("plain")), textEcho("plain"), closes()),
	}
}

// deflateExamples are the byte sequences of RFC 7692 7.2.3.
func deflateExamples() []testCase {
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	return []testCase{
		squeezed("14.7.6", "\"Hello\" compressed", "RFC 7692 7.2.3.1", send(marked(hello)), textEcho("Hello"), closes()),
		squeezed("14.7.7", "\"Hello\" compressed, in two fragments and a ping between", "RFC 7692 7.2.3.1",
			send(marked(hello[:3]).unfinished(), ping("between"), continuation(hello[3:])), pongs("between"), textEcho("Hello"), closes()),
		squeezed("14.7.8", "\"Hello\" again, out of the window", "RFC 7692 7.2.3.2",
			helloAgain),
		squeezed("14.7.9", "a block that is stored", "RFC 7692 7.2.3.3",
			send(marked("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")), textEcho("Hello"), closes()),
		squeezed("14.7.10", "a block that says it is the last", "RFC 7692 7.2.3.4",
			send(marked("\xf3\x48\xcd\xc9\xc9\x07\x00\x00")), textEcho("Hello"), closes()),
		squeezed("14.7.11", "two blocks", "RFC 7692 7.2.3.5",
			send(marked("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")), textEcho("Hello"), closes()),
		squeezed("14.7.12", "an empty message", "RFC 7692 7.2.3.6", send(marked("\x00")), textEcho(""), closes()),
	}
}

func deflateFaults() []testCase {
	limited := func(id, title string, compressed step, after ...step) testCase {
		c := squeezed(id, title, "RFC 6455 7.4.1, 10.4", append([]step{compressed}, after...)...)
		c.path = limitedDeflatePath
		return c
	}
	fits := textOf(smallMessage)
	return []testCase{
		squeezed("14.7.13", "a block of the reserved type", rfcDeflate, send(marked("\x06\x00")), fails(1007)),
		squeezed("14.7.14", "data that end within a block", rfcDeflate, send(marked("\xf2\x48\xcd")), fails(1007)),
		squeezed("14.7.15", "a distance before the first byte", rfcDeflate, send(marked("\xf2\x00\x11\x00\x00")), fails(1007)),
		squeezed("14.7.16", "compressed text that is not UTF-8", rfcText, sendDeflated(opText, []byte(surrogate)), fails(1007)),
		squeezed("14.7.17", "a message in many fragments, some of them empty", rfcDeflate,
			send(marked("").unfinished(), continuation("\xf2\x48\xcd").unfinished(), continuation("").unfinished(), continuation("\xc9\xc9\x07\x00")),
			textEcho("Hello"), closes()),
		limited("14.7.18", "inflated, as long as the limit", sendDeflated(opText, fits), message(opText, fits), closes()),
		limited("14.7.19", "inflated, one byte longer than the limit", sendDeflated(opText, textOf(smallMessage+1)), fails(1009)),
		limited("14.7.20", "1022 bytes that inflate to 960 KiB", sendDeflated(opBinary, bytes.Repeat([]byte("x"), 64*kib*15)), fails(1009)),
	}
}

// sendDeflated sends a message as this client compresses it.
func sendDeflated(op byte, payload []byte) step {
	return func(s *session) error {
		frames, err := s.deflated(op, payload, 0)
		if err != nil {
			return err
		}
		return s.send(0, frames...)
	}
}

// offers: RFC 7692 5.1 and 7.1. An offer that is not understood is declined, and the next one looked at.
func offers() []testCase {
	declined := func(id, title, offer string) testCase {
		return offered(id, title+": declined", offer, notAgreed)
	}
	accepted := func(id, title, offer string) testCase {
		return offered(id, title+": accepted", offer, agreed)
	}
	return []testCase{
		{id: "14.8.1", title: "no offer, then RSV1", rfc: "RFC 6455 5.2", path: deflatePath, steps: []step{
			notAgreed, send(marked("\x00")), fails(1002),
		}},
		accepted("14.8.2", "no parameter", "permessage-deflate"),
		accepted("14.8.3", "client_max_window_bits with a value", "permessage-deflate; client_max_window_bits=12"),
		accepted("14.8.4", "a value in quotes", "permessage-deflate; server_max_window_bits=\"15\""),
		accepted("14.8.5", "another extension, then ours", "x-unknown; a=1, permessage-deflate"),
		accepted("14.8.6", "an offer that is broken, then one that is not", "permessage-deflate; nonsense, permessage-deflate"),
		declined("14.8.7", "an unknown parameter", "permessage-deflate; nonsense"),
		declined("14.8.8", "a parameter twice", "permessage-deflate; server_no_context_takeover; server_no_context_takeover"),
		declined("14.8.9", "a value where none belongs", "permessage-deflate; server_no_context_takeover=1"),
		declined("14.8.10", "server_max_window_bits without a value", "permessage-deflate; server_max_window_bits"),
		declined("14.8.11", "server_max_window_bits=7", "permessage-deflate; server_max_window_bits=7"),
		declined("14.8.12", "server_max_window_bits=16", "permessage-deflate; server_max_window_bits=16"),
		declined("14.8.13", "server_max_window_bits=010", "permessage-deflate; server_max_window_bits=010"),
		declined("14.8.14", "client_max_window_bits=7", "permessage-deflate; client_max_window_bits=7"),
	}
}

// offered is a case about the answer to an offer, and that the connection then works.
func offered(id, title, offer string, expect ...step) testCase {
	return testCase{
		id: id, title: title, rfc: "RFC 7692 5.1, 7.1", path: deflatePath, offer: offer,
		steps: append(expect, sendDeflated(opText, []byte("Hello, Hello, Hello")), textEcho("Hello, Hello, Hello"), closes()),
	}
}

// notAgreed expects that the broker declined: RFC 7692 7 says "MUST decline" of each of these.
func notAgreed(s *session) error {
	if s.client.codec != nil {
		return fmt.Errorf("the broker accepted %+v", s.client.codec.agreed)
	}
	return nil
}

// contexts: both sides refer to what they have sent before (RFC 7692 7.1.1), which clients of section 13 do not.
func contexts() (all []testCase) {
	for _, offer := range []string{
		"permessage-deflate", "permessage-deflate; server_max_window_bits=9", "permessage-deflate; client_max_window_bits=10",
	} {
		for _, t := range []traffic{{kib, 0}, {16 * kib, 256}, {128 * kib, 0}} {
			c := compressedTraffic(fmt.Sprintf("14.9.%d", len(all)+1), jsonContent, t, offer, offer)
			c.path = contextPath
			c.steps = append([]step{keepsContext}, c.steps...)
			all = append(all, c)
		}
	}
	return all
}

// keepsContext expects that the broker lets both sides do so.
func keepsContext(s *session) error {
	if c := s.client.codec; c == nil || c.agreed.serverNoContext || c.agreed.clientNoContext {
		return errors.New("the broker did not agree that contexts are taken over, although its configuration says so")
	}
	return nil
}

package main

import (
	"fmt"
	"strings"
)

// closingHandshake: RFC 6455 5.5.1, 7.
func closingHandshake() []testCase {
	all := closeAndMore()
	all = append(all, closePayloads()...)
	return append(all, closeCodes()...)
}

// closeAndMore: after a close frame nothing is answered.
func closeAndMore() []testCase {
	const rfc = "RFC 6455 5.5.1, 7.1.1"
	big := string(textOf(256 << 10))
	return []testCase{
		{id: "7.1.1", title: "message, and a close frame after its echo", rfc: rfc, steps: []step{
			send(text("Hello")), textEcho("Hello"), closes(),
		}},
		{id: "7.1.2", title: "two close frames", rfc: rfc, steps: []step{
			closesAfter(closeFrame(1000, ""), closeFrame(1000, "")),
		}},
		{id: "7.1.3", title: "close, then a ping: no pong", rfc: rfc, steps: []step{
			closesAfter(closeFrame(1000, ""), ping("late")),
		}},
		{id: "7.1.4", title: "close, then a message: no echo", rfc: rfc, steps: []step{
			closesAfter(closeFrame(1000, ""), text("late")),
		}},
		{id: "7.1.5", title: "close between two fragments: no echo", rfc: rfc, steps: []step{
			closesAfter(text("one").unfinished(), closeFrame(1000, ""), continuation("two")),
		}},
		{
			id: "7.1.6", title: "256 KiB of text, close and ping at once: the message arrives", rfc: rfc,
			informational: "the echo is the backend's and races with the answer to the close frame; that the backend gets the message and that the close is clean is checked",
			steps: []step{
				expectDelivery(big), send(text(big), closeFrame(1000, ""), ping("late")), delivered(big), maybeEcho(big), answersClose(1000),
			},
		},
	}
}

// closesAfter sends frames, a close frame with 1000 among them, in one write.
func closesAfter(frames ...frame) step {
	return steps(send(frames...), answersClose(1000))
}

// maybeEcho lets an echo pass.
func maybeEcho(payload string) step {
	return func(s *session) error {
		e, err := s.next()
		if err == nil && (e.kind != gotMessage || string(e.payload) != payload) {
			s.unread(e)
		}
		return err
	}
}

func closePayloads() []testCase {
	const rfc = "RFC 6455 5.5.1"
	longest := strings.Repeat("*", 123)
	return []testCase{
		{id: "7.3.1", title: "close without payload", rfc: rfc, steps: []step{closesWith(closing(""), 1005)}},
		{id: "7.3.2", title: "close with one byte, half a code", rfc: rfc, steps: []step{send(closing("a")), fails(1002)}},
		{id: "7.3.3", title: "close with a code", rfc: rfc, steps: []step{closesWith(closeFrame(1000, ""), 1000)}},
		{id: "7.3.4", title: "close with code and reason", rfc: rfc, steps: []step{closesWith(closeFrame(1000, "Hello World!"), 1000)}},
		{id: "7.3.5", title: "close with a reason of 123 bytes, the most there may be", rfc: rfc, steps: []step{closesWith(closeFrame(1000, longest), 1000)}},
		{id: "7.3.6", title: "close with a reason of 124 bytes", rfc: "RFC 6455 5.5", steps: []step{send(closeFrame(1000, longest+"*")), fails(1002)}},
		{id: "7.5.1", title: "close with a reason that is not UTF-8", rfc: rfc, steps: []step{
			send(closeFrame(1000, surrogate)), fails(1007),
		}},
	}
}

// closeCodes: RFC 6455 7.4. Those that the IANA registry has added since, and 1015, go on with the numbers.
func closeCodes() []testCase {
	const rfc = "RFC 6455 7.4"
	var all []testCase
	for i, code := range []uint16{
		1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999, 1012, 1013, 1014,
	} {
		all = append(all, testCase{
			id: fmt.Sprintf("7.7.%d", i+1), title: fmt.Sprintf("close with code %d, which is legal", code), rfc: rfc,
			steps: []step{closesWith(closeFrame(code, ""), code)},
		})
	}
	for i, code := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 1015} {
		all = append(all, testCase{
			id: fmt.Sprintf("7.9.%d", i+1), title: fmt.Sprintf("close with code %d, which is not", code), rfc: rfc,
			steps: []step{send(closeFrame(code, "")), fails(1002)},
		})
	}
	for i, code := range []uint16{5000, 65535} {
		all = append(all, testCase{
			id: fmt.Sprintf("7.13.%d", i+1), title: fmt.Sprintf("close with code %d, above all ranges", code), rfc: rfc,
			informational: "RFC 6455 7.4.2 gives codes above 4999 no meaning and no rule; that the broker fails the connection with 1002 is checked",
			steps:         []step{send(closeFrame(code, "")), fails(1002)},
		})
	}
	return all
}

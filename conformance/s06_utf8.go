package main

import (
	"fmt"
	"time"
)

const rfcText = "RFC 6455 8.1"

// utf8Handling: text must be valid UTF-8 (RFC 3629), and a connection whose text is not is failed with 1007 as soon
// as that is known.
func utf8Handling() []testCase {
	all := emptyFragments()
	all = append(all, wholeTexts()...)
	all = append(all, failFast()...)
	return append(all, sequences()...)
}

func emptyFragments() []testCase {
	return []testCase{
		{id: "6.1.1", title: "empty text", rfc: rfcText, steps: []step{send(text("")), textEcho(""), closes()}},
		{id: "6.1.2", title: "text in three empty fragments", rfc: rfcText, steps: []step{
			send(text("").unfinished(), continuation("").unfinished(), continuation("")), textEcho(""), closes(),
		}},
		{id: "6.1.3", title: "text in three fragments, first and last empty", rfc: rfcText, steps: []step{
			send(text("").unfinished(), continuation("middle").unfinished(), continuation("")), textEcho("middle"), closes(),
		}},
	}
}

func wholeTexts() []testCase {
	const valid = "Hello-µ@ßöäüàá-UTF-8!!"
	return []testCase{
		{id: "6.2.1", title: "valid text in one frame", rfc: rfcText, steps: []step{send(text(valid)), textEcho(valid), closes()}},
		{id: "6.2.2", title: "valid text, cut between two characters", rfc: rfcText, steps: []step{
			send(text(valid[:12]).unfinished(), continuation(valid[12:])), textEcho(valid), closes(),
		}},
		{id: "6.2.3", title: "valid text in fragments of one byte", rfc: rfcText, steps: []step{
			send(fragments(opText, []byte(valid), 1)...), textEcho(valid), closes(),
		}},
		{id: "6.2.4", title: "valid Greek text in fragments of one byte", rfc: rfcText, steps: []step{
			send(fragments(opText, []byte(greek), 1)...), textEcho(greek), closes(),
		}},
		{id: "6.3.1", title: "text with a surrogate in one frame", rfc: rfcText, steps: []step{send(text(surrogate)), fails(1007)}},
		{id: "6.3.2", title: "text with a surrogate in fragments of one byte", rfc: rfcText, steps: []step{
			send(fragments(opText, []byte(surrogate), 1)...), fails(1007),
		}},
	}
}

// failFast: the message is not over when it is known to be invalid, and the connection must fail then. The invalid
// sequences are a code point above U+10FFFF, F4 90, known at its second byte.
func failFast() []testCase {
	const before, after = greek, "edited"
	const rfc = "RFC 6455 8.1, 7.1.7"
	whole := []byte(before + "\xf4\x90\x80\x80" + after)
	last := fragments(opText, whole, len(whole)-1)[1:]
	return []testCase{
		{id: "6.4.1", title: "fragments: valid, invalid, and the rest that need not come", rfc: rfc, steps: []step{
			send(text(before).unfinished()), wait(200 * time.Millisecond),
			send(continuation("\xf4\x90\x80\x80").unfinished()), failsBefore(send(continuation(after))),
		}},
		{id: "6.4.2", title: "fragments cut within the invalid sequence, where it becomes invalid", rfc: rfc, steps: []step{
			send(text(before + "\xf4").unfinished()), wait(200 * time.Millisecond),
			send(continuation("\x90").unfinished()), failsBefore(send(continuation("\x80\x80" + after))),
		}},
		{id: "6.4.3", title: "one frame in three TCP writes: valid, invalid, and the rest", rfc: rfc, steps: inWrites(whole, len(before), len(before)+4)},
		{id: "6.4.4", title: "one frame in TCP writes cut where it becomes invalid", rfc: rfc, steps: inWrites(whole, len(before)+1, len(before)+2)},
		{id: "6.4.5", title: "fragments of one byte: nothing but the last need come", rfc: rfc, steps: []step{
			send(fragments(opText, whole, 1)[:len(before)+2]...), failsBefore(send(last...)),
		}},
	}
}

// inWrites sends the bytes of one text frame up to each cut, and the rest only if the connection is not failed.
func inWrites(payload []byte, cuts ...int) []step {
	encoded := newFrame(opText, payload).append(nil)
	header := len(encoded) - len(payload)
	var all []step
	from := 0
	for _, cut := range cuts {
		all = append(all, raw(encoded[from:header+cut]...), wait(200*time.Millisecond))
		from = header + cut
	}
	return append(all, failsBefore(raw(encoded[from:]...)))
}

// failsBefore expects 1007 before the rest of the message was sent; one that comes only afterwards is not strict.
func failsBefore(rest step) step {
	return func(s *session) error {
		e, came := s.poll(5 * time.Second)
		if came {
			s.unread(e)
			return fails(1007)(s)
		}
		s.permitted("the connection was not failed before the message was over")
		return steps(rest, fails(1007))(s)
	}
}

// sequences: one case for each, whole and in fragments of a byte; what is valid is echoed.
func sequences() []testCase {
	var all []testCase
	for _, group := range utf8Groups() {
		for i, sequence := range group.sequences {
			c := testCase{
				id: fmt.Sprintf("6.%d.%d", group.number, i+1), rfc: "RFC 3629 3, 4",
				title: fmt.Sprintf("%s: % x", group.title, clipped(sequence)),
			}
			if group.valid(i) {
				c.steps = []step{send(text(sequence)), textEcho(sequence), closes()}
			} else {
				c.steps = []step{send(text(sequence)), fails(1007)}
			}
			all = append(all, c)
		}
	}
	return all
}

func clipped(s string) string { return s[:min(len(s), 12)] }

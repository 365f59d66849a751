package main

import (
	"fmt"
	"time"
)

// manner is how frames are cut into TCP writes.
type manner struct {
	name string
	send func(...frame) step
}

var manners = []manner{{"in one write", send}, {"frame by frame", framewise}, {"byte by byte", octetwise}}

// fragmentation: RFC 6455 5.4.
func fragmentation() []testCase {
	const rfc = "RFC 6455 5.4"
	all := []testCase{
		{id: "5.1", title: "ping in two fragments", rfc: "RFC 6455 5.5", steps: []step{
			send(ping("one").unfinished(), continuation("two")), fails(1002),
		}},
		{id: "5.2", title: "pong in two fragments", rfc: "RFC 6455 5.5", steps: []step{
			send(pong("one").unfinished(), continuation("two")), fails(1002),
		}},
		afterText("5.15", "message in two fragments, then a continuation without a message, then text", rfc, inFragments,
			continuation("stray").unfinished(), text("late")),
		{id: "5.16", title: "twice: continuation without a message, FIN=0, then text", rfc: rfc, steps: []step{
			send(continuation("stray").unfinished(), text("late"), continuation("stray").unfinished(), text("late")), fails(1002),
		}},
		{id: "5.17", title: "twice: continuation without a message, FIN=1, then text", rfc: rfc, steps: []step{
			send(continuation("stray"), text("late"), continuation("stray"), text("late")), fails(1002),
		}},
		{id: "5.18", title: "second fragment of a message is a text frame", rfc: rfc, steps: []step{
			send(text("one").unfinished(), text("two")), fails(1002),
		}},
		interleaved("5.19", manners[0]),
		interleaved("5.20", manners[2]),
	}
	for i, how := range manners {
		all = append(all, inTwoFragments(i, how)...)
	}
	return all
}

// inFragments sends the first frame as a message in two fragments, and then the others.
func inFragments(frames ...frame) step {
	whole := frames[0].payload
	parts := fragments(opText, whole, len(whole)/2+1)
	return send(append(parts, frames[1:]...)...)
}

// inTwoFragments are the cases that the catalogue has once for each manner.
func inTwoFragments(i int, how manner) []testCase {
	const rfc = "RFC 6455 5.4"
	parts := []frame{text("frag").unfinished(), continuation("ment")}
	return []testCase{
		{id: fmt.Sprintf("5.%d", 3+i), title: "text in two fragments, " + how.name, rfc: rfc, steps: []step{
			how.send(parts...), textEcho("fragment"), closes(),
		}},
		{id: fmt.Sprintf("5.%d", 6+i), title: "text in two fragments, ping between them, " + how.name, rfc: rfc, steps: []step{
			how.send(parts[0], ping("between"), parts[1]), pongs("between"), textEcho("fragment"), closes(),
		}},
		{id: fmt.Sprintf("5.%d", 9+i), title: "continuation without a message, FIN=1, then text, " + how.name, rfc: rfc, steps: []step{
			how.send(continuation("stray"), text("late")), fails(1002),
		}},
		{id: fmt.Sprintf("5.%d", 12+i), title: "continuation without a message, FIN=0, then text, " + how.name, rfc: rfc, steps: []step{
			how.send(continuation("stray").unfinished(), text("late")), fails(1002),
		}},
	}
}

// interleaved: pings are answered while a message is unfinished.
func interleaved(id string, how manner) testCase {
	part := func(s string) frame { return continuation(s).unfinished() }
	return testCase{
		id: id, title: "text in five fragments, pings between them, with a pause, " + how.name, rfc: "RFC 6455 5.4",
		steps: []step{
			how.send(text("one ").unfinished(), part("two "), ping("first")), pongs("first"),
			wait(time.Second),
			how.send(part("three "), part("four "), ping("second"), continuation("five")), pongs("second"),
			textEcho("one two three four five"), closes(),
		},
	}
}

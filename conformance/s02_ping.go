package main

import (
	"fmt"
	"strings"
)

// pings: a ping is answered by a pong with the same payload, a pong by nothing (RFC 6455 5.5.2, 5.5.3).
func pings() []testCase {
	const rfc = "RFC 6455 5.5.2"
	octets := "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	longest, ten := strings.Repeat("\xfe", 125), make([]string, 10)
	var tenPings []frame
	for i := range ten {
		ten[i] = fmt.Sprintf("ping %d of 10", i+1)
		tenPings = append(tenPings, ping(ten[i]))
	}
	return []testCase{
		{id: "2.1", title: "ping without payload", rfc: rfc, steps: []step{send(ping("")), pongs(""), closes()}},
		{id: "2.2", title: "ping with text", rfc: rfc, steps: []step{send(ping("Hello")), pongs("Hello"), closes()}},
		{id: "2.3", title: "ping with bytes that are no text", rfc: rfc, steps: []step{send(ping(octets)), pongs(octets), closes()}},
		{id: "2.4", title: "ping of 125 bytes, the most there may be", rfc: rfc, steps: []step{send(ping(longest)), pongs(longest), closes()}},
		{id: "2.5", title: "ping of 126 bytes", rfc: "RFC 6455 5.5", steps: []step{send(ping(longest + "x")), fails(1002)}},
		{id: "2.6", title: "ping of 125 bytes, byte by byte", rfc: rfc, steps: []step{octetwise(ping(longest)), pongs(longest), closes()}},
		{id: "2.7", title: "unsolicited pong without payload", rfc: "RFC 6455 5.5.3", steps: []step{send(pong("")), closes()}},
		{id: "2.8", title: "unsolicited pong with payload", rfc: "RFC 6455 5.5.3", steps: []step{send(pong("unsolicited")), closes()}},
		{
			id: "2.9", title: "unsolicited pong, then a ping", rfc: "RFC 6455 5.5.3",
			steps: []step{send(pong("unsolicited"), ping("ping")), pongs("ping"), closes()},
		},
		{id: "2.10", title: "ten pings at once", rfc: "RFC 6455 5.5.3", steps: []step{send(tenPings...), pongs(ten...), closes()}},
		{id: "2.11", title: "ten pings, byte by byte", rfc: "RFC 6455 5.5.3", steps: []step{octetwise(tenPings...), pongs(ten...), closes()}},
	}
}

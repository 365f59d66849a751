package main

// autoFragmentation: a client's library cuts a message into frames as it likes (RFC 6455 5.4).
func autoFragmentation() []testCase {
	return []testCase{{
		id: "10.1.1", title: "text of 64 KiB that was cut into frames of 1300 bytes", rfc: "RFC 6455 5.4",
		steps: []step{echoed(opText, 64*kib, 1300, 0), closes()},
	}}
}

package main

// reservedBits: without an extension that gives them a meaning they must be 0 (RFC 6455 5.2).
func reservedBits() []testCase {
	const rfc = "RFC 6455 5.2"
	return []testCase{
		{id: "3.1", title: "text with RSV3", rfc: rfc, steps: []step{send(text("bad").reserved(rsv3)), fails(1002)}},
		afterText("3.2", "text, text with RSV2, ping, in one write", rfc, send, text("bad").reserved(rsv2), ping("late")),
		afterText("3.3", "text, text with RSV2 and RSV3, ping, frame by frame", rfc, framewise, text("bad").reserved(rsv2|rsv3), ping("late")),
		afterText("3.4", "text, text with RSV1, ping, byte by byte", rfc, octetwise, text("bad").reserved(rsv1), ping("late")),
		{id: "3.5", title: "binary with RSV1 and RSV3", rfc: rfc, steps: []step{send(binaryOf([]byte{0, 255}).reserved(rsv1 | rsv3)), fails(1002)}},
		{id: "3.6", title: "ping with RSV1 and RSV2", rfc: rfc, steps: []step{send(ping("bad").reserved(rsv1 | rsv2)), fails(1002)}},
		{id: "3.7", title: "close with all three", rfc: rfc, steps: []step{send(closeFrame(1000, "").reserved(rsv1 | rsv2 | rsv3)), fails(1002)}},
	}
}

// afterText is a case in which a valid message stands before the fault. The payload names the case, so that it is
// known which message reached the backend.
func afterText(id, title, rfc string, how func(...frame) step, bad ...frame) testCase {
	valid := "valid, before the fault of case " + id
	return testCase{id: id, title: title, rfc: rfc, steps: []step{
		expectDelivery(valid), how(append([]frame{text(valid)}, bad...)...), failsAfter(valid, 1002),
	}}
}

package main

import "fmt"

// opcodes: what has no meaning yet fails the connection (RFC 6455 5.2).
func opcodes() []testCase {
	const rfc = "RFC 6455 5.2"
	var all []testCase
	for group, first := range []byte{0x3, 0xB} {
		kind := []string{"data", "control"}[group]
		for i := range byte(5) {
			op := first + i
			id := fmt.Sprintf("4.%d.%d", group+1, i+1)
			title := fmt.Sprintf("reserved %s opcode %#x", kind, op)
			bare, loaded := newFrame(op, nil), newFrame(op, []byte("payload"))
			switch i {
			case 0:
				all = append(all, testCase{id: id, title: title, rfc: rfc, steps: []step{send(bare), fails(1002)}})
			case 1:
				all = append(all, testCase{id: id, title: title + " with payload", rfc: rfc, steps: []step{send(loaded), fails(1002)}})
			case 2:
				all = append(all, afterText(id, title+" between text and ping", rfc, send, bare, ping("late")))
			case 3:
				all = append(all, afterText(id, title+" with payload, between text and ping, byte by byte", rfc, octetwise, loaded, ping("late")))
			default:
				all = append(all, afterText(id, title+" with payload, between text and ping, frame by frame", rfc, framewise, loaded, ping("late")))
			}
		}
	}
	return all
}

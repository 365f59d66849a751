package rpc

import (
	"encoding/binary"
	"fmt"
)

// callerVersion is the first byte of what nodes tell each other of a caller.
const callerVersion = 1

// encodeCaller writes who called and what they may do: version, verbs, name, namespaces and groups. Nodes believe each
// other: whoever can speak on their subjects has every power anyway.
func encodeCaller(c *caller) []byte {
	b := appendText([]byte{callerVersion, byte(c.verbs)}, c.name)
	for _, list := range [][]string{c.namespaces, c.groups} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			b = appendText(b, s)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeCaller is the reverse of encodeCaller; of no bytes it is nil. What it does not understand it refuses: a
// permission that was half read could be more than was given.
func decodeCaller(b []byte) (*caller, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] != callerVersion || len(b) < 2 {
		return nil, fmt.Errorf("permissions of a call between nodes are of version %d, not %d", b[0], callerVersion)
	}
	r := envelopeReader{rest: b[2:]}
	c := &caller{verbs: verb(b[1]), name: string(r.bytes()), namespaces: r.texts(), groups: r.texts(), wire: b}
	if r.short || len(r.rest) > 0 {
		return nil, errEnvelope
	}
	return c, nil
}

func (r *envelopeReader) texts() (all []string) {
	for range r.number() {
		if r.short {
			return nil
		}
		all = append(all, string(r.bytes()))
	}
	return all
}

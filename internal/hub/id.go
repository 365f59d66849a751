package hub

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
)

// Sizes of the parts of a connection ID, in characters.
const (
	nodeLen   = 10 // 50 bits
	randomLen = 16 // 80 bits
	idLen     = nodeLen + 1 + randomLen
)

// letters are those of IDs: base32 that needs no escaping in a NATS subject, a URL path or a log line.
const letters = "abcdefghijklmnopqrstuvwxyz234567"

var base32lower = base32.NewEncoding(letters).WithPadding(base32.NoPadding)

// values has for each byte 1 and the number that it stands for; 0 if it is no letter.
var values = func() (t [256]uint8) {
	for i := range len(letters) {
		t[letters[i]] = uint8(i) + 1
	}
	return t
}()

// NodeID names one broker process: 10 characters of lower-case base32. It is new at every start, so
// that a connection ID can never reach a process that did not make it.
type NodeID string

// NewNodeID draws a node ID from 50 random bits.
func NewNodeID() NodeID {
	var b [7]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return NodeID(base32lower.EncodeToString(b[:])[:nodeLen])
}

// ValidNodeID reports whether s has the form of a node ID.
func ValidNodeID(s string) bool { return len(s) == nodeLen && isBase32(s) }

// key is the random part of a connection ID. It is what the registry is keyed by: a third of the size
// of the text, and evenly spread.
type key [10]byte

func newKey() (k key) {
	rand.Read(k[:])
	return k
}

func (k key) String() string { return base32lower.EncodeToString(k[:]) }

// A key is two numbers of 40 bits, each 5 bytes or 8 letters. Each message to a connection brings one to be read:
// encoding/base32 takes four times as long (measured; it is as fast where a key is written).
const (
	halfBytes   = 5
	halfLetters = 8
	letterBits  = 5
)

// parseKey reads randomLen letters.
func parseKey(s string) (k key, ok bool) {
	for half := k[:]; len(half) > 0; half, s = half[halfBytes:], s[halfLetters:] {
		var bits uint64
		for i := range halfLetters {
			v := values[s[i]]
			if v == 0 {
				return key{}, false
			}
			bits = bits<<letterBits | uint64(v-1)
		}
		half[0] = byte(bits >> 32)
		binary.BigEndian.PutUint32(half[1:], uint32(bits))
	}
	return k, true
}

// ID names one connection: `<node>-<80 random bits>`.
type ID struct {
	node NodeID
	key  key
}

// Node is the process that made the ID and alone can hold the connection.
func (id ID) Node() NodeID { return id.node }

// String is the ID as clients of the broker see it: 27 characters, one NATS subject token.
func (id ID) String() string {
	var b [idLen]byte
	return string(id.append(b[:0]))
}

func (id ID) append(dst []byte) []byte {
	dst = append(dst, id.node...)
	dst = append(dst, '-')
	return base32lower.AppendEncode(dst, id.key[:])
}

// ParseID reads the text form. The error is ErrInvalidConnectionID with the value found.
func ParseID(s string) (ID, error) {
	if len(s) != idLen || s[nodeLen] != '-' || !isBase32(s[:nodeLen]) {
		return ID{}, invalidID(s)
	}
	k, ok := parseKey(s[nodeLen+1:])
	if !ok {
		return ID{}, invalidID(s)
	}
	return ID{node: NodeID(s[:nodeLen]), key: k}, nil
}

func invalidID(s string) error {
	return Invalid(InvalidConnectionID, "connection_id", s,
		"<node>-<random>, 10 and 16 characters of a-z and 2-7")
}

func isBase32(s string) bool {
	for i := range len(s) {
		if values[s[i]] == 0 {
			return false
		}
	}
	return true
}

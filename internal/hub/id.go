package hub

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// Sizes of the parts of a connection ID, in characters.
const (
	nodeLen   = 10 // 50 bits
	randomLen = 16 // 80 bits
	idLen     = nodeLen + 1 + randomLen
)

// base32lower needs no escaping in a NATS subject, a URL path or a log line.
var base32lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

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
	var k key
	if !isBase32(s[nodeLen+1:]) {
		return ID{}, invalidID(s)
	}
	if _, err := base32lower.Decode(k[:], []byte(s[nodeLen+1:])); err != nil {
		return ID{}, invalidID(s)
	}
	return ID{node: NodeID(s[:nodeLen]), key: k}, nil
}

func invalidID(s string) error {
	return Invalid(InvalidConnectionID, "connection_id", s,
		"<node>-<random>, 10 and 16 characters of a-z and 2-7")
}

func isBase32(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '2' || r > '7')
	}) < 0
}

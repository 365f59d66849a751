package bus

import (
	"fmt"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Default prefixes of all subjects. Events live alone under theirs, so that a subscriber or a stream on
// all events sees nothing that flows towards the broker.
const (
	DefaultEventPrefix   = "holdfast"
	DefaultInboundPrefix = "holdfast-in"
)

// nodeIDLen is the length of the node ID that a connection ID begins with.
const nodeIDLen = 10

// Subjects builds and reads the subjects of the NATS contract.
type Subjects struct{ events, inbound string }

// NewSubjects checks the two prefixes: tokens without wildcards or white space, not beginning with "$"
// or "_" (NATS keeps those for itself, we keep _HOLDFAST), and neither one inside the other.
func NewSubjects(events, inbound string) (Subjects, error) {
	for _, prefix := range []string{events, inbound} {
		if err := checkPrefix(prefix); err != nil {
			return Subjects{}, err
		}
	}
	if strings.HasPrefix(events+".", inbound+".") || strings.HasPrefix(inbound+".", events+".") {
		return Subjects{}, fmt.Errorf("subject prefixes %q and %q: neither may contain the other", events, inbound)
	}
	return Subjects{events: events, inbound: inbound}, nil
}

func checkPrefix(prefix string) error {
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" || strings.ContainsFunc(token, notInToken) {
			return fmt.Errorf("subject prefix %q: want tokens of printable ASCII without '*' and '>', joined by '.'", prefix)
		}
	}
	if prefix[0] == '$' || prefix[0] == '_' {
		return fmt.Errorf("subject prefix %q: subjects that begin with '$' or '_' are reserved", prefix)
	}
	return nil
}

func notInToken(r rune) bool { return r <= ' ' || r >= 0x7f || r == '*' || r == '>' }

// AppendEvent appends `<events>.<namespace>.<kind>.<id>`.
func (s Subjects) AppendEvent(dst []byte, namespace string, k hub.Kind, id []byte) []byte {
	dst = append(dst, s.events...)
	dst = append(dst, '.')
	dst = append(dst, namespace...)
	dst = append(dst, '.')
	dst = append(dst, k.String()...)
	dst = append(dst, '.')
	return append(dst, id...)
}

// AppendReply appends `<inbound>.<namespace>.reply.<node>.<id>.<t|b>`, the subject that answers a
// message of that opcode. The node is the first part of the ID.
func (s Subjects) AppendReply(dst []byte, namespace string, id []byte, op hub.Opcode) []byte {
	dst = append(dst, s.inbound...)
	dst = append(dst, '.')
	dst = append(dst, namespace...)
	dst = append(dst, ".reply."...)
	dst = append(dst, id[:min(nodeIDLen, len(id))]...)
	dst = append(dst, '.')
	dst = append(dst, id...)
	if op == hub.Text {
		return append(dst, ".t"...)
	}
	return append(dst, ".b"...)
}

// reserved: a subject of ours, or of the server. To those we may publish, and others may not.
func (s Subjects) reserved(subject string) bool {
	for _, prefix := range []string{s.events + ".", s.inbound + ".", peerPrefix, "$"} {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	return false
}

// Replies is what a node subscribes to, for the replies to all its connections.
func (s Subjects) Replies(node hub.NodeID) string {
	return s.inbound + ".*.reply." + string(node) + ".>"
}

// Handshake is `<inbound>.<namespace>.handshake`, where backends are asked who may connect.
func (s Subjects) Handshake(namespace string) string {
	return s.inbound + "." + namespace + ".handshake"
}

// Answer is `<inbound>.<namespace>.answer.<node>.<id>`, the reply subject of the handshake of that connection.
func (s Subjects) Answer(namespace string, id hub.ID) string {
	return s.inbound + "." + namespace + ".answer." + string(id.Node()) + "." + id.String()
}

// Answers is what a node subscribes to, for the answers to the handshakes of all its clients.
func (s Subjects) Answers(node hub.NodeID) string {
	return s.inbound + ".*.answer." + string(node) + ".*"
}

// ParseAnswer reads a subject that Answer made. It does not check that the ID is one.
func (s Subjects) ParseAnswer(subject string) (namespace, id string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.inbound+".")
	if !ok {
		return "", "", false
	}
	tokens := strings.Split(rest, ".")
	if len(tokens) != 4 || tokens[1] != "answer" {
		return "", "", false
	}
	return tokens[0], tokens[3], true
}

// Group is `<inbound>.<namespace>.group.<group>`, whose messages go to every member. It fails for names that
// would not be one token each.
func (s Subjects) Group(namespace, group string) (subject string, ok bool) {
	if !validNamespace(namespace) || !hub.ValidGroup(group) {
		return "", false
	}
	return s.inbound + "." + namespace + ".group." + group, true
}

// ParseGroup reads a subject that Group made.
func (s Subjects) ParseGroup(subject string) (namespace, group string, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.inbound+".")
	if !ok {
		return "", "", false
	}
	if namespace, rest, ok = strings.Cut(rest, "."); !ok {
		return "", "", false
	}
	group, ok = strings.CutPrefix(rest, "group.")
	return namespace, group, ok && validNamespace(namespace) && hub.ValidGroup(group)
}

func validNamespace(s string) bool {
	return len(s) >= 1 && len(s) <= 32 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// ReplyTarget is what a reply subject names.
type ReplyTarget struct {
	Namespace, Node, ID string
	Opcode              hub.Opcode
}

// ParseReply reads a subject that AppendReply made. It does not check that the ID is one.
func (s Subjects) ParseReply(subject string) (t ReplyTarget, ok bool) {
	rest, ok := strings.CutPrefix(subject, s.inbound+".")
	if !ok {
		return t, false
	}
	var word, op string
	if t.Namespace, rest, ok = strings.Cut(rest, "."); !ok {
		return t, false
	}
	if word, rest, ok = strings.Cut(rest, "."); !ok || word != "reply" {
		return t, false
	}
	if t.Node, rest, ok = strings.Cut(rest, "."); !ok {
		return t, false
	}
	if t.ID, op, ok = strings.Cut(rest, "."); !ok {
		return t, false
	}
	switch op {
	case "t":
		t.Opcode = hub.Text
	case "b":
		t.Opcode = hub.Binary
	}
	return t, t.Opcode != 0
}

package bus

import "github.com/holdfast-broker/holdfast/internal/hub"

// The headers of events, replies and group messages.
const (
	HeaderSeq        = "Holdfast-Seq"
	HeaderOpcode     = "Holdfast-Opcode"
	HeaderUser       = "Holdfast-User"
	HeaderAttrPrefix = "Holdfast-Attr-"
	HeaderMsgID      = "Nats-Msg-Id"
	HeaderExcept     = "Holdfast-Except"
)

const upperHex = "0123456789ABCDEF"

// escaped reports whether the byte at i of a header value is percent-encoded: `%`, every byte that is
// not printable ASCII (0x20 to 0x7E), and a space at either end, which NATS clients would trim. So
// a value of ordinary ASCII travels as it is, and any URL decoder that leaves '+' alone reads it back.
func escaped(s string, i int) bool {
	c := s[i]
	return c < ' ' || c > '~' || c == '%' || c == ' ' && (i == 0 || i == len(s)-1)
}

// escapedLen is the length of appendEscaped's result.
func escapedLen(s string) int {
	n := len(s)
	for i := range len(s) {
		if escaped(s, i) {
			n += 2
		}
	}
	return n
}

// appendEscaped appends a header value, percent-encoded where it must be.
func appendEscaped(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; escaped(s, i) {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// An event's user and attributes wait in the outbox as header values, in one piece: the length of the
// user (2 bytes) and the user, then for each attribute the lengths of name and value (2 bytes each) and
// both. Limits of the core keep each far below 64 KiB.

func metaLen(e *hub.Event) int {
	if e.Kind != hub.KindMessage || e.User == "" && len(e.Attributes) == 0 {
		return 0
	}
	n := 2 + escapedLen(e.User)
	for _, a := range e.Attributes {
		n += 4 + len(a.Name) + escapedLen(a.Value)
	}
	return n
}

func appendMeta(dst []byte, e *hub.Event) []byte {
	dst = appendLen(dst, escapedLen(e.User))
	dst = appendEscaped(dst, e.User)
	for _, a := range e.Attributes {
		dst = appendLen(dst, len(a.Name))
		dst = appendLen(dst, escapedLen(a.Value))
		dst = append(dst, a.Name...)
		dst = appendEscaped(dst, a.Value)
	}
	return dst
}

func appendLen(dst []byte, n int) []byte { return append(dst, byte(n>>8), byte(n)) }

// cutMeta takes one piece of n bytes off meta.
func cutMeta(meta []byte, n int) (piece, rest []byte) { return meta[:n], meta[n:] }

func cutLen(meta []byte) (int, []byte) { return int(meta[0])<<8 | int(meta[1]), meta[2:] }

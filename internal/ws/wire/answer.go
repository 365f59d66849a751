package wire

import (
	"errors"
	"slices"
	"strings"
)

// reserved are the fields of an answer that are the server's alone: those of the handshake, and those by which a
// message is framed and a connection kept (RFC 9112 6 and 9, RFC 9110 7.6.1).
var reserved = []string{
	"connection", "content-length", "date", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

const reservedPrefix = "sec-websocket-"

// CheckAnswerField judges a field that somebody else wants in the answer to a handshake: its name must be a token
// that is not the server's own, and its value must not break out of its line (RFC 9110 5.5). The error names the
// field and repeats no value: it may be a cookie.
func CheckAnswerField(name, value string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r > '~' || !isTokenByte(byte(r)) }) {
		return errors.New("field name " + quote(name) + " is not a token")
	}
	if lower := strings.ToLower(name); strings.HasPrefix(lower, reservedPrefix) || slices.Contains(reserved, lower) {
		return errors.New("field " + quote(name) + " is the server's own")
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return errors.New("value of field " + quote(name) + " contains the control character " + quote(value[i:i+1]))
		}
	}
	return nil
}

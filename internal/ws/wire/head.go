package wire

import (
	"bytes"
	"strings"
)

// Head is the head of an HTTP/1.1 request that may be an opening handshake (RFC 6455 4.1), as ParseHead reads it.
type Head struct {
	Target string  // in origin form: a path, and maybe a query (RFC 9112 3.2.1)
	Host   string  // never empty
	Fields []Field // all but Host, in their order
}

// Field is a line of a Head.
type Field struct {
	Name  string // in the spelling of net/http's canonical keys
	Value string // without the white space around it
}

const (
	methodGet   = "GET "
	versionHTTP = " HTTP/1.1"
	lineEnd     = "\r\n"
)

// ParseHead reads the head that b begins with, and answers its length; 0: more of it has to come.
//
// It reads what every browser and library writes, and nothing else: plain is false where b, whatever follows, is not
// a GET for HTTP/1.1 with an Upgrade, a target in origin form and one Host, in lines that end in CRLF and hold
// printable ASCII. Nor may it say anything of a body, which a handshake has not, or want to be answered before it. None
// of that need be wrong: it is somebody else's to judge.
func ParseHead(b []byte) (h Head, n int, plain bool) {
	n, lines, plain := scanHead(b)
	if n == 0 || !plain {
		return Head{}, 0, plain
	}
	line, rest, _ := strings.Cut(string(b[:n]), lineEnd)
	h.Target = line[len(methodGet) : len(line)-len(versionHTTP)]
	h.Fields = make([]Field, 0, lines)
	upgrade := false
	for line, rest, _ = strings.Cut(rest, lineEnd); line != ""; line, rest, _ = strings.Cut(rest, lineEnd) {
		name, value, _ := strings.Cut(line, ":")
		value = trimSpace(value)
		switch name = canonicalName(name); name {
		case headerHost:
			if h.Host != "" || !isHost(value) {
				return Head{}, 0, false
			}
			h.Host = value
			continue
		case headerUpgrade:
			upgrade = true
		case "Content-Length", "Transfer-Encoding", "Trailer", "Expect":
			return Head{}, 0, false
		}
		h.Fields = append(h.Fields, Field{name, value})
	}
	if h.Host == "" || !upgrade {
		return Head{}, 0, false
	}
	return h, n, true
}

// scanHead judges the lines of a head as far as they have come, and answers its length and how many fields it has.
func scanHead(b []byte) (n, fields int, plain bool) {
	for {
		end := bytes.IndexByte(b[n:], '\n')
		if end < 0 {
			return 0, 0, true
		}
		line, whole := bytes.CutSuffix(b[n:n+end+1], []byte(lineEnd))
		last := n > 0 && len(line) == 0
		if !whole || !last && !isPlainLine(line, n == 0) {
			return 0, 0, false
		}
		n += end + 1
		if last {
			return n, fields - 1, true
		}
		fields++
	}
}

func isPlainLine(line []byte, first bool) bool {
	if first {
		return isRequestLine(line)
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return false
	}
	for _, c := range line[:colon] {
		if !isTokenByte(c) {
			return false
		}
	}
	for _, c := range line[colon+1:] {
		if (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

// isRequestLine: "GET /path?query HTTP/1.1".
func isRequestLine(line []byte) bool {
	target, get := bytes.CutPrefix(line, []byte(methodGet))
	target, version := bytes.CutSuffix(target, []byte(versionHTTP))
	if !get || !version || len(target) == 0 || target[0] != '/' {
		return false
	}
	for _, c := range target {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// isHost reports whether a value can only be a host name or an address, with or without a port (RFC 9110 7.2).
func isHost(value string) bool {
	for i := range len(value) {
		switch c := value[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '-', c == '_', c == ':', c == '[', c == ']':
		default:
			return false
		}
	}
	return value != ""
}

// canonicalName answers a token with the first letter of each of its words in upper case, and no other.
func canonicalName(name string) string {
	first := true
	for i := range len(name) {
		c := name[i]
		if first && 'a' <= c && c <= 'z' || !first && 'A' <= c && c <= 'Z' {
			return spellName(name)
		}
		first = c == '-'
	}
	return name
}

// spellName is canonicalName for a name that is spelt otherwise, as those of RFC 6455 are.
func spellName(name string) string {
	switch name {
	case "Sec-WebSocket-Key":
		return headerKey
	case "Sec-WebSocket-Version":
		return headerVersion
	case "Sec-WebSocket-Extensions":
		return headerExtensions
	case "Sec-WebSocket-Protocol":
		return headerProtocol
	}
	spelt := []byte(name)
	first := true
	for i, c := range spelt {
		switch {
		case first && 'a' <= c && c <= 'z':
			spelt[i] = c - ('a' - 'A')
		case !first && 'A' <= c && c <= 'Z':
			spelt[i] = c + ('a' - 'A')
		}
		first = c == '-'
	}
	return string(spelt)
}

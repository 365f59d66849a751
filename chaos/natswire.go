//go:build linux

package main

import (
	"bytes"
	"strconv"
	"strings"
)

// natsScanner reads NATS's protocol as it passes, in either direction.
type natsScanner struct {
	buf []byte
	// visit is called for each operation: its verb, its arguments, and header and payload of a message.
	visit func(verb string, args []string, header, payload []byte)
}

// feed takes what has passed; operations may be cut anywhere.
func (s *natsScanner) feed(b []byte) {
	s.buf = append(s.buf, b...)
	rest := s.buf
	for {
		n := s.operation(rest)
		if n == 0 {
			break
		}
		rest = rest[n:]
	}
	s.buf = append(s.buf[:0], rest...)
}

// operation reads the first operation and answers its length; 0 when it is not whole.
func (s *natsScanner) operation(b []byte) int {
	line, _, whole := bytes.Cut(b, []byte("\r\n"))
	if !whole {
		return 0
	}
	taken := len(line) + 2
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return taken
	}
	verb := strings.ToUpper(words[0])
	var header, payload []byte
	switch verb {
	case "PUB", "HPUB", "MSG", "HMSG":
		size, _ := strconv.Atoi(words[len(words)-1])
		if len(b) < taken+size+2 {
			return 0
		}
		headerSize := 0
		if verb[0] == 'H' {
			headerSize, _ = strconv.Atoi(words[len(words)-2])
		}
		header, payload = b[taken:taken+headerSize], b[taken+headerSize:taken+size]
		taken += size + 2
	}
	s.visit(verb, words[1:], header, payload)
	return taken
}

// headerValue finds a value in NATS's header block.
func headerValue(header []byte, name string) string {
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		if key, value, found := bytes.Cut(line, []byte(":")); found && string(key) == name {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Forwarding says which header of a request is believed about where it comes from.
type Forwarding struct {
	// Trusted are the proxies.
	Trusted Networks
	// Header in its canonical form: "Forwarded" (RFC 7239), or one that lists addresses as X-Forwarded-For does.
	// Empty: none is believed. It is one, because a proxy that writes one passes others on as the client sent them.
	Header string
}

// forwarded is the header of RFC 7239.
const forwarded = "Forwarded"

// Client answers the address of whoever sent a request, "192.0.2.7:51022", or "192.0.2.7" where the proxies do not
// tell the port. peer is the other side of the connection, as net/http has it.
//
// Each proxy adds, at the end, whom it was asked by. So addresses count from the right as long as whoever wrote them is
// trusted. One that cannot be read ends this, too: then the client is the proxy that wrote it.
func (f Forwarding) Client(peer string, header http.Header) string {
	if f.Header == "" || f.Trusted.None() || !f.trustsPeer(peer) {
		return peer
	}
	client := peer
	for _, line := range slices.Backward(header[f.Header]) {
		for _, node := range slices.Backward(f.nodes(line)) {
			addr, shown, ok := parseNode(node)
			if !ok {
				return client
			}
			client = shown
			if !f.Trusted.Contain(addr) {
				return client
			}
		}
	}
	return client
}

func (f Forwarding) trustsPeer(peer string) bool {
	at, err := netip.ParseAddrPort(peer)
	if err != nil { // net/http has no address of who came by a Unix socket
		return f.Trusted.unix
	}
	return f.Trusted.Contain(at.Addr())
}

// nodes are the addresses of a line, as they stand there.
func (f Forwarding) nodes(line string) []string {
	if f.Header == forwarded {
		return forNodes(line)
	}
	var all []string
	for entry := range strings.SplitSeq(line, ",") {
		if entry = strings.Trim(entry, " \t"); entry != "" {
			all = append(all, entry)
		}
	}
	return all
}

// parseNode reads "192.0.2.7", "192.0.2.7:51022", "2001:db8::1", "[2001:db8::1]" or "[2001:db8::1]:51022".
func parseNode(node string) (addr netip.Addr, shown string, ok bool) {
	if inner, bracketed := strings.CutPrefix(node, "["); bracketed && strings.HasSuffix(inner, "]") {
		node = strings.TrimSuffix(inner, "]")
		if !strings.Contains(node, ":") {
			return addr, "", false
		}
	}
	if addr, ok := parseAddr(node); ok {
		return addr, addr.String(), true
	}
	at, err := netip.ParseAddrPort(node)
	if err != nil || at.Addr().Zone() != "" {
		return addr, "", false
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	return at.Addr(), at.String(), true
}

// forNodes are the "for" parameters of a line of Forwarded; of an element without one, or of a line that is
// malformed, "".
func forNodes(line string) (all []string) {
	for more := true; more; {
		var element []string
		var ok bool
		if element, line, more, ok = cutElement(line); !ok {
			return []string{""}
		}
		if len(element) == 0 {
			continue // RFC 9110 5.6.1.2
		}
		all = append(all, forOf(element))
	}
	return all
}

// forOf finds it among names and values that take turns.
func forOf(pairs []string) string {
	for pair := range slices.Chunk(pairs, 2) {
		if strings.EqualFold(pair[0], "for") {
			return pair[1]
		}
	}
	return ""
}

// cutElement reads pairs up to a comma (RFC 7239 4): names and values take turns. more: there was one.
func cutElement(line string) (pairs []string, rest string, more, ok bool) {
	for {
		line = strings.TrimLeft(line, " \t")
		switch {
		case line == "":
			return pairs, "", false, true
		case line[0] == ',':
			return pairs, line[1:], true, true
		case line[0] == ';':
			line = line[1:]
			continue
		}
		var name, value string
		if name, line, ok = strings.Cut(line, "="); !ok || !isToken(name) {
			return nil, "", false, false
		}
		if value, line, ok = cutValue(line); !ok {
			return nil, "", false, false
		}
		pairs = append(pairs, name, value)
	}
}

// cutValue reads a token, or a quoted string, up to a ";", a "," or the end. An address with its colon and brackets
// needs the quotes, and is often seen without.
func cutValue(line string) (value, rest string, ok bool) {
	if !strings.HasPrefix(line, `"`) {
		end := strings.IndexAny(line, ";,")
		if end < 0 {
			end = len(line)
		}
		value = strings.TrimRight(line[:end], " \t")
		return value, line[end:], value != "" && !strings.ContainsAny(value, "\" \t")
	}
	value, rest, ok = cutQuoted(line[1:])
	rest = strings.TrimLeft(rest, " \t")
	return value, rest, ok && (rest == "" || rest[0] == ';' || rest[0] == ',')
}

// cutQuoted reads a quoted string (RFC 9110 5.6.4) behind its first quote.
func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for _, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte(marks, c) < 0 {
			return false
		}
	}
	return s != ""
}

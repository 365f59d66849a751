package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol of HAProxy (proxy-protocol.txt), versions 1 and 2: a header before everything else,
// TLS included, in which a load balancer names the client.

// MaxHeader bounds a header, in bytes. Version 1 has 107 at most; the extensions of version 2, which are
// skipped, fill some hundreds.
const MaxHeader = 4 << 10

const (
	maxText  = 107 // of version 1, CRLF included
	lenFixed = 16  // of version 2: signature, version and command, family, length
)

var (
	textSignature   = []byte("PROXY ")
	binarySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// errMalformed is the verdict on a header that is begun as one and is none.
var errMalformed = errors.New("malformed PROXY header")

// errMissing is the verdict on what does not begin as a header.
var errMissing = errors.New("no PROXY header")

// parse reads the header that b begins with, and answers the client's address and the header's length. The
// address is invalid where the header names none: of the proxy's own health checks, and of clients that have
// no IP address. Without a length and an error, more of the header has to come.
func parse(b []byte) (source netip.AddrPort, n int, err error) {
	switch {
	case begins(b, textSignature):
		return parseText(b)
	case begins(b, binarySignature):
		return parseBinary(b)
	}
	return source, 0, errMissing
}

// begins reports whether b begins with the signature, as far as it came.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

// parseText reads version 1: "PROXY TCP4 192.0.2.7 203.0.113.1 51022 443\r\n".
func parseText(b []byte) (source netip.AddrPort, n int, err error) {
	end := bytes.Index(b[:min(len(b), maxText)], []byte("\r\n"))
	switch {
	case end >= 0:
	case len(b) >= maxText:
		return source, 0, errMalformed
	default:
		return source, 0, nil
	}
	line, n := string(b[len(textSignature):end]), end+len("\r\n")
	fields := strings.Split(line, " ")
	if fields[0] == "UNKNOWN" { // what follows it is to be ignored
		return source, n, nil
	}
	const family, from, to, fromPort, toPort, count = 0, 1, 2, 3, 4, 5
	if len(fields) != count || fields[family] != "TCP4" && fields[family] != "TCP6" {
		return source, 0, errMalformed
	}
	source, ok := endpointOf(fields[family], fields[from], fields[fromPort])
	if _, alsoOK := endpointOf(fields[family], fields[to], fields[toPort]); !ok || !alsoOK {
		return netip.AddrPort{}, 0, errMalformed
	}
	return source, n, nil
}

func endpointOf(family, address, port string) (netip.AddrPort, bool) {
	addr, ok := parseAddr(address)
	number, err := strconv.ParseUint(port, 10, 16)
	ok = ok && err == nil && strconv.FormatUint(number, 10) == port && strings.Contains(address, ":") == (family == "TCP6")
	return netip.AddrPortFrom(addr, uint16(number)), ok
}

// What stands in the 13th and the 14th byte of version 2.
const (
	commandLocal = 0x20
	commandProxy = 0x21

	familyNone = 0x00 // unspecified
	familyTCP4 = 0x11
	familyTCP6 = 0x21
	familyUnix = 0x31
)

// lengths of the addresses in version 2: both, with their ports.
const (
	lenTCP4 = 2*4 + 2*2
	lenTCP6 = 2*16 + 2*2
	lenUnix = 2 * 108
)

// parseBinary reads version 2.
func parseBinary(b []byte) (source netip.AddrPort, n int, err error) {
	if len(b) < lenFixed {
		return source, 0, nil
	}
	command, family, n := b[12], b[13], lenFixed+int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case n > MaxHeader || command != commandLocal && command != commandProxy:
		return source, 0, errMalformed
	case len(b) < n:
		return source, 0, nil
	case command == commandLocal: // of the proxy itself; whatever follows is to be ignored
		return source, n, nil
	}
	source, ok := binarySource(family, b[lenFixed:n])
	if !ok {
		return source, 0, errMalformed
	}
	return source, n, nil
}

// binarySource reads the first of the addresses that a header of version 2 holds.
func binarySource(family byte, b []byte) (source netip.AddrPort, ok bool) {
	switch family {
	case familyTCP4:
		if len(b) < lenTCP4 {
			return source, false
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), binary.BigEndian.Uint16(b[8:])), true
	case familyTCP6:
		if len(b) < lenTCP6 {
			return source, false
		}
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[:16])).Unmap(), binary.BigEndian.Uint16(b[32:])), true
	case familyUnix:
		return source, len(b) >= lenUnix
	}
	return source, family == familyNone
}

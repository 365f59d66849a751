package proxy

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// version2 makes a header of version 2.
func version2(command, family byte, body ...byte) string {
	b := append([]byte(nil), binarySignature...)
	b = append(b, command, family)
	return string(append(binary.BigEndian.AppendUint16(b, uint16(len(body))), body...))
}

var (
	tcp4 = []byte{192, 0, 2, 7, 203, 0, 113, 1, 0xC7, 0x4E, 0x01, 0xBB}
	tcp6 = append(append(netip.MustParseAddr("2001:db8::7").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0xC7, 0x4E, 0x01, 0xBB)
	// an extension of a network load balancer: the ID of an endpoint
	extension = append([]byte{0xEA, 0x00, 0x07, 0x01}, "vpce-1"...)
)

var headers = map[string]struct {
	header string
	source string // empty: the peer's own address stands
	err    error
}{
	"text, IPv4":            {header: "PROXY TCP4 192.0.2.7 203.0.113.1 51022 443\r\n", source: "192.0.2.7:51022"},
	"text, IPv6":            {header: "PROXY TCP6 2001:db8::7 2001:db8::1 51022 443\r\n", source: "[2001:db8::7]:51022"},
	"text, unknown":         {header: "PROXY UNKNOWN\r\n"},
	"text, unknown, more":   {header: "PROXY UNKNOWN ffff:f...f:ffff x 65535 65535\r\n"},
	"text, longest":         {header: "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n"},
	"text, too long":        {header: "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", err: errMalformed},
	"text, other family":    {header: "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", err: errMalformed},
	"text, other family 6":  {header: "PROXY TCP6 192.0.2.7 203.0.113.1 1 2\r\n", err: errMalformed},
	"text, UDP":             {header: "PROXY UDP4 192.0.2.7 203.0.113.1 1 2\r\n", err: errMalformed},
	"text, port too high":   {header: "PROXY TCP4 192.0.2.7 203.0.113.1 65536 443\r\n", err: errMalformed},
	"text, port with zero":  {header: "PROXY TCP4 192.0.2.7 203.0.113.1 051022 443\r\n", err: errMalformed},
	"text, octet with zero": {header: "PROXY TCP4 192.0.2.07 203.0.113.1 51022 443\r\n", err: errMalformed},
	"text, zone":            {header: "PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n", err: errMalformed},
	"text, no ports":        {header: "PROXY TCP4 192.0.2.7 203.0.113.1\r\n", err: errMalformed},
	"text, two spaces":      {header: "PROXY TCP4  192.0.2.7 203.0.113.1 1 2\r\n", err: errMalformed},
	"text, line feed alone": {header: "PROXY TCP4 192.0.2.7 203.0.113.1 1 2\n" + strings.Repeat("x", 80), err: errMalformed},

	"binary, IPv4":             {header: version2(commandProxy, familyTCP4, tcp4...), source: "192.0.2.7:51022"},
	"binary, IPv4, extension":  {header: version2(commandProxy, familyTCP4, append(tcp4[:12:12], extension...)...), source: "192.0.2.7:51022"},
	"binary, IPv6":             {header: version2(commandProxy, familyTCP6, tcp6...), source: "[2001:db8::7]:51022"},
	"binary, local":            {header: version2(commandLocal, familyNone)},
	"binary, local, addresses": {header: version2(commandLocal, familyTCP4, tcp4...)},
	"binary, unspecified":      {header: version2(commandProxy, familyNone, extension...)},
	"binary, Unix":             {header: version2(commandProxy, familyUnix, make([]byte, lenUnix)...)},
	"binary, Unix, short":      {header: version2(commandProxy, familyUnix, make([]byte, lenUnix-1)...), err: errMalformed},
	"binary, IPv4, short":      {header: version2(commandProxy, familyTCP4, tcp4[:11]...), err: errMalformed},
	"binary, IPv6, short":      {header: version2(commandProxy, familyTCP6, tcp6[:35]...), err: errMalformed},
	"binary, datagrams":        {header: version2(commandProxy, 0x12, tcp4...), err: errMalformed},
	"binary, version 3":        {header: version2(0x31, familyTCP4, tcp4...), err: errMalformed},
	"binary, other command":    {header: version2(0x22, familyTCP4, tcp4...), err: errMalformed},
	"binary, longest":          {header: version2(commandProxy, familyNone, make([]byte, MaxHeader-lenFixed)...)},
	"binary, too long":         {header: version2(commandProxy, familyNone, make([]byte, MaxHeader-lenFixed+1)...), err: errMalformed},

	"HTTP":           {header: "GET / HTTP/1.1\r\n", err: errMissing},
	"HTTP, P":        {header: "PUT / HTTP/1.1\r\n", err: errMissing},
	"TLS":            {header: "\x16\x03\x01", err: errMissing},
	"empty lines":    {header: "\r\n\r\nGET / HTTP/1.1\r\n", err: errMissing},
	"text, no space": {header: "PROXYTCP4", err: errMissing},
}

func TestHeader(t *testing.T) {
	for name, c := range headers {
		t.Run(name, func(t *testing.T) {
			source, n, err := parse([]byte(c.header + "GET"))
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err == nil && n != len(c.header) {
				t.Errorf("it ends after %d bytes, want %d", n, len(c.header))
			}
			if shown(source) != c.source {
				t.Errorf("from %s, want %q", source, c.source)
			}
		})
	}
}

func shown(source netip.AddrPort) string {
	if !source.IsValid() {
		return ""
	}
	return source.String()
}

// TestHeaderInPieces: as long as a header has not come as a whole, it may still become one.
func TestHeaderInPieces(t *testing.T) {
	for name, c := range headers {
		if c.err != nil {
			continue
		}
		for n := range len(c.header) {
			if _, length, err := parse([]byte(c.header)[:n]); length != 0 || err != nil {
				t.Errorf("%s: after %d bytes: %d, %v", name, n, length, err)
				break
			}
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, c := range headers {
		f.Add([]byte(c.header + "GET"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		source, n, err := parse(b)
		if err != nil && (n != 0 || source.IsValid()) {
			t.Fatalf("refused with %v, and %s, %d", err, source, n)
		}
		if n > min(len(b), MaxHeader) {
			t.Fatalf("a header of %d bytes in %d", n, len(b))
		}
		if err == nil && n == 0 && len(b) >= MaxHeader {
			t.Fatalf("undecided after %d bytes", len(b))
		}
		if n == 0 {
			return
		}
		again, m, err := parse(b[:n]) // what follows is none of its business
		if again != source || m != n || err != nil {
			t.Fatalf("%s, %d, %v without what follows; %s, %d with it", again, m, err, source, n)
		}
		for i := range n {
			if _, early, err := parse(b[:i]); early != 0 || err != nil {
				t.Fatalf("after %d of %d bytes: %d, %v", i, n, early, err)
			}
		}
	})
}

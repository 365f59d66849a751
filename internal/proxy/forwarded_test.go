package proxy

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func networks(t testing.TB, entries ...string) Networks {
	t.Helper()
	n, err := ParseNetworks(entries)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNetworks(t *testing.T) {
	n := networks(t, "10.0.0.0/8", "2001:db8::/32", "192.0.2.7")
	for address, want := range map[string]bool{
		"10.255.0.1": true, "11.0.0.1": false, "::ffff:10.0.0.1": true, "192.0.2.7": true, "192.0.2.8": false,
		"2001:db8:1::1": true, "2001:db9::1": false, "2001:db8::1%eth0": true,
	} {
		if got := n.Contain(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	for entry, want := range map[string]string{
		"10.0.0.1/8":         `"10.0.0.1/8" has bits behind its length: want 10.0.0.0/8`,
		"10.0.0.0/33":        "is not a network",
		"::ffff:10.0.0.0/96": "is not a network",
		"proxy.example":      "is not a network",
		"fe80::1%eth0":       "is not a network",
		"":                   "is not a network",
	} {
		if _, err := ParseNetworks([]string{entry}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

func TestClient(t *testing.T) {
	const edge, inner = "10.0.0.1:4711", "10.0.0.2"
	for name, c := range map[string]struct {
		peer, header string
		lines        []string
		want         string
	}{
		"no header":                  {edge, "X-Forwarded-For", nil, edge},
		"one address":                {edge, "X-Forwarded-For", []string{"192.0.2.7"}, "192.0.2.7"},
		"with a port":                {edge, "X-Forwarded-For", []string{"192.0.2.7:51022"}, "192.0.2.7:51022"},
		"IPv6":                       {edge, "X-Forwarded-For", []string{"2001:db8::1"}, "2001:db8::1"},
		"IPv6 in brackets":           {edge, "X-Forwarded-For", []string{"[2001:db8::1]"}, "2001:db8::1"},
		"IPv6 with a port":           {edge, "X-Forwarded-For", []string{"[2001:db8::1]:1"}, "[2001:db8::1]:1"},
		"IPv4 in IPv6":               {edge, "X-Forwarded-For", []string{"::ffff:192.0.2.7"}, "192.0.2.7"},
		"a chain":                    {edge, "X-Forwarded-For", []string{"192.0.2.7, " + inner}, "192.0.2.7"},
		"a spoofed chain":            {edge, "X-Forwarded-For", []string{"127.0.0.1, 198.51.100.9, 192.0.2.7"}, "192.0.2.7"},
		"a spoofed trusted address":  {edge, "X-Forwarded-For", []string{"10.9.9.9, 192.0.2.7"}, "192.0.2.7"},
		"several lines":              {edge, "X-Forwarded-For", []string{"198.51.100.9", "192.0.2.7", inner}, "192.0.2.7"},
		"all trusted":                {edge, "X-Forwarded-For", []string{"10.0.0.9, " + inner}, "10.0.0.9"},
		"empty entries":              {edge, "X-Forwarded-For", []string{"192.0.2.7,, ,"}, "192.0.2.7"},
		"rubbish":                    {edge, "X-Forwarded-For", []string{"unknown"}, edge},
		"rubbish before a proxy":     {edge, "X-Forwarded-For", []string{"<script>, " + inner}, inner},
		"a zone":                     {edge, "X-Forwarded-For", []string{"fe80::1%eth0"}, edge},
		"not trusted":                {"192.0.2.66:1", "X-Forwarded-For", []string{"127.0.0.1"}, "192.0.2.66:1"},
		"another header":             {edge, "Forwarded", nil, edge},
		"none believed":              {edge, "", []string{"192.0.2.7"}, edge},
		"a Unix socket":              {"@", "X-Forwarded-For", []string{"192.0.2.7"}, "192.0.2.7"},
		"a header with one address":  {edge, "X-Real-Ip", []string{"192.0.2.7"}, "192.0.2.7"},
		"forwarded":                  {edge, "Forwarded", []string{"for=192.0.2.7"}, "192.0.2.7"},
		"forwarded, other words":     {edge, "Forwarded", []string{`proto=https;For="192.0.2.7:51022";by=10.0.0.1;host="a,b"`}, "192.0.2.7:51022"},
		"forwarded, IPv6":            {edge, "Forwarded", []string{`for="[2001:db8:cafe::17]:4711"`}, "[2001:db8:cafe::17]:4711"},
		"forwarded, a chain":         {edge, "Forwarded", []string{`for=198.51.100.9, for="192.0.2.7", for=10.0.0.2`}, "192.0.2.7"},
		"forwarded, hidden":          {edge, "Forwarded", []string{"for=_secret"}, edge},
		"forwarded, unknown":         {edge, "Forwarded", []string{"for=192.0.2.7, for=unknown"}, edge},
		"forwarded, no for":          {edge, "Forwarded", []string{"for=192.0.2.7, proto=https"}, edge},
		"forwarded, escapes":         {edge, "Forwarded", []string{`for="19\2.0.2.7"`}, "192.0.2.7"},
		"forwarded, an open quote":   {edge, "Forwarded", []string{`for="198.51.100.9, for=192.0.2.7`}, edge},
		"forwarded, a swallowed one": {edge, "Forwarded", []string{`for=198.51.100.9, for="x, for="[2001:db8::1]"`}, edge},
		"forwarded, open quote line": {edge, "Forwarded", []string{`for="`, "for=192.0.2.7"}, "192.0.2.7"},
		"forwarded, no equals sign":  {edge, "Forwarded", []string{"192.0.2.7"}, edge},
		"forwarded, a bare port":     {edge, "Forwarded", []string{"for=192.0.2.7:80"}, "192.0.2.7:80"},
		"forwarded, empty":           {edge, "Forwarded", []string{""}, edge},
		"forwarded, trailing comma":  {edge, "Forwarded", []string{"for=192.0.2.7,"}, "192.0.2.7"},
	} {
		t.Run(name, func(t *testing.T) {
			f := Forwarding{Trusted: networks(t, "10.0.0.0/8", Unix), Header: c.header}
			header := http.Header{"X-Forwarded-For": {"203.0.113.99"}}
			header[f.Header] = c.lines
			if got := f.Client(c.peer, header); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestNobodyIsTrustedUnlessSaid(t *testing.T) {
	header := http.Header{"X-Forwarded-For": {"192.0.2.7"}}
	for _, peer := range []string{"127.0.0.1:1", "@", ""} {
		if got := (Forwarding{Header: "X-Forwarded-For"}).Client(peer, header); got != peer {
			t.Errorf("%q was believed to be a proxy of %q", peer, got)
		}
	}
}

// FuzzForwarded: whatever stands in the header, what the nearest proxy has added counts, and a client is an address.
func FuzzForwarded(f *testing.F) {
	for _, line := range []string{"192.0.2.7", `for="[2001:db8::1]:1";by=_x, for=10.0.0.1`, `for="\`, "a=,;=b,"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		const edge = "10.0.0.1:4711"
		for _, name := range []string{"X-Forwarded-For", "Forwarded"} {
			fw := Forwarding{Trusted: networks(t, "10.0.0.0/8"), Header: name}
			client := fw.Client(edge, http.Header{name: {line}})
			if _, _, ok := parseNode(client); !ok {
				t.Fatalf("%s: %q makes %q of it", name, line, client)
			}
			added := map[string]string{"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7"}[name]
			if client = fw.Client(edge, http.Header{name: {line, added}}); client != "192.0.2.7" {
				t.Fatalf("%s: %q and then %q make %q of it", name, line, added, client)
			}
		}
	})
}

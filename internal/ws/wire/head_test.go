package wire_test

import (
	"bufio"
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// browserHead is what Chrome sends with a handshake.
const browserHead = "GET /chat?room=7 HTTP/1.1\r\nHost: broker.example:8080\r\nConnection: Upgrade\r\nPragma: no-cache\r\n" +
	"Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nUpgrade: websocket\r\n" +
	"Origin: http://broker.example:8080\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"

func TestParseHead(t *testing.T) {
	const start, end = "GET /a HTTP/1.1\r\nHost: h\r\n", "Upgrade: websocket\r\n\r\n"
	want := func(fields ...wire.Field) wire.Head {
		return wire.Head{Target: "/a", Host: "h", Fields: append(fields, wire.Field{Name: "Upgrade", Value: "websocket"})}
	}
	for name, c := range map[string]struct {
		in   string
		want wire.Head
	}{
		"least":            {start + end, want()},
		"space around":     {start + "A: \t b c\t \r\n" + end, want(wire.Field{Name: "A", Value: "b c"})},
		"no space":         {start + "A:b\r\n" + end, want(wire.Field{Name: "A", Value: "b"})},
		"no value":         {start + "A:\r\n" + end, want(wire.Field{Name: "A"})},
		"colons":           {start + "A: b:c\r\n" + end, want(wire.Field{Name: "A", Value: "b:c"})},
		"twice":            {start + "a: 1\r\nA: 2\r\n" + end, want(wire.Field{Name: "A", Value: "1"}, wire.Field{Name: "A", Value: "2"})},
		"lower case":       {start + "sec-websocket-key: k\r\n" + end, want(wire.Field{Name: "Sec-Websocket-Key", Value: "k"})},
		"case of RFC 6455": {start + "Sec-WebSocket-Key: k\r\n" + end, want(wire.Field{Name: "Sec-Websocket-Key", Value: "k"})},
		"upper case":       {start + "X-A_B-3C: k\r\n" + end, want(wire.Field{Name: "X-A_b-3c", Value: "k"})},
	} {
		t.Run(name, func(t *testing.T) {
			for _, behind := range []string{"", "\r\n\r\n", "\x81\x80abcd"} {
				got, n, plain := wire.ParseHead([]byte(c.in + behind))
				if !plain || n != len(c.in) || !reflect.DeepEqual(got, c.want) {
					t.Errorf("read %d of %d bytes as %+v, plain: %v; want %+v", n, len(c.in), got, plain, c.want)
				}
			}
		})
	}
}

// TestParseHeadLeavesTheRestToOthers: what is not in the plain form is not guessed at.
func TestParseHeadLeavesTheRestToOthers(t *testing.T) {
	const start, end = "GET /a HTTP/1.1\r\nHost: h\r\n", "Upgrade: websocket\r\n\r\n"
	for name, in := range map[string]string{
		"no Upgrade":               start + "\r\n",
		"no Host":                  "GET /a HTTP/1.1\r\n" + end,
		"two Hosts":                start + "Host: h\r\n" + end,
		"an empty Host":            "GET /a HTTP/1.1\r\nHost:\r\n" + end,
		"a Host that is none":      "GET /a HTTP/1.1\r\nHost: a/b\r\n" + end,
		"a user in Host":           "GET /a HTTP/1.1\r\nHost: a@b\r\n" + end,
		"POST":                     "POST /a HTTP/1.1\r\nHost: h\r\n" + end,
		"lower case":               "get /a HTTP/1.1\r\nHost: h\r\n" + end,
		"HTTP/1.0":                 "GET /a HTTP/1.0\r\nHost: h\r\n" + end,
		"HTTP/2":                   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP/0.9":                 "GET /a\r\n",
		"absolute form":            "GET http://h/a HTTP/1.1\r\nHost: h\r\n" + end,
		"asterisk form":            "GET * HTTP/1.1\r\nHost: h\r\n" + end,
		"no target":                "GET  HTTP/1.1\r\nHost: h\r\n" + end,
		"a space in the target":    "GET /a b HTTP/1.1\r\nHost: h\r\n" + end,
		"two spaces":               "GET  /a HTTP/1.1\r\nHost: h\r\n" + end,
		"a tab":                    "GET /a\tHTTP/1.1\r\nHost: h\r\n" + end,
		"a target beyond ASCII":    "GET /ä HTTP/1.1\r\nHost: h\r\n" + end,
		"an empty line before":     "\r\n" + start + end,
		"a space behind":           "GET /a HTTP/1.1 \r\nHost: h\r\n" + end,
		"LF alone":                 strings.ReplaceAll(start+end, "\r\n", "\n"),
		"LF alone in a field":      start + "A: b\n" + end,
		"LF alone at the end":      start + "Upgrade: websocket\r\n\n",
		"CR alone":                 start + "A: b\rc\r\n" + end,
		"two CRs":                  start + "A: b\r\r\n" + end,
		"folded":                   start + "A: b\r\n c\r\n" + end,
		"a field that is folded":   "GET /a HTTP/1.1\r\n Host: h\r\n" + end,
		"a space before the colon": start + "A : b\r\n" + end,
		"no colon":                 start + "A\r\n" + end,
		"no name":                  start + ": b\r\n" + end,
		"a name that is no token":  start + "A(b: c\r\n" + end,
		"NUL":                      start + "A: b\x00\r\n" + end,
		"DEL":                      start + "A: b\x7f\r\n" + end,
		"a value beyond ASCII":     start + "A: ä\r\n" + end,
		"Content-Length":           start + "content-length: 0\r\n" + end,
		"Transfer-Encoding":        start + "Transfer-Encoding: chunked\r\n" + end,
		"Trailer":                  start + "Trailer: A\r\n" + end,
		"Expect":                   start + "Expect: 100-continue\r\n" + end,
		"TLS":                      "\x16\x03\x01\x02\x00\x01\n",
	} {
		if h, n, plain := wire.ParseHead([]byte(in)); plain {
			t.Errorf("%s: read %d bytes as %+v", name, n, h)
		}
	}
}

// TestParseHeadWaitsForAllOfIt: no part of a head is one, and each line is judged as soon as it is there.
func TestParseHeadWaitsForAllOfIt(t *testing.T) {
	for i := range browserHead {
		if _, n, plain := wire.ParseHead([]byte(browserHead[:i])); n != 0 || !plain {
			t.Fatalf("of %q %d bytes were read, plain: %v", browserHead[:i], n, plain)
		}
	}
	for _, in := range []string{"POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost : h\r\n", "\r\n", "\n"} {
		if _, _, plain := wire.ParseHead([]byte(in)); plain {
			t.Errorf("%q may become plain", in)
		}
	}
}

// FuzzParseHead: whatever ParseHead reads, net/http reads with the same meaning and the same end.
func FuzzParseHead(f *testing.F) {
	f.Add([]byte(browserHead))
	f.Add([]byte("GET / HTTP/1.1\r\nhost:[::1]:80\r\nupgrade:\r\nX: \t a\t b \r\nx:\r\n\r\n\x81\x80"))
	f.Add([]byte("GET //a/../%2e?b=/#c HTTP/1.1\r\nHost: a_b\r\nConnection: close, Upgrade\r\nUpgrade: x\r\n\r\nGET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTransfer-Encoding : chunked\r\nUpgrade: websocket\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		h, n, plain := wire.ParseHead(in)
		if !bytes.Equal(in, before) {
			t.Fatal("the input was changed")
		}
		if n == 0 {
			return
		}
		if !plain {
			t.Fatalf("%d bytes were read of what is not plain", n)
		}
		agree(t, h, in, n)
	})
}

// agree compares a head with what net/http makes of the same bytes.
func agree(t *testing.T, h wire.Head, in []byte, n int) {
	t.Helper()
	behind := bufio.NewReaderSize(bytes.NewReader(in), len(in)+16)
	r, err := http.ReadRequest(behind)
	if err != nil {
		// A target may be well-formed without being a URL: whoever makes one of it finds out.
		if strings.Contains(err.Error(), "invalid URL escape") {
			return
		}
		t.Fatalf("net/http does not read it: %v", err)
	}
	if rest := len(in) - behind.Buffered(); rest != n {
		t.Errorf("net/http has read %d bytes, not %d", rest, n)
	}
	if r.Method != http.MethodGet || r.Proto != "HTTP/1.1" || r.RequestURI != h.Target || r.Host != h.Host ||
		r.ContentLength != 0 || r.TransferEncoding != nil {
		t.Errorf("net/http has read %s %q for %q", r.Method, r.RequestURI, r.Host)
	}
	header := make(http.Header)
	for _, field := range h.Fields {
		header[field.Name] = append(header[field.Name], field.Value)
	}
	if header.Get("Pragma") == "no-cache" && header["Cache-Control"] == nil {
		header.Set("Cache-Control", "no-cache") // which net/http adds (RFC 9111 5.4)
	}
	if !reflect.DeepEqual(r.Header, header) {
		t.Errorf("net/http has read %q, not %q", r.Header, header)
	}
}

func BenchmarkParseHead(b *testing.B) {
	in := []byte(browserHead)
	b.ReportAllocs()
	for b.Loop() {
		if _, n, _ := wire.ParseHead(in); n != len(in) {
			b.Fatal(n)
		}
	}
}

package ws_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func handshake(header http.Header) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://chat.example:8080/", nil)
	r.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	maps.Copy(r.Header, header)
	return r
}

func TestOrigins(t *testing.T) {
	const same = ws.SameOrigin
	for _, test := range []struct {
		allowed string // separated by blanks
		origin  string
		status  int // 0: accepted
	}{
		{same, "http://chat.example:8080", 0},
		{same, "https://chat.example:8080", 0}, // TLS may end at a proxy
		{same, "http://CHAT.example:8080", 0},
		{same, "http://chat.example", 403},
		{same, "http://evil.example", 403},
		{same, "null", 403},
		{same, "", 403},
		{"", "http://chat.example:8080", 403},
		{"*", "https://any.example", 0},
		{"*", "null", 0},
		{"null", "null", 0},
		{same + " null", "null", 0},
		{"https://*.example.org", "null", 403},
		{"null", "NULL", 403},
		{"null", "null?", 403},
		{"null", "https://null", 403},
		{"null", "http://chat.example:8080", 403},
		{"null", "", 403},
		{"https://example.org", "https://example.org", 0},
		{"https://example.org", "https://EXAMPLE.org", 0},
		{"https://Example.org", "https://example.org", 0},
		{"https://example.org", "http://example.org", 403},
		{"https://example.org", "https://example.org:8443", 403},
		{"https://example.org", "https://example.org.evil.example", 403},
		{"https://example.org", "https://example.org@evil.example", 403},
		{"https://example.org", "https://evil.example/https://example.org", 403},
		{"https://*.example.org", "https://a.example.org", 0},
		{"https://*.example.org", "https://a.b.example.org", 0},
		{"https://*.example.org", "https://example.org", 403},
		{"https://*.example.org", "https://evilexample.org", 403},
		{"https://*.example.org", "http://a.example.org", 403},
		{"https://*.example.org", "https://.example.org", 403},
		{"https://*.example.org:8443", "https://a.example.org:8443", 0},
		{"https://*.example.org:8443", "https://a.example.org", 403},
		{same + " https://app.example", "https://app.example", 0},
		{same + " https://app.example", "https://other.example", 403},
		{same, "http://%zz", 403},
	} {
		_, refusal := ws.Check(handshake(http.Header{"Origin": {test.origin}}),
			ws.AcceptOptions{Origins: strings.Fields(test.allowed)})
		got := 0
		if refusal != nil {
			got = refusal.Status
		}
		if got != test.status {
			t.Errorf("Origin %q with %q allowed: status %d, want %d", test.origin, test.allowed, got, test.status)
		}
	}
}

func TestHandshakeWithoutOriginPasses(t *testing.T) {
	if _, refusal := ws.Check(handshake(nil), ws.AcceptOptions{}); refusal != nil {
		t.Error(refusal.Text)
	}
}

func TestRepeatedOriginIsRefused(t *testing.T) {
	r := handshake(http.Header{"Origin": {"https://a.example", "https://a.example"}})
	if _, refusal := ws.Check(r, ws.AcceptOptions{Origins: []string{"*"}}); refusal == nil || refusal.Status != 400 {
		t.Errorf("refusal %+v", refusal)
	}
}

func TestHandshakeWithABodyIsRefused(t *testing.T) {
	for _, length := range []int64{5, -1} { // -1: chunked
		r := handshake(nil)
		r.ContentLength = length
		if _, refusal := ws.Check(r, ws.AcceptOptions{}); refusal == nil || refusal.Status != 400 {
			t.Errorf("length %d: refusal %+v", length, refusal)
		}
	}
}

func TestWhatIsNoHandshakeIsRefused(t *testing.T) {
	r := handshake(http.Header{"Sec-Websocket-Version": {"8"}})
	if _, refusal := ws.Check(r, ws.AcceptOptions{}); refusal == nil || refusal.Status != http.StatusUpgradeRequired {
		t.Errorf("refusal %+v", refusal)
	}
}

func TestSubprotocols(t *testing.T) {
	for _, test := range []struct {
		ours   []string
		offers string
		want   string
	}{
		{nil, "chat", ""},
		{[]string{"v2", "v1"}, "v1, v2", "v2"},
		{[]string{"v2", "v1"}, "v1", "v1"},
		{[]string{"v2"}, "v1", ""},
		{[]string{wire.AnySubprotocol}, "theirs, other", "theirs"},
		{[]string{wire.AnySubprotocol}, "bearer.SECRET, theirs", "theirs"},
		{[]string{wire.AnySubprotocol}, "bearer.SECRET", ""},
		{[]string{"bearer.SECRET"}, "bearer.SECRET", ""},
	} {
		r := handshake(http.Header{"Sec-Websocket-Protocol": {test.offers}})
		a, refusal := ws.Check(r, ws.AcceptOptions{Subprotocols: test.ours})
		if refusal != nil || a.Subprotocol != test.want {
			t.Errorf("ours %v, offers %q: %q (%v), want %q", test.ours, test.offers, a.Subprotocol, refusal, test.want)
		}
	}
}

func TestValidOrigin(t *testing.T) {
	for pattern, want := range map[string]bool{
		"*": true, ws.SameOrigin: true, "https://example.org": true, "http://localhost:3000": true,
		"https://*.example.org": true, "https://*.example.org:8443": true, "http://[::1]:8080": true,
		"": false, "example.org": false, "https://": false, "https://:8080": false, "https://*": false,
		"https://a.*.org": false, "https://*.*.org": false, "https://example.org/": false,
		"https://example.org/path": false, "https://example.org?q": false, "https://example.org?": false,
		"https://user@example.org": false, "https://example.org#f": false, "*.example.org": false, "null": true, "NULL": false,
	} {
		if got := ws.ValidOrigin(pattern); got != want {
			t.Errorf("ValidOrigin(%q) = %v", pattern, got)
		}
	}
}

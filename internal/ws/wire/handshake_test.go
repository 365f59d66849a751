package wire_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455 1.3

// upgrade is the handshake of RFC 6455 1.3, with fields replaced; none deletes a field.
func upgrade(fields map[string][]string) wire.Request {
	header := map[string][]string{
		"Upgrade":               {"websocket"},
		"Connection":            {"Upgrade"},
		"Sec-Websocket-Key":     {sampleKey},
		"Sec-Websocket-Version": {"13"},
	}
	maps.Copy(header, fields)
	return wire.Request{Method: "GET", ProtoMajor: 1, ProtoMinor: 1, Host: "example.com", Header: header}
}

func TestAcceptKeyOfTheRFC(t *testing.T) {
	if got, want := wire.AcceptKey(sampleKey), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHandshakeAccepted(t *testing.T) {
	for name, fields := range map[string]map[string][]string{
		"as in RFC 6455 1.3":             nil,
		"any case of letters":            {"Upgrade": {"WebSocket"}, "Connection": {"UPGRADE"}},
		"Firefox's Connection":           {"Connection": {"keep-alive, Upgrade"}},
		"lists split over lines":         {"Upgrade": {"h2c", "websocket"}, "Connection": {"keep-alive", "Upgrade"}},
		"other protocols beside ours":    {"Upgrade": {"IRC/6.9, websocket"}},
		"space and empty elements":       {"Connection": {" ,\tUpgrade ,"}},
		"key with all bits set":          {"Sec-Websocket-Key": {"/////////////////////w=="}},
		"unknown fields do not disturb":  {"X-Whatever": {"\x00"}},
		"Sec-WebSocket-Accept is no one": {"Sec-Websocket-Accept": {"?"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := upgrade(fields)
			key, refusal := wire.CheckUpgrade(r)
			if refusal != nil || key != r.Header["Sec-Websocket-Key"][0] {
				t.Errorf("key %q, refusal %v", key, refusal)
			}
		})
	}
}

func TestHandshakeRefused(t *testing.T) {
	long := strings.Repeat("x", 64)
	for name, c := range map[string]struct {
		fields map[string][]string
		status int
		text   string
	}{
		"no Upgrade":              {map[string][]string{"Upgrade": nil}, 426, `Upgrade is missing; it must contain "websocket"`},
		"other Upgrade":           {map[string][]string{"Upgrade": {"h2c"}}, 426, `Upgrade is "h2c"; it must contain "websocket"`},
		"Upgrade one letter off":  {map[string][]string{"Upgrade": {"webrocket"}}, 426, `Upgrade is "webrocket"; it must contain "websocket"`},
		"Upgrade with a version":  {map[string][]string{"Upgrade": {"websocket/13"}}, 426, `Upgrade is "websocket/13"; it must contain "websocket"`},
		"Upgrade with a long s":   {map[string][]string{"Upgrade": {"webſocket"}}, 426, `Upgrade is "web\u017focket"; it must contain "websocket"`},
		"no Connection":           {map[string][]string{"Connection": nil}, 426, `Connection is missing; it must contain "Upgrade"`},
		"other Connection":        {map[string][]string{"Connection": {"keep-alive", "close"}}, 426, `Connection is "keep-alive, close" in 2 lines; it must contain "Upgrade"`},
		"no version":              {map[string][]string{"Sec-Websocket-Version": nil}, 426, `Sec-WebSocket-Version is missing; it must be 13, once`},
		"version 8":               {map[string][]string{"Sec-Websocket-Version": {"8"}}, 426, `Sec-WebSocket-Version is "8"; it must be 13, once`},
		"version 13 and 8":        {map[string][]string{"Sec-Websocket-Version": {"13, 8"}}, 426, `Sec-WebSocket-Version is "13, 8"; it must be 13, once`},
		"version 013":             {map[string][]string{"Sec-Websocket-Version": {"013"}}, 426, `Sec-WebSocket-Version is "013"; it must be 13, once`},
		"version twice":           {map[string][]string{"Sec-Websocket-Version": {"13", "13"}}, 426, `Sec-WebSocket-Version is "13, 13" in 2 lines; it must be 13, once`},
		"no key":                  {map[string][]string{"Sec-Websocket-Key": nil}, 400, `Sec-WebSocket-Key is missing; it must be 16 bytes in base64, once`},
		"empty key":               {map[string][]string{"Sec-Websocket-Key": {""}}, 400, `Sec-WebSocket-Key is ""; it must be 16 bytes in base64, once`},
		"two keys":                {map[string][]string{"Sec-Websocket-Key": {sampleKey, sampleKey}}, 400, `Sec-WebSocket-Key is "` + sampleKey + ", " + sampleKey + `" in 2 lines; it must be 16 bytes in base64, once`},
		"key of 15 bytes":         {map[string][]string{"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAA"}}, 400, `Sec-WebSocket-Key is "AAAAAAAAAAAAAAAAAAAA"; it must be 16 bytes in base64, once`},
		"key of 17 bytes":         {map[string][]string{"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAAA="}}, 400, `Sec-WebSocket-Key is "AAAAAAAAAAAAAAAAAAAAAAA="; it must be 16 bytes in base64, once`},
		"key in URL base64":       {map[string][]string{"Sec-Websocket-Key": {"_____________________w=="}}, 400, `Sec-WebSocket-Key is "_____________________w=="; it must be 16 bytes in base64, once`},
		"key with bits behind it": {map[string][]string{"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAB=="}}, 400, `Sec-WebSocket-Key is "AAAAAAAAAAAAAAAAAAAAAB=="; it must be 16 bytes in base64, once`},
		"key with a line end":     {map[string][]string{"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAA==\n"}}, 400, `Sec-WebSocket-Key is "AAAAAAAAAAAAAAAAAAAAA==\n"; it must be 16 bytes in base64, once`},
		"what is long is cut":     {map[string][]string{"Upgrade": {long + "yz"}}, 426, `Upgrade is "` + long + `"...; it must contain "websocket"`},
	} {
		t.Run(name, func(t *testing.T) {
			checkRefused(t, upgrade(c.fields), c.status, c.text)
		})
	}
}

func TestHandshakeNeedsGetHTTP11AndHost(t *testing.T) {
	r := upgrade(nil)
	r.Method = "POST"
	checkRefused(t, r, 405, `method is "POST"; a WebSocket handshake is a GET`)
	r.Method = "get" // methods have case
	checkRefused(t, r, 405, `method is "get"; a WebSocket handshake is a GET`)

	for _, version := range [][2]int{{0, 9}, {1, 0}, {2, 0}, {3, 0}} {
		r = upgrade(nil)
		r.ProtoMajor, r.ProtoMinor = version[0], version[1]
		checkRefused(t, r, 400, "")
	}
	checkRefused(t, r, 400, "HTTP version is 3.0; a WebSocket handshake needs HTTP/1.1")

	r = upgrade(nil)
	r.Host = ""
	checkRefused(t, r, 400, "Host is missing; a WebSocket handshake must name the host")
}

// checkRefused checks status, text ("" for any) and the fields that the status asks for.
func checkRefused(t *testing.T, r wire.Request, status int, text string) {
	t.Helper()
	key, refusal := wire.CheckUpgrade(r)
	if refusal == nil || key != "" {
		t.Fatalf("accepted: %q", key)
	}
	if refusal.Status != status || text != "" && refusal.Error() != text {
		t.Errorf("got %d %s\nwant %d %s", refusal.Status, refusal.Text, status, text)
	}
	checkAnswer(t, refusal)
}

func checkAnswer(t *testing.T, refusal *wire.Refusal) {
	t.Helper()
	if !isLine(refusal.Text) || len(refusal.Text) > 512 {
		t.Errorf("text is not one readable line: %q", refusal.Text)
	}
	var want [][2]string
	switch {
	case refusal.Status == 405:
		want = [][2]string{{"Allow", "GET"}}
	case refusal.Status == 426 && strings.HasPrefix(refusal.Text, "Sec-WebSocket-Version"):
		want = [][2]string{{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Version", "13"}}
	case refusal.Status == 426:
		want = [][2]string{{"Upgrade", "websocket"}, {"Connection", "Upgrade"}}
	case refusal.Status != 400:
		t.Errorf("status %d", refusal.Status)
	}
	if !slices.Equal(refusal.Header, want) {
		t.Errorf("%d %s: fields %v, want %v", refusal.Status, refusal.Text, refusal.Header, want)
	}
}

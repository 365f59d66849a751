package wire_test

import (
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func TestAnswerFields(t *testing.T) {
	for _, f := range [][2]string{
		{"Set-Cookie", "a=b; Path=/"}, {"X-Empty", ""}, {"x-tab", "a\tb"}, {"X-Latin-1", "\xe9"}, {"Secret-WebSocket", "1"},
	} {
		if err := wire.CheckAnswerField(f[0], f[1]); err != nil {
			t.Errorf("%q: %v", f, err)
		}
	}
}

func TestAnswerFieldsRefused(t *testing.T) {
	for name, c := range map[string]struct{ field, value, text string }{
		"no name":            {"", "a", "is not a token"},
		"space":              {"X Y", "a", "is not a token"},
		"colon":              {"X:", "a", "is not a token"},
		"line end in name":   {"X\r\nY", "a", "is not a token"},
		"not ASCII":          {"X-é", "a", "is not a token"},
		"high rune":          {"X-ō", "a", "is not a token"}, // its low byte is that of a letter
		"upgrade":            {"UPGRADE", "h2c", "is the server's own"},
		"connection":         {"connection", "close", "is the server's own"},
		"accept key":         {"sec-websocket-accept", "a", "is the server's own"},
		"subprotocol":        {"Sec-WebSocket-Protocol", "a", "is the server's own"},
		"framing":            {"Transfer-Encoding", "chunked", "is the server's own"},
		"length":             {"Content-Length", "0", "is the server's own"},
		"line end in value":  {"X-A", "hunter2\r\nX-B: c", `the control character "\r"`},
		"line feed in value": {"X-A", "hunter2\nX-B: c", `the control character "\n"`},
		"zero in value":      {"X-A", "hunter2\x00", `the control character "\x00"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := wire.CheckAnswerField(c.field, c.value)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("%v, want %q", err, c.text)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error repeats the value: %v", err)
			}
		})
	}
}

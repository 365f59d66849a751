package admission

import (
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

func TestInvalidAnswers(t *testing.T) {
	long := strings.Repeat("a", 10<<10)
	for answer, detail := range map[string]string{
		`{"accept":{"user":"` + long + `"}}`:                                     "accept.user: ",
		`{"accept":{"user":"a\u0000"}}`:                                          "accept.user: ",
		"{\"accept\":{\"user\":\"a\xff\"}}":                                      "does not have the types",
		`{"accept":{"user":5}}`:                                                  "does not have the types",
		`{"accept":null}`:                                                        "want an object",
		`{"accept":{},"refuse":{}}`:                                              "does not have the types",
		`{"accept":{"groups":["a.*"]}}`:                                          "accept.groups: ",
		`{"accept":{"groups":[""]}}`:                                             "accept.groups: ",
		`{"accept":{"attributes":{"a":"` + long + `"}}}`:                         "accept.attributes: ",
		`{"accept":{"expire_time":"2001-01-01T00:00:00Z"}}`:                      "accept.expire_time: ",
		`{"accept":{"subprotocol":"v3"}}`:                                        "accept.subprotocol: ",
		`{"accept":{"subprotocol":"bearer.x"}}`:                                  "accept.subprotocol: ",
		`{"accept":{"headers":[{"name":"X","value":"a\r\nSet-Cookie: b"}]}}`:     "accept.headers[0]: ",
		`{"accept":{"headers":[{"name":"X"},{"name":"Upgrade","value":"h2c"}]}}`: "accept.headers[1]: ",
		`{"accept":{"headers":[{"name":"X","value":"` + long + `"}]}}`:           "accept.headers: ",
		`{"refuse":{"headers":[{"name":"Content-Length","value":"9"}]}}`:         "refuse.headers[0]: ",
		`{"refuse":{"status":101}}`:                                              "refuse.status: ",
		`{"refuse":{"status":302}}`:                                              "refuse.status: ",
		`{"refuse":{"status":600}}`:                                              "refuse.status: ",
		`{"refuse":{"body":"` + strings.Repeat("b", MaxAnswer) + `"}}`:           "want at most 65536",
	} {
		grant, refusal, taken := readAnswer([]byte(answer), &Request{Offers: []string{"v1"}, Endpoint: &hub.Endpoint{}})
		if !taken || grant != nil || refusal.Reason != ReasonInvalidAnswer || !strings.Contains(refusal.Detail, detail) {
			t.Errorf("%.80s: %v, %+v, %v", answer, grant, refusal, taken)
		}
	}
}

// FuzzAnswer: no reply makes a panic, and every answer either lets in or keeps out.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"accept":{"user":"a","headers":[{"name":"X","value":"y"}]}}`))
	f.Add([]byte(`{"refuse":{"status":403}}`))
	f.Add([]byte(`{"stream":"S","seq":1}`))
	f.Fuzz(func(t *testing.T, reply []byte) {
		grant, refusal, taken := readAnswer(reply, &Request{Endpoint: &hub.Endpoint{}})
		if taken != ((grant == nil) != (refusal == nil)) {
			t.Errorf("%v, %v, %v", grant, refusal, taken)
		}
		if refusal != nil && (refusal.Status < 300 || refusal.Status > 599) {
			t.Errorf("refused with %d", refusal.Status)
		}
	})
}

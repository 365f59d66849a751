package doctest_test

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// handshake is a good one with changes: a header that is set to nothing is left out.
func handshake(start string, changes ...string) string {
	header := map[string]string{
		"Host": "broker", "Upgrade": "websocket", "Connection": "Upgrade",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	}
	var more strings.Builder
	for _, change := range changes {
		name, value, _ := strings.Cut(change, ": ")
		if _, known := header[name]; known {
			header[name] = value
		} else {
			more.WriteString(change + "\r\n")
		}
	}
	for name, value := range header {
		if value != "" {
			more.WriteString(name + ": " + value + "\r\n")
		}
	}
	return start + "\r\n" + more.String() + "\r\n"
}

// refusals are requests that the table says something about.
func refusals() map[string][]string {
	const get = "GET / HTTP/1.1"
	return map[string][]string{
		"400": {
			handshake("GET / HTTP/1.0"), handshake(get, "Sec-WebSocket-Key: short"), handshake(get, "Content-Length: 1") + "x",
			handshake(get, "Origin: http://broker", "Origin: http://broker"), handshake(get, "Sec-WebSocket-Protocol: a b"),
			handshake("GET /spoken HTTP/1.1", "Sec-WebSocket-Protocol: theirs"),
		},
		"401": {handshake("GET /guarded HTTP/1.1"), handshake("GET /guarded HTTP/1.1", "Authorization: Bearer word")},
		"403": {handshake(get, "Origin: http://elsewhere")},
		"404": {handshake("GET /nothing HTTP/1.1"), handshake("GET /nothing HTTP/1.1", "Upgrade: ")},
		"405": {handshake("POST / HTTP/1.1")},
		"426": {handshake(get, "Upgrade: "), handshake(get, "Connection: close"), handshake(get, "Sec-WebSocket-Version: 12")},
		"429": {handshake("GET /one-each HTTP/1.1")},
		"502": {handshake("GET /senseless HTTP/1.1")},
		"503": {handshake("GET /full HTTP/1.1"), handshake("GET /unattended HTTP/1.1")},
		"431": {handshake(get, "X: "+strings.Repeat("x", 80<<10))},
		"307": {handshake("GET //chat HTTP/1.1"), handshake("GET /a/../chat HTTP/1.1")},
	}
}

func TestRefusedHandshakesAreThoseOfTheTable(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, crowded)) // whose clients keep it waiting when it stops
	for _, path := range []string{"/full", "/one-each"} {
		wstest.Dial(t, b.URL(path), nil)
	}
	nc := bustest.Dial(t, b.NATS)
	senseless := func(m *nats.Msg) { _ = m.Respond([]byte(`{"accept":{"user":7}}`)) } // fails when the test is over
	if _, err := nc.Subscribe("holdfast-in.senseless.handshake", senseless); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, r := range read(t, operating).table(t, "Refused handshakes") {
		documented = append(documented, r["status"])
	}
	var got []string
	for want, requests := range refusals() {
		if want != "307" {
			got = append(got, want)
		}
		for _, request := range requests {
			answer := ask(t, b, request)
			if header := "Retry-After: "; strings.Contains(answer, header) != (want == "429" || want == "503") {
				t.Errorf("%s with or without Retry-After: %q", want, answer)
			}
			if !strings.Contains(answer[:min(len(answer), 12)], " "+want) || strings.HasPrefix(want, "4") && want != "431" && !oneLine(answer) {
				t.Errorf("%.100q is answered with %q, the document has %s", request, answer, want)
			}
		}
	}
	counted := scrape(t, b)
	for _, status := range documented {
		if there := strings.Contains(counted, `status="`+status+`"`); there == (status == "431") {
			t.Errorf("%s is counted: %v", status, there)
		}
	}
	b.Signal(sigterm)
	eventually(t, "/readyz says no", func() bool {
		status, body := get(t, b.Ops+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	eventually(t, "handshakes are refused", func() bool {
		answer := ask(t, b, handshake("GET / HTTP/1.1"))
		return strings.HasPrefix(answer, "HTTP/1.1 503 ") && strings.Contains(answer, "Retry-After: 1\r\n")
	})
	b.Signal(sigterm) // the clients are not waited for
	if code := b.Wait(); code != 1 {
		t.Errorf("after a second signal the exit code is %d", code)
	}
	slices.Sort(got)
	if diff := gocmp.Diff(got, documented); diff != "" {
		t.Errorf("statuses (-tried +documented):\n%s", diff)
	}
}

// oneLine reports whether the answer closes the connection and has a body of one line.
func oneLine(answer string) bool {
	header, body, _ := strings.Cut(answer, "\r\n\r\n")
	return strings.Contains(header, "close") && strings.Count(body, "\n") == 1 && strings.HasSuffix(body, "\n")
}

func ask(t *testing.T, b *brokertest.Broker, request string) string {
	t.Helper()
	c := dial(t, b)
	defer c.Close()
	if _, err := c.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(brokertest.Patience))
	var answer bytes.Buffer
	for !strings.Contains(answer.String(), "\r\n\r\n") || !whole(answer.String()) {
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		answer.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return answer.String()
}

var contentLength = regexp.MustCompile(`Content-Length: (\d+)`)

// whole reports whether an answer has come with its body.
func whole(answer string) bool {
	header, body, _ := strings.Cut(answer, "\r\n\r\n")
	m := contentLength.FindStringSubmatch(header)
	return m != nil && strconv.Itoa(len(body)) == m[1]
}

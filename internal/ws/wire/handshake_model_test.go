package wire_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// tokenBytes are those of a token (RFC 9110 5.6.2), to stand in brackets of a regular expression.
const tokenBytes = "!#$%&'*+.^_`|~0-9A-Za-z-"

var (
	namesWebSocket = regexp.MustCompile(`(^|,)[ \t]*[wW][eE][bB][sS][oO][cC][kK][eE][tT][ \t]*(,|$)`)
	namesUpgrade   = regexp.MustCompile(`(^|,)[ \t]*[uU][pP][gG][rR][aA][dD][eE][ \t]*(,|$)`)
	isKey          = regexp.MustCompile(`^[A-Za-z0-9+/]{21}[AQgw]==$`) // 16 bytes: the last 4 bits are 0
	isTokenList    = regexp.MustCompile("^[ \\t]*[" + tokenBytes + "]+[ \\t]*(,[ \\t]*[" + tokenBytes + "]+[ \\t]*)*$")
)

// modelUpgrade answers the status of a handshake by RFC 6455 4.2.1: 101, or that of the first rule it breaks. A list
// over several lines is one list (RFC 9110 5.3).
func modelUpgrade(r wire.Request) (status int) {
	list := func(field string) string { return strings.Join(r.Header[field], ",") }
	once := func(field string) string {
		if len(r.Header[field]) != 1 {
			return ""
		}
		return r.Header[field][0]
	}
	for _, rule := range []struct {
		held   bool
		status int
	}{
		{r.Method == "GET", 405},
		{r.ProtoMajor == 1 && r.ProtoMinor >= 1, 400},
		{r.Host != "", 400},
		{namesWebSocket.MatchString(list("Upgrade")), 426},
		{namesUpgrade.MatchString(list("Connection")), 426},
		{once("Sec-Websocket-Version") == "13", 426},
		{isKey.MatchString(once("Sec-Websocket-Key")), 400},
	} {
		if !rule.held {
			return rule.status
		}
	}
	return 101
}

// modelOffers answers the subprotocols that are offered, or false if their field is malformed.
func modelOffers(lines []string) (offers []string, legal bool) {
	if len(lines) == 0 {
		return nil, true
	}
	list := strings.Join(lines, ",")
	if !isTokenList.MatchString(list) {
		return nil, false
	}
	for element := range strings.SplitSeq(list, ",") {
		offers = append(offers, strings.Trim(element, " \t"))
	}
	unique := slices.Compact(slices.Sorted(slices.Values(offers)))
	return offers, len(unique) == len(offers)
}

// modelChoice picks, of all pairs of a preference and an offer that suit each other, the first by preference.
func modelChoice(preferences, offers []string) (chosen string, found bool) {
	for _, preference := range preferences {
		for _, offer := range offers {
			if !found && (preference == "*" || preference == offer) {
				chosen, found = offer, true
			}
		}
	}
	return chosen, found
}

// FuzzHandshake: a handshake is accepted or refused as the model says, and a refusal is an answer that can be sent.
func FuzzHandshake(f *testing.F) {
	f.Add("GET", 1, 1, "example.com", "websocket", "keep-alive, Upgrade", sampleKey, "13", "chat, superchat", "superchat,*")
	f.Add("POST", 1, 0, "", "h2c", "close", "AAAAAAAAAAAAAAAAAAAAAB==", "8", "a,,a", "")
	f.Add("GET", 1, 1, "h", "h2c\n WebSocket\t,x", "a\nupgrade", "AAAAAAAAAAAAAAAAAAAAAA==", "13", "a\nb,c", "c,b")
	f.Add("GET", 1, 1, "h", "webſocKet", "Upgrade", sampleKey, "13", "", "*")
	f.Fuzz(func(t *testing.T, method string, major, minor int, host, upgrade, connection, key, version, protocol, preferred string) {
		lines := func(s string) []string {
			if s == "" {
				return nil // the request has no such field
			}
			return strings.Split(s, "\n")
		}
		r := wire.Request{Method: method, ProtoMajor: major, ProtoMinor: minor, Host: host, Header: map[string][]string{
			"Upgrade": lines(upgrade), "Connection": lines(connection), "Sec-Websocket-Key": lines(key),
			"Sec-Websocket-Version": lines(version), "Sec-Websocket-Protocol": lines(protocol),
		}}
		compareUpgrade(t, r)
		compareSubprotocols(t, r, strings.Split(preferred, ","))
	})
}

func compareUpgrade(t *testing.T, r wire.Request) {
	t.Helper()
	got, refusal := wire.CheckUpgrade(r)
	status := 101
	if refusal != nil {
		checkAnswer(t, refusal)
		status = refusal.Status
	}
	if want := modelUpgrade(r); status != want || (refusal == nil) != (got != "") {
		t.Fatalf("%+v is answered with %d, %v; want %d", r, status, refusal, want)
	}
}

func compareSubprotocols(t *testing.T, r wire.Request, preferences []string) {
	t.Helper()
	offers, refusal := wire.Subprotocols(r.Header)
	want, legal := modelOffers(r.Header["Sec-Websocket-Protocol"])
	if (refusal == nil) != legal || legal && !slices.Equal(offers, want) {
		t.Fatalf("%q offers %q, %v; want %q, legal: %v", r.Header["Sec-Websocket-Protocol"], offers, refusal, want, legal)
	}
	if refusal != nil {
		checkAnswer(t, refusal)
		return
	}
	got, found := wire.ChooseSubprotocol(preferences, offers)
	if chosen, ok := modelChoice(preferences, offers); got != chosen || found != ok {
		t.Fatalf("of %q, who prefers %q chooses %q, %v; want %q, %v", offers, preferences, got, found, chosen, ok)
	}
}

package wire_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// isExtension is the grammar of RFC 6455 9.1 for one element. A quoted value is a token behind its backslashes, so
// neither "," nor ";" ever stands in one, and a list may be cut at them before anything is known of quotes.
var isExtension = func() *regexp.Regexp {
	token, space := "["+tokenBytes+"]+", `[ \t]*`
	value := "(" + token + `|"(\\?[` + tokenBytes + `])+")`
	param := space + ";" + space + token + "(" + space + "=" + space + value + ")?"
	return regexp.MustCompile("^" + space + token + "(" + param + ")*" + space + "$")
}()

// modelExtensions reads the lines of Sec-WebSocket-Extensions, or answers false if they are malformed.
func modelExtensions(lines []string) (all []wire.Extension, legal bool) {
	plain := strings.NewReplacer(" ", "", "\t", "", `"`, "", `\`, "")
	for element := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		if strings.Trim(element, " \t") == "" {
			continue
		}
		if !isExtension.MatchString(element) {
			return nil, false
		}
		words := strings.Split(plain.Replace(element), ";")
		e := wire.Extension{Name: words[0]}
		for _, word := range words[1:] {
			name, value, _ := strings.Cut(word, "=")
			e.Params = append(e.Params, wire.ExtensionParam{Name: name, Value: value})
		}
		all = append(all, e)
	}
	return all, len(all) > 0
}

// isDeflateParam is a parameter that RFC 7692 7.1 lets stand in an offer.
var isDeflateParam = regexp.MustCompile(`^((server|client)_no_context_takeover|server_max_window_bits=([89]|1[0-5])|client_max_window_bits(=([89]|1[0-5]))?)$`)

// modelDeflateOffer answers an offer's parameters by name, or false if it must be declined (RFC 7692 7).
func modelDeflateOffer(e wire.Extension) (said map[string]string, legal bool) {
	said = map[string]string{}
	for _, p := range e.Params {
		whole := p.Name
		if p.Value != "" {
			whole += "=" + p.Value
		}
		if _, twice := said[p.Name]; twice || !isDeflateParam.MatchString(whole) {
			return nil, false
		}
		said[p.Name] = p.Value
	}
	return said, e.Name == pmd
}

// modelDeflate agrees to the first legal offer. A bound that was asked for holds, and what is preferred where it is
// stricter; a client that does not say that it can be bounded is not, and none is asked for 8 bits that did not say 8.
func modelDeflate(offers []wire.Extension, preferred wire.DeflateParams) (agreed wire.DeflateParams, ok bool) {
	for _, e := range offers {
		said, legal := modelDeflateOffer(e)
		if !legal {
			continue
		}
		bits := func(name string, otherwise int) int {
			if n, err := strconv.Atoi(said[name]); err == nil {
				return n
			}
			return otherwise
		}
		_, server := said["server_no_context_takeover"]
		_, client := said["client_no_context_takeover"]
		_, boundable := said["client_max_window_bits"]
		agreed = wire.DeflateParams{
			ServerNoContextTakeover: server || preferred.ServerNoContextTakeover,
			ClientNoContextTakeover: client || preferred.ClientNoContextTakeover,
			ServerMaxWindowBits:     min(bits("server_max_window_bits", 15), preferred.ServerMaxWindowBits),
			ClientMaxWindowBits:     15,
		}
		if asked := bits("client_max_window_bits", 15); boundable {
			agreed.ClientMaxWindowBits = min(asked, max(preferred.ClientMaxWindowBits, 9))
		}
		return agreed, true
	}
	return wire.DeflateParams{}, false
}

// FuzzExtensions: offers are read and answered as the model says, and the answer is one that the client may get.
func FuzzExtensions(f *testing.F) {
	for _, line := range []string{
		pmd + "; client_max_window_bits", `a;b="\1", ,c`, pmd + "; x, " + pmd + "; server_max_window_bits=8", `a;b="`, "",
		pmd + ` ; server_max_window_bits = "\1\0";client_no_context_takeover`, pmd + "; client_max_window_bits=08, " + pmd,
	} {
		f.Add(line, "", uint8(15), uint8(15), true)
	}
	f.Fuzz(func(t *testing.T, first, second string, server, client uint8, noContext bool) {
		offers, err := extensions(first, second)
		want, legal := modelExtensions([]string{first, second})
		if (err == nil) != legal || legal && shown(offers) != shown(want) {
			t.Fatalf("%q and %q offer %q, %v; want %q, legal: %v", first, second, shown(offers), err, shown(want), legal)
		}
		if err != nil {
			if !isLine(err.Error()) || offers != nil {
				t.Errorf("%v, %v", offers, err)
			}
			return
		}
		preferences := wire.DeflateParams{
			ServerNoContextTakeover: noContext, ClientNoContextTakeover: noContext,
			ServerMaxWindowBits: 8 + int(server%8), ClientMaxWindowBits: 8 + int(client%8),
		}
		compareDeflate(t, offers, preferences)
	})
}

func compareDeflate(t *testing.T, offers []wire.Extension, preferences wire.DeflateParams) {
	t.Helper()
	agreed, answer, ok := wire.NegotiateDeflate(offers, preferences)
	want, wanted := modelDeflate(offers, preferences)
	if agreed != want || ok != wanted {
		t.Fatalf("%q with %+v agrees on %+v, %v; want %+v, %v", shown(offers), preferences, agreed, ok, want, wanted)
	}
	if ok {
		legal := slices.Clone(offers)
		legal = slices.DeleteFunc(legal, func(e wire.Extension) bool { _, ok := modelDeflateOffer(e); return !ok })
		checkAgreed(t, legal[:1], agreed, answer, preferences)
	}
}

package wire_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func extensions(lines ...string) ([]wire.Extension, error) {
	return wire.Extensions(map[string][]string{"Sec-Websocket-Extensions": lines})
}

// shown writes extensions in the one way that this test compares.
func shown(all []wire.Extension) string {
	var b strings.Builder
	for i, e := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(e.Name)
		for _, p := range e.Params {
			b.WriteString(";" + p.Name)
			if p.Value != "" {
				b.WriteString("=" + p.Value)
			}
		}
	}
	return b.String()
}

func TestExtensionOffers(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"no field":                {nil, ""},
		"one":                     {[]string{"a"}, "a"},
		"parameters":              {[]string{"a; b; c=1"}, "a;b;c=1"},
		"several":                 {[]string{"a;b, a, c"}, "a;b, a, c"},
		"over lines":              {[]string{"a;b", " c"}, "a;b, c"},
		"no white space":          {[]string{"a;b=1,c"}, "a;b=1, c"},
		"much white space":        {[]string{" \ta ;\t b = 1\t, c "}, "a;b=1, c"},
		"quoted":                  {[]string{`a; b="10"`}, "a;b=10"},
		"quoted and escaped":      {[]string{`a; b="\1\0"; c`}, "a;b=10;c"},
		"empty elements":          {[]string{", ,a,,b,"}, "a, b"},
		"empty line beside one":   {[]string{"", "a"}, "a"},
		"a name twice":            {[]string{"a;b=1;b=2"}, "a;b=1;b=2"},
		"every character allowed": {[]string{"!#$%&'*+-.^_`|~09AZaz"}, "!#$%&'*+-.^_`|~09AZaz"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := extensions(c.lines...); err != nil || shown(got) != c.want {
				t.Errorf("got %s, %v; want %s", shown(got), err, c.want)
			}
		})
	}
}

func TestExtensionGrammar(t *testing.T) {
	for line, want := range map[string]string{
		"":               "element 1 is missing",
		" , ":            "element 1 is missing",
		"a, ;b":          "element 2 lacks a token",
		"a;":             "element 1 lacks a token",
		"a; ;b":          "element 1 lacks a token",
		"a;b=":           "element 1 lacks a token",
		"a;=1":           "element 1 lacks a token",
		"a=1":            `element 1 goes on with neither ";" nor ","`,
		"a b":            `element 1 goes on with neither ";" nor ","`,
		"a;b=1 2":        `element 1 goes on with neither ";" nor ","`,
		`a;b="1`:         "element 1 has a quoted value without an end",
		`a;b="1\`:        "element 1 has a quoted value that is no token",
		`a;b="1\"`:       "element 1 has a quoted value that is no token",
		`a;b=""`:         "element 1 has a quoted value that is no token",
		`a;b="1 2"`:      "element 1 has a quoted value that is no token",
		`"a"`:            "element 1 lacks a token",
		"a;b=\"1\"2":     `element 1 goes on with neither ";" nor ","`,
		"chät":           `element 1 goes on with neither ";" nor ","`,
		"a\x00":          `element 1 goes on with neither ";" nor ","`,
		"a, b, c;d=\x7f": "element 3 lacks a token",
	} {
		if got, err := extensions(line); err == nil || err.Error() != want || got != nil {
			t.Errorf("%q: %s, %v; want %s", line, shown(got), err, want)
		}
	}
	if _, err := extensions("a", "b;"); err == nil || err.Error() != "element 2 lacks a token" {
		t.Errorf("over two lines: %v", err)
	}
}

var (
	flat  = wire.DeflateParams{ServerNoContextTakeover: true, ClientNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	takes = wire.DeflateParams{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	tiny  = wire.DeflateParams{ServerMaxWindowBits: 8, ClientMaxWindowBits: 8}
	small = wire.DeflateParams{ServerMaxWindowBits: 10, ClientMaxWindowBits: 11}
)

const (
	pmd       = "permessage-deflate"
	noContext = pmd + "; server_no_context_takeover; client_no_context_takeover"
)

func TestDeflateOfferIsAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		offer       string
		preferences wire.DeflateParams
		want        string // "" is a declined offer
	}{
		"bare, flat":           {pmd, flat, noContext},
		"bare, takes context":  {pmd, takes, pmd},
		"bare, small windows":  {pmd, small, pmd}, // the client cannot be bounded, and need not know of ours
		"what Chromium offers": {pmd + "; client_max_window_bits", flat, noContext},
		"what Firefox offers":  {pmd, flat, noContext},
		"and with a bound":     {pmd + "; client_max_window_bits", small, pmd + "; client_max_window_bits=11"},

		"no server context": {pmd + "; server_no_context_takeover", takes, pmd + "; server_no_context_takeover"},
		"no client context": {pmd + "; client_no_context_takeover", takes, pmd + "; client_no_context_takeover"},
		"neither":           {pmd + "; client_no_context_takeover; server_no_context_takeover", takes, noContext},

		"least server window":         {pmd + "; server_max_window_bits=8", takes, pmd + "; server_max_window_bits=8"},
		"greatest server window":      {pmd + "; server_max_window_bits=15", takes, pmd + "; server_max_window_bits=15"},
		"greater than preferred":      {pmd + "; server_max_window_bits=12", small, pmd + "; server_max_window_bits=10"},
		"smaller than preferred":      {pmd + "; server_max_window_bits=9", small, pmd + "; server_max_window_bits=9"},
		"quoted":                      {pmd + `; server_max_window_bits="10"`, takes, pmd + "; server_max_window_bits=10"},
		"least client window":         {pmd + "; client_max_window_bits=8", takes, pmd + "; client_max_window_bits=8"},
		"greatest client window":      {pmd + "; client_max_window_bits=15", takes, pmd},
		"client window, preferred":    {pmd + "; client_max_window_bits=15", small, pmd + "; client_max_window_bits=11"},
		"client window, below":        {pmd + "; client_max_window_bits=9", small, pmd + "; client_max_window_bits=9"},
		"8 bits, client without":      {pmd + "; client_max_window_bits", tiny, pmd + "; client_max_window_bits=9"},
		"8 bits, client with more":    {pmd + "; client_max_window_bits=10", tiny, pmd + "; client_max_window_bits=9"},
		"8 bits, client with 8":       {pmd + "; client_max_window_bits=8; server_max_window_bits=15", tiny, pmd + "; server_max_window_bits=8; client_max_window_bits=8"},
		"both windows, both contexts": {pmd + "; client_max_window_bits; server_max_window_bits=9; client_no_context_takeover; server_no_context_takeover", small, noContext + "; server_max_window_bits=9; client_max_window_bits=11"},

		"no such extension":        {"x-webkit-deflate-frame", flat, ""},
		"other case":               {"Permessage-Deflate", flat, ""},
		"unknown parameter":        {pmd + "; max_window_bits=10", flat, ""},
		"parameter in other case":  {pmd + "; Server_Max_Window_Bits=10", flat, ""},
		"context with a value":     {pmd + "; server_no_context_takeover=true", flat, ""},
		"client context, a value":  {pmd + "; client_no_context_takeover=1", flat, ""},
		"server window, no value":  {pmd + "; server_max_window_bits", flat, ""},
		"server window too small":  {pmd + "; server_max_window_bits=7", flat, ""},
		"server window too great":  {pmd + "; server_max_window_bits=16", flat, ""},
		"server window, zero":      {pmd + "; server_max_window_bits=010", flat, ""},
		"server window, sign":      {pmd + "; server_max_window_bits=+10", flat, ""},
		"server window, a word":    {pmd + "; server_max_window_bits=ten", flat, ""},
		"client window too small":  {pmd + "; client_max_window_bits=0", flat, ""},
		"client window too great":  {pmd + "; client_max_window_bits=100", flat, ""},
		"client window, zero":      {pmd + "; client_max_window_bits=08", flat, ""},
		"server context twice":     {pmd + "; server_no_context_takeover; server_no_context_takeover", flat, ""},
		"client context twice":     {pmd + "; client_no_context_takeover; client_no_context_takeover", flat, ""},
		"server window twice":      {pmd + "; server_max_window_bits=10; server_max_window_bits=10", flat, ""},
		"client window twice":      {pmd + "; client_max_window_bits; client_max_window_bits=10", flat, ""},
		"a good offer, then a bad": {pmd + ", " + pmd + "; x", flat, noContext},

		"fallback":             {pmd + "; x, " + pmd + "; server_max_window_bits=99, x-other, " + pmd + "; server_max_window_bits=9", takes, pmd + "; server_max_window_bits=9"},
		"first legal one wins": {pmd + "; server_max_window_bits=12, " + pmd, takes, pmd + "; server_max_window_bits=12"},
	} {
		t.Run(name, func(t *testing.T) {
			offers, err := extensions(c.offer)
			if err != nil {
				t.Fatal(err)
			}
			agreed, answer, ok := wire.NegotiateDeflate(offers, c.preferences)
			if answer != c.want || ok != (c.want != "") {
				t.Fatalf("got %q, want %q", answer, c.want)
			}
			if ok {
				checkAgreed(t, offers, agreed, answer, c.preferences)
			}
		})
	}
	if _, _, ok := wire.NegotiateDeflate(nil, flat); ok {
		t.Error("agreed to nothing")
	}
}

// TestEveryLegalOfferIsAnswered tries every combination of parameters, their values, orders and preferences.
func TestEveryLegalOfferIsAnswered(t *testing.T) {
	bits := []string{"", "=8", "=9", "=10", "=11", "=12", "=13", "=14", "=15"}
	for set := range 16 {
		for i := range bits {
			var params []string
			if set&1 != 0 {
				params = append(params, "; server_no_context_takeover")
			}
			if set&2 != 0 {
				params = append(params, "; client_max_window_bits"+bits[i])
			}
			if set&4 != 0 {
				params = append(params, "; client_no_context_takeover")
			}
			if set&8 != 0 {
				params = append(params, "; server_max_window_bits"+bits[max(i, 1)])
			}
			slices.Reverse(params[:min(len(params), i)])
			offers, err := extensions(pmd + strings.Join(params, ""))
			if err != nil {
				t.Fatal(err)
			}
			for _, preferences := range []wire.DeflateParams{flat, takes, small} {
				agreed, answer, ok := wire.NegotiateDeflate(offers, preferences)
				if !ok {
					t.Fatalf("declined %s", shown(offers))
				}
				checkAgreed(t, offers, agreed, answer, preferences)
			}
		}
	}
}

// checkAgreed holds an answer to what RFC 7692 7.1 asks of it, given the offers.
func checkAgreed(t testing.TB, offers []wire.Extension, agreed wire.DeflateParams, answer string, preferences wire.DeflateParams) {
	t.Helper()
	answered, err := extensions(answer)
	if err != nil || len(answered) != 1 || answered[0].Name != pmd {
		t.Fatalf("%q is no answer: %v", answer, err)
	}
	said := map[string]string{}
	for _, p := range answered[0].Params {
		if _, twice := said[p.Name]; twice {
			t.Errorf("%q says %s twice", answer, p.Name)
		}
		said[p.Name] = p.Value
	}
	_, serverNo := said["server_no_context_takeover"]
	_, clientNo := said["client_no_context_takeover"]
	if serverNo != agreed.ServerNoContextTakeover || clientNo != agreed.ClientNoContextTakeover {
		t.Errorf("%q says something else than %+v", answer, agreed)
	}
	if agreed.ServerMaxWindowBits > preferences.ServerMaxWindowBits || preferences.ServerNoContextTakeover && !serverNo || preferences.ClientNoContextTakeover && !clientNo {
		t.Errorf("%+v exceeds the preferences %+v", agreed, preferences)
	}
	if agreed.ServerMaxWindowBits < 8 || agreed.ServerMaxWindowBits > 15 || agreed.ClientMaxWindowBits < 8 || agreed.ClientMaxWindowBits > 15 {
		t.Errorf("%+v has impossible windows", agreed)
	}
	// An answer suits an offer if it answers what must be answered, and nothing that was not asked and must be.
	suits := func(e wire.Extension) bool {
		if e.Name != pmd {
			return false
		}
		asked := map[string]string{}
		for _, p := range e.Params {
			asked[p.Name] = p.Value
		}
		_, noServer := asked["server_no_context_takeover"]
		server, bounded := asked["server_max_window_bits"]
		client, boundable := asked["client_max_window_bits"]
		_, saysServer := said["server_max_window_bits"]
		_, saysClient := said["client_max_window_bits"]
		return (!noServer || serverNo) && bounded == saysServer && (boundable || !saysClient) &&
			(!bounded || atMost(said["server_max_window_bits"], server)) &&
			(!saysClient || client == "" || atMost(said["client_max_window_bits"], client))
	}
	if !slices.ContainsFunc(offers, suits) {
		t.Errorf("%q answers none of %s", answer, shown(offers))
	}
}

// atMost compares window bits: decimal numbers without leading zeros.
func atMost(a, b string) bool { return len(a) < len(b) || len(a) == len(b) && a <= b }

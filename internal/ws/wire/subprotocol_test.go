package wire_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func TestSubprotocolOffers(t *testing.T) {
	for name, c := range map[string]struct{ lines, want []string }{
		"no field":                  {nil, nil},
		"one":                       {[]string{"chat"}, []string{"chat"}},
		"in the client's order":     {[]string{"superchat, chat"}, []string{"superchat", "chat"}},
		"over several lines":        {[]string{"a ,\tb", "c"}, []string{"a", "b", "c"}},
		"names have case":           {[]string{"chat, Chat"}, []string{"chat", "Chat"}},
		"every character of tokens": {[]string{"!#$%&'*+-.^_`|~09AZaz"}, []string{"!#$%&'*+-.^_`|~09AZaz"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, refusal := wire.Subprotocols(map[string][]string{"Sec-Websocket-Protocol": c.lines})
			if refusal != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %q, %v", got, refusal)
			}
		})
	}
}

func TestSubprotocolOffersRefused(t *testing.T) {
	for name, c := range map[string]struct {
		lines []string
		text  string
	}{
		"empty field":       {[]string{""}, "element 1 is empty; each must be a token"},
		"empty element":     {[]string{"a,,b"}, "element 2 is empty; each must be a token"},
		"comma at the end":  {[]string{"a,"}, "element 2 is empty; each must be a token"},
		"empty line":        {[]string{"a", " "}, "element 2 is empty; each must be a token"},
		"space within":      {[]string{"a b"}, `element 1 contains " "; each must be a token`},
		"quoted":            {[]string{`a, "b"`}, `element 2 contains "\""; each must be a token`},
		"not ASCII":         {[]string{"chät"}, `element 1 contains "\xc3"; each must be a token`},
		"control character": {[]string{"a\x7f"}, `element 1 contains "\x7f"; each must be a token`},
		"twice":             {[]string{"a, b", "a"}, "element 3 repeats element 1; each must be unique"},
	} {
		t.Run(name, func(t *testing.T) {
			got, refusal := wire.Subprotocols(map[string][]string{"Sec-Websocket-Protocol": c.lines})
			if refusal == nil || refusal.Status != 400 || refusal.Text != "Sec-WebSocket-Protocol: "+c.text {
				t.Fatalf("got %q, %v", got, refusal)
			}
			checkAnswer(t, refusal)
		})
	}
}

func TestTokenListNeedsAnElement(t *testing.T) {
	if got, err := wire.ParseTokenList(nil); err == nil {
		t.Errorf("got %q", got)
	}
}

func TestSubprotocolRefusalRepeatsNoCredential(t *testing.T) {
	_, refusal := wire.Subprotocols(map[string][]string{"Sec-Websocket-Protocol": {"chat, bearer.secret=, bearer.secret="}})
	if refusal == nil || strings.Contains(refusal.Text, "secret") {
		t.Errorf("refusal %v", refusal)
	}
}

func TestSubprotocolIsTheServersChoice(t *testing.T) {
	for name, c := range map[string]struct {
		preferences, offers []string
		want                string
	}{
		"server's order":          {[]string{"b", "a"}, []string{"a", "b"}, "b"},
		"only what is offered":    {[]string{"c", "a"}, []string{"a", "b"}, "a"},
		"nothing suits":           {[]string{"c"}, []string{"a", "b"}, ""},
		"nothing offered":         {[]string{"a", "*"}, nil, ""},
		"server has none":         {nil, []string{"a"}, ""},
		"any: client's first":     {[]string{"*"}, []string{"b", "a"}, "b"},
		"named before any":        {[]string{"a", "*"}, []string{"b", "a"}, "a"},
		"any, as the last resort": {[]string{"c", "*"}, []string{"b", "a"}, "b"},
		"names have case":         {[]string{"Chat"}, []string{"chat"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := wire.ChooseSubprotocol(c.preferences, c.offers)
			if got != c.want || ok != (c.want != "") {
				t.Errorf("got %q, %v", got, ok)
			}
		})
	}
}

func TestHostileSubprotocolListTakesLinearTime(t *testing.T) {
	var list strings.Builder
	for i := range 200_000 { // by the square, this would take minutes
		list.WriteString(strconv.Itoa(i) + ",")
	}
	offers, refusal := wire.Subprotocols(map[string][]string{"Sec-Websocket-Protocol": {list.String() + "end"}})
	if refusal != nil || len(offers) != 200_001 {
		t.Errorf("%d offers, %v", len(offers), refusal)
	}
}

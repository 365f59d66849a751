package hub_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

const base32 = "abcdefghijklmnopqrstuvwxyz234567"

func TestIDRoundTrip(t *testing.T) {
	h, _ := node()
	seen := make(map[string]bool)
	for range 1000 {
		c, s := open(t, h, chat)
		text := c.ID().String()
		id, err := hub.ParseID(text)
		if err != nil || id != c.ID() || id.Node() != h.Node() || string(c.AppendID([]byte("x"))) != "x"+text {
			t.Fatalf("%q: %v, %v", text, id, err)
		}
		if len(text) != 27 || strings.Trim(text, base32+"-") != "" || seen[text] {
			t.Fatalf("ID %q", text)
		}
		seen[text] = true
		s.End(hub.End{})
	}
}

// Whatever is accepted is written the same way, so that one connection has one ID.
func TestParseIDAcceptsOneFormOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.RuneFrom([]rune(base32+"-18A=\né")), 20, 30, -1).Draw(t, "text")
		id, err := hub.ParseID(s)
		if err == nil && id.String() != s {
			t.Fatalf("%q is read as %q", s, id)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		part := func(n int) string { return rapid.StringOfN(rapid.RuneFrom([]rune(base32)), n, n, -1).Draw(t, "part") }
		s := part(10) + "-" + part(16)
		if id, err := hub.ParseID(s); err != nil || id.String() != s {
			t.Fatalf("%q: %v, %v", s, id, err)
		}
	})
}

func TestParseIDRejects(t *testing.T) {
	good := "aaaaaaaaaa-bbbbbbbbbbbbbbbb"
	for name, s := range map[string]string{
		"empty": "", "short": good[:26], "long": good + "b", "no dash": strings.Replace(good, "-", "a", 1),
		"moved dash": "aaaaaaaaa-bbbbbbbbbbbbbbbbb", "upper case": strings.ToUpper(good), "digit 1": good[:26] + "1",
		"digit 8 in the node": "8" + good[1:], "padding": good[:26] + "=", "line end": good[:26] + "\n",
		"carriage return": good[:25] + "\r\n", "two bytes": good[:25] + "é", "NUL": good[:26] + "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hub.ParseID(s)
			if e := wantReason(t, err, hub.InvalidConnectionID); e.Field != "connection_id" {
				t.Errorf("field %q", e.Field)
			}
		})
	}
}

func TestNodeIDsAreNew(t *testing.T) {
	seen := make(map[hub.NodeID]bool)
	for range 1000 {
		n := hub.NewNodeID()
		if !hub.ValidNodeID(string(n)) || seen[n] {
			t.Fatalf("node ID %q", n)
		}
		seen[n] = true
	}
	for _, s := range []string{"", "aaaaaaaaa", "aaaaaaaaaaa", "aaaaaaaaaA", "aaaaaaaaa1", "aaaaaaaaé"} {
		if hub.ValidNodeID(s) {
			t.Errorf("%q is valid", s)
		}
	}
}

func TestLookup(t *testing.T) {
	h, _ := node()
	c, s := open(t, h, chat)
	id := c.ID().String()
	if got, err := h.Lookup(id); got != c || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	_, err := h.Lookup("aaaaaaaaaa" + id[10:])
	wantReason(t, err, hub.ConnectionGone)
	_, err = h.Lookup(id[:11] + "aaaaaaaaaaaaaaaa")
	wantReason(t, err, hub.ConnectionNotFound)
	_, err = h.Lookup("?")
	wantReason(t, err, hub.InvalidConnectionID)
	s.End(hub.End{})
	_, err = h.Lookup(id)
	wantReason(t, err, hub.ConnectionNotFound)
	if h.Len() != 0 {
		t.Errorf("%d connections", h.Len())
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range hub.Reasons() {
		if r.String() == "" || r.String() == "ERROR_REASON_UNSPECIFIED" || seen[r.String()] {
			t.Errorf("reason %d is %q", r, r)
		}
		seen[r.String()] = true
	}
	for _, c := range hub.Causes() {
		if c.String() == "" || seen["cause "+c.String()] {
			t.Errorf("cause %d is %q", c, c)
		}
		seen["cause "+c.String()] = true
	}
	if hub.Reason(0).String() != hub.Reason(255).String() || hub.Cause(200).String() != "CAUSE_UNSPECIFIED" {
		t.Error("what does not exist has a name")
	}
}

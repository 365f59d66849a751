package bus

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

const testID = "abcdefghij-abcdefghij234567"

func TestSubjects(t *testing.T) {
	s, err := NewSubjects("acme.holdfast", "acme.in")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(s.AppendEvent(nil, "chat", hub.KindOpen, []byte(testID))), "acme.holdfast.chat.open."+testID; got != want {
		t.Errorf("event %s, want %s", got, want)
	}
	reply := string(s.AppendReply(nil, "chat", []byte(testID), hub.Text))
	if want := "acme.in.chat.reply.abcdefghij." + testID + ".t"; reply != want {
		t.Errorf("reply %s, want %s", reply, want)
	}
	if got, want := s.Replies("abcdefghij"), "acme.in.*.reply.abcdefghij.>"; got != want {
		t.Errorf("subscription %s, want %s", got, want)
	}
	for op, suffix := range map[hub.Opcode]string{hub.Text: "t", hub.Binary: "b"} {
		target, ok := s.ParseReply(string(s.AppendReply(nil, "chat", []byte(testID), op)))
		if want := (ReplyTarget{"chat", "abcdefghij", testID, op}); !ok || target != want {
			t.Errorf("%s: parsed %+v, %t", suffix, target, ok)
		}
	}
}

func TestParseReplyRefuses(t *testing.T) {
	s, _ := NewSubjects(DefaultEventPrefix, DefaultInboundPrefix)
	for _, subject := range []string{
		"", "holdfast-in", "holdfast-in.ns", "holdfast-in.ns.reply", "holdfast-in.ns.reply.node", "holdfast-in.ns.reply.node.id",
		"holdfast-in.ns.reply.node.id.x", "holdfast-in.ns.reply.node.id.t.t", "holdfast-in.ns.group.node.id.t", "holdfast.ns.reply.node.id.t",
	} {
		if target, ok := s.ParseReply(subject); ok {
			t.Errorf("%q: parsed %+v", subject, target)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for name, p := range map[string][2]string{
		"empty": {"", "in"}, "empty token": {"a..b", "in"}, "wildcard": {"a.*", "in"}, "full wildcard": {"a.>", "in"},
		"space": {"a b", "in"}, "not ASCII": {"é", "in"}, "same": {"a", "a"}, "inside": {"a", "a.in"}, "around": {"a.b", "a"},
		"system": {"$SYS", "in"}, "private": {"a", "_HOLDFAST"},
	} {
		if _, err := NewSubjects(p[0], p[1]); err == nil {
			t.Errorf("%s: %q accepted", name, p)
		}
	}
}

// Any decoder of URLs reads a header value back, and what travels is printable ASCII that no NATS
// client trims.
func TestEscapedHeaderValue(t *testing.T) {
	for in, want := range map[string]string{
		"ann": "ann", "a b": "a b", " a ": "%20a%20", "50%": "50%25", "é": "%C3%A9", "a+b": "a+b", "": "", " ": "%20", "a\x7f": "a%7F",
	} {
		if got := string(appendEscaped(nil, in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.Rune())).Draw(t, "value")
		out := string(appendEscaped(nil, in))
		back, err := url.PathUnescape(out)
		if err != nil || back != in || len(out) != escapedLen(in) {
			t.Fatalf("%q: %q, back %q, %v", in, out, back, err)
		}
		if strings.TrimSpace(out) != out || strings.ContainsFunc(out, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q travels as %q", in, out)
		}
	})
}

// hostile draws what somebody would put into a name who wants to reach another subject.
func hostile() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			"", "*", ">", ".", "a.b", "chat.>", "*.chat", "a b", "a\tb", "a\r\nPUB x 0\r\n", "a\x00", "\u0430", "$SYS", "_HOLDFAST",
			"..", "chat.group.x", "reply", "group", strings.Repeat("a", 10<<10), strings.Repeat("a.", 5<<10), "chat",
		}),
		rapid.StringMatching(`[a-z0-9_-]{1,32}`), rapid.StringMatching(`[A-Za-z0-9_=:@.*> -]{0,40}`), rapid.String(),
	)
}

// TestThreatNoNameReachesAnotherSubject: the subject of a group has the tokens that it should have and no wildcard, and
// is read back as that group and no other; whatever is read is what builds the same subject.
func TestThreatNoNameReachesAnotherSubject(t *testing.T) {
	s, err := NewSubjects(DefaultEventPrefix, DefaultInboundPrefix)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		namespace, group := hostile().Draw(t, "namespace"), hostile().Draw(t, "group")
		if subject, ok := s.Group(namespace, group); ok {
			if tokens := strings.Split(subject, "."); len(tokens) != 4 || strings.ContainsAny(subject, "*> \t\r\n\x00") {
				t.Fatalf("%q, %q: the subject is %q", namespace, group, subject)
			}
			if ns, g, ok := s.ParseGroup(subject); !ok || ns != namespace || g != group {
				t.Fatalf("%q is read as %q, %q, %t", subject, ns, g, ok)
			}
		}
		subject := DefaultInboundPrefix + "." + namespace + "." + hostile().Draw(t, "kind") + "." + group
		if ns, g, ok := s.ParseGroup(subject); ok {
			if again, ok := s.Group(ns, g); !ok || again != subject {
				t.Fatalf("%q is read as %q, %q, whose subject is %q", subject, ns, g, again)
			}
		}
		if target, ok := s.ParseReply(subject); ok {
			again := strings.Join([]string{DefaultInboundPrefix, target.Namespace, "reply", target.Node, target.ID, "t"}, ".")
			if again != subject && strings.TrimSuffix(again, "t")+"b" != subject || strings.Contains(target.ID, ".") {
				t.Fatalf("%q is read as %+v", subject, target)
			}
		}
	})
}

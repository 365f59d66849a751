package wire_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// edgeTexts stand at the edges of RFC 3629 4, with what the RFC says of them.
var edgeTexts = map[string]bool{
	"":                     true,
	"\x00":                 true,
	"\x7f":                 true,
	"\u0080":               true,
	"\u07ff":               true,
	"\u0800":               true,
	"\ud7ff":               true,
	"\ue000":               true,
	"\ufeff":               true, // a byte order mark is a character
	"\uffff":               true,
	"\U00010000":           true,
	"\U0010ffff":           true,
	"κόσμε":                true,
	"a€𝄞ü":                 true,
	"\x80":                 false, // continuation without a start
	"\xbf":                 false,
	"a\x80":                false,
	"\xc0\x80":             false, // overlong NUL
	"\xc1\xbf":             false, // overlong U+007F
	"\xe0\x80\x80":         false, // overlong
	"\xe0\x9f\xbf":         false, // overlong U+07FF
	"\xed\xa0\x80":         false, // surrogate U+D800
	"\xed\xbf\xbf":         false, // surrogate U+DFFF
	"\xf0\x80\x80\x80":     false, // overlong
	"\xf0\x8f\xbf\xbf":     false, // overlong U+FFFF
	"\xf4\x90\x80\x80":     false, // U+110000
	"\xf5\x80\x80\x80":     false,
	"\xf8\x88\x80\x80\x80": false,
	"\xfe":                 false,
	"\xff":                 false,
	"\xc2":                 false, // ends within a character
	"\xe2\x82":             false,
	"\xf0\x9d\x84":         false,
	"\xe2\x28\xa1":         false, // second byte is none
	"\xe2\x82\x28":         false,
	"\xf0\x9d\x84\x28":     false,
	"\xc3\xa4\xa4":         false,
	"ok\xed\x9f\xbf\xff":   false,
}

func TestUTF8AtEverySplit(t *testing.T) {
	for edge, valid := range edgeTexts {
		for _, text := range []string{edge, "ascii" + edge, "€" + edge, edge + "!", edge + edge, "𝄞" + edge + "€"} {
			valid := valid
			if text != edge {
				valid = utf8.ValidString(text) // what follows may break or complete it
			} else if valid != utf8.ValidString(text) {
				t.Fatalf("the table is wrong about %q", text)
			}
			for i := range len(text) + 1 {
				for j := i; j <= len(text); j++ {
					if got := validInParts(text[:i], text[i:j], text[j:]); got != valid {
						t.Fatalf("%q | %q | %q: valid is %v", text[:i], text[i:j], text[j:], got)
					}
				}
			}
			if got := validInParts(strings.Split(text, "")...); got != valid {
				t.Fatalf("%q by character: valid is %v", text, got)
			}
		}
	}
}

func validInParts(parts ...string) bool {
	var u wire.UTF8
	for _, part := range parts {
		if !u.Next([]byte(part)) {
			return false
		}
	}
	return u.Complete()
}

func TestUTF8IsRefusedAtTheFirstByteThatCannotBe(t *testing.T) {
	for text, good := range map[string]int{ // how many bytes may still become text
		"\x80": 0, "\xc0\x80": 0, "\xc1": 0, "\xf5": 0, "\xff": 0,
		"\xe0\x9f": 1, "\xed\xa0": 1, "\xf0\x8f": 1, "\xf4\x90": 1, "\xe2\x28": 1,
		"ab\xe2\x82\x28": 4, "\xf0\x9d\x84\xc0": 3, "€\xff": 3,
	} {
		var whole, alone wire.UTF8
		if !whole.Next([]byte(text[:good])) {
			t.Errorf("%q: refused too early", text[:good])
		}
		if alone.Next([]byte(text[:good+1])) || whole.Next([]byte(text[good:good+1])) {
			t.Errorf("%q: not refused at byte %d", text, good)
		}
	}
}

// FuzzUTF8: in parts as in one piece, the verdict is that of utf8.Valid; and a refusal comes only when no bytes could
// make the text good.
func FuzzUTF8(f *testing.F) {
	for text := range edgeTexts {
		f.Add([]byte(text), uint8(1), uint8(2))
	}
	f.Fuzz(func(t *testing.T, text []byte, a, b uint8) {
		cuts := []int{min(int(a), len(text)), min(int(b), len(text))}
		slices.Sort(cuts)
		var u wire.UTF8
		end := 0
		for _, to := range append(cuts, len(text)) {
			if ok := u.Next(text[end:to]); ok != mayBecomeText(text[:to]) {
				t.Fatalf("%q: Next is %v", text[:to], ok)
			} else if !ok {
				return
			}
			end = to
		}
		if u.Complete() != utf8.Valid(text) {
			t.Fatalf("%q: complete is %v", text, u.Complete())
		}
	})
}

// mayBecomeText reports whether b is text, or would be with some bytes more.
func mayBecomeText(b []byte) bool {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			return !utf8.FullRune(b)
		}
		b = b[size:]
	}
	return true
}

func BenchmarkUTF8(b *testing.B) {
	for name, text := range map[string]string{"ascii": "hello ", "mixed": "κόσμε, 𝄞 and a€ü "} {
		for _, size := range []int{128, 16 << 10} {
			b.Run(fmt.Sprintf("%s/%dB", name, size), func(b *testing.B) {
				part := []byte(strings.Repeat(text, size/len(text)))
				b.SetBytes(int64(len(part)))
				for b.Loop() {
					if u := (wire.UTF8{}); !u.Next(part) {
						b.Fatal("refused")
					}
				}
			})
		}
	}
}

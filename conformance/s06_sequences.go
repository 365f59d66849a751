package main

import (
	"encoding/hex"
	"slices"
	"strings"
)

// utf8Group are sequences of one kind.
type utf8Group struct {
	number    int
	title     string
	sequences []string
	right     []int // the valid ones, counted from 1; all if nil
	wrong     bool  // none is valid
}

func (g utf8Group) valid(i int) bool {
	return !g.wrong && (g.right == nil || slices.Contains(g.right, i+1))
}

// utf8Groups: the edges of RFC 3629's table, section 4.
func utf8Groups() []utf8Group {
	return slices.Concat(validGroups(), edgeGroups(), invalidGroups(), codePointGroups())
}

func validGroups() []utf8Group {
	return []utf8Group{
		{number: 5, title: "characters of one to four bytes", sequences: []string{
			"hello$world", "hello¢world", "hello€world", "hello𤭢world", greek,
		}},
		{number: 6, title: "text that ends anywhere", sequences: prefixes(greek), right: []int{2, 5, 7, 9, 11}},
		{number: 7, title: "first character of each length", sequences: decoded("00", "c280", "e0a080", "f0908080")},
		{number: 8, title: "first sequence of five and six bytes", sequences: decoded("f888808080", "fc8480808080"), wrong: true},
		{number: 9, title: "last character of each length", sequences: decoded("7f", "dfbf", "efbfbf", "f48fbfbf")},
		{number: 10, title: "last sequence of four, five and six bytes", sequences: decoded("f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"), wrong: true},
	}
}

func edgeGroups() []utf8Group {
	var continuations strings.Builder
	for b := 0x80; b <= 0xBF; b++ {
		continuations.WriteByte(byte(b))
	}
	return []utf8Group{
		{
			number: 11, title: "beside the surrogates and the end",
			sequences: decoded("ed9fbf", "ee8080", "efbfbd", "f48fbfbf", "f4908080"), right: []int{1, 2, 3, 4},
		},
		{number: 12, title: "continuation bytes without a start", wrong: true, sequences: append(
			decoded("80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf"), continuations.String())},
		{number: 13, title: "start bytes, each with a space behind it", wrong: true, sequences: []string{
			lonely(0xC0, 0xDF), lonely(0xE0, 0xEF), lonely(0xF0, 0xF7), lonely(0xF8, 0xFB), lonely(0xFC, 0xFD),
		}},
	}
}

func invalidGroups() []utf8Group {
	cut := decoded("c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf")
	return []utf8Group{
		{number: 14, title: "the last byte is missing", wrong: true, sequences: cut},
		{number: 15, title: "all of these together", wrong: true, sequences: []string{strings.Join(cut, "")}},
		{number: 16, title: "bytes that are in no text", wrong: true, sequences: decoded("fe", "ff", "fefeffff")},
		{number: 17, title: "\"/\" in too many bytes", wrong: true, sequences: decoded(
			"c0af", "e080af", "f08080af", "f8808080af", "fc80808080af")},
		{number: 18, title: "the last character that is in too many bytes", wrong: true, sequences: decoded(
			"c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf")},
		{number: 19, title: "NUL in too many bytes", wrong: true, sequences: decoded(
			"c080", "e08080", "f0808080", "f880808080", "fc8080808080")},
		{number: 20, title: "half a surrogate pair", wrong: true, sequences: decoded(
			"eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf")},
		{number: 21, title: "a surrogate pair", wrong: true, sequences: decoded(
			"eda080edb080", "eda080edbfbf", "edadbfedb080", "edadbfedbfbf",
			"edae80edb080", "edae80edbfbf", "edafbfedb080", "edafbfedbfbf")},
	}
}

func codePointGroups() []utf8Group {
	var nonCharacters []string
	for plane := rune(0); plane <= 0x10; plane++ {
		nonCharacters = append(nonCharacters, string(plane<<16|0xFFFE), string(plane<<16|0xFFFF))
	}
	var specials []string
	for r := rune(0xFFF9); r <= 0xFFFF; r++ {
		specials = append(specials, string(r))
	}
	return []utf8Group{
		{number: 22, title: "non-characters, which are valid", sequences: nonCharacters},
		{number: 23, title: "specials, which are valid", sequences: specials},
	}
}

func decoded(hexes ...string) (all []string) {
	for _, h := range hexes {
		b, _ := hex.DecodeString(h)
		all = append(all, string(b))
	}
	return all
}

func prefixes(s string) (all []string) {
	for n := 1; n <= len(s); n++ {
		all = append(all, s[:n])
	}
	return all
}

func lonely(from, to byte) string {
	var b strings.Builder
	for start := int(from); start <= int(to); start++ {
		b.Write([]byte{byte(start), ' '})
	}
	return b.String()
}

package wire

import "unicode/utf8"

// UTF8 checks text that arrives in parts, cut anywhere, also within a character (RFC 6455 8.1). It refuses at the
// first byte that no further bytes can make good, which a check at the end of the text would find too late. It holds
// no text. The zero UTF8 stands at the start of a text.
type UTF8 struct {
	missing   byte // how many bytes the character that was begun still lacks
	low, high byte // between which the next one of them must lie; set while missing > 0
}

// Next reports whether the text may go on with part. After false, the text is lost: so is the UTF8.
func (u *UTF8) Next(part []byte) bool {
	for u.missing > 0 && len(part) > 0 {
		if !u.step(part[0]) {
			return false
		}
		part = part[1:]
	}
	whole := len(part) - cutOff(part)
	if !utf8.Valid(part[:whole]) {
		return false
	}
	for _, b := range part[whole:] {
		if !u.step(b) {
			return false
		}
	}
	return true
}

// Complete reports whether the text may end here: no character lacks bytes.
func (u *UTF8) Complete() bool { return u.missing == 0 }

// cutOff returns the length of the character at the end of b that the cut left incomplete; 0 when there is none.
func cutOff(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if last := b[len(b)-n]; utf8.RuneStart(last) {
			if sequenceLength(last) > n {
				return n
			}
			break
		}
	}
	return 0
}

// sequenceLength returns how many bytes a character has that starts with first. For a byte that starts none the
// answer may be any: utf8.Valid or step refuses it.
func sequenceLength(first byte) int {
	switch {
	case first >= 0xF0:
		return 4
	case first >= 0xE0:
		return 3
	case first >= 0xC0:
		return 2
	}
	return 1
}

// step takes one byte of a character of several bytes, by the table of RFC 3629 4: the range of the second byte keeps out
// overlong forms, surrogates and what lies above U+10FFFF.
func (u *UTF8) step(b byte) bool {
	if u.missing > 0 {
		if b < u.low || b > u.high {
			return false
		}
		u.missing--
		u.low, u.high = 0x80, 0xBF
		return true
	}
	switch {
	case b < 0xC2, b > 0xF4: // starts no such character, but for an overlong form or one above U+10FFFF
		return false
	case b == 0xE0: // below A0: overlong
		*u = UTF8{2, 0xA0, 0xBF}
	case b == 0xED: // above 9F: surrogates
		*u = UTF8{2, 0x80, 0x9F}
	case b == 0xF0: // below 90: overlong
		*u = UTF8{3, 0x90, 0xBF}
	case b == 0xF4: // above 8F: beyond U+10FFFF
		*u = UTF8{3, 0x80, 0x8F}
	default:
		*u = UTF8{byte(sequenceLength(b) - 1), 0x80, 0xBF}
	}
	return true
}

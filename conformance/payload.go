package main

import (
	"bytes"
	"math/rand/v2"
)

// sample is text with characters of one to four bytes.
const sample = "Größe 42, κόσμε €, 𝄞 & ascii; "

// greek is a word of eleven bytes whose second character has three of them (U+1F79).
const greek = "κ\u1f79σμε"

// surrogate is greek, and then what looks like a character but is half a surrogate pair.
const surrogate = greek + "\xed\xa0\x80edited"

// textOf is valid UTF-8 of exactly n bytes, whose characters lie differently in every kind of word and fragment.
func textOf(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	b := bytes.Repeat([]byte(sample), n/len(sample)+1)
	cut := wholeRunes(b, n)
	return append(b[:cut:cut], bytes.Repeat([]byte("*"), n-cut)...)
}

// bytesOf is n bytes that are no UTF-8 and do not repeat soon.
func bytesOf(n int) []byte {
	random := rand.New(rand.NewPCG(uint64(n), 6455))
	b := make([]byte, 0, n+8)
	b = append(b, 0xFE)
	for len(b) < n {
		v := random.Uint64()
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
	}
	return b[:n]
}

// payloadOf is a payload that suits the opcode.
func payloadOf(op byte, n int) []byte {
	if op == opText {
		return textOf(n)
	}
	return bytesOf(n)
}

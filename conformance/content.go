package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
)

// contentSize is what each kind of content has at least; messages are pieces of it, in turn.
const contentSize = 512 * kib

// content is made, not copied from somewhere: the same bytes at every run.
type content struct {
	title string
	op    byte
	dense bool // it hardly gets smaller
	bytes func() []byte
}

var (
	jsonContent = content{title: "JSON", op: opText, bytes: sync.OnceValue(makeJSON)}
	contents    = []content{
		jsonContent,
		{title: "a bitmap", op: opBinary, bytes: sync.OnceValue(makeBitmap)},
		{title: "prose", op: opText, bytes: sync.OnceValue(makeProse)},
		{title: "HTML", op: opText, bytes: sync.OnceValue(makeHTML)},
		{title: "bytes that are dense already", op: opBinary, dense: true, bytes: sync.OnceValue(makeDense)},
	}
)

// piece is the n-th message of that size. Text is cut between characters and filled up.
func (c content) piece(n, size int) []byte {
	all := c.bytes()
	from := n * size % (len(all) - size)
	if c.op == opBinary {
		return all[from : from+size]
	}
	from = wholeRunes(all, from)
	to := wholeRunes(all, from+size)
	return append(bytes.Clone(all[from:to]), strings.Repeat("*", size-(to-from))...)
}

var words = strings.Fields(`der Wind über den Höhen trägt Stimmen fort und niemand fragt woher sie kamen denn Größe ist
	nicht immer laut während unten im Tal die Mühlen mahlen als wäre Zeit ein Fluss aus Korn and somewhere a clock
	strikes twelve между тем снег идёт 静かな 夜に κύματα σιγούν wenig später öffnet jemand das Fenster`)

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7692)) }

func sentence(r *rand.Rand) string {
	some := make([]string, 4+r.IntN(12))
	for i := range some {
		some[i] = words[r.IntN(len(words))]
	}
	return strings.Join(some, " ") + "."
}

func makeProse() []byte {
	var b bytes.Buffer
	for r := random(1); b.Len() < contentSize; {
		b.WriteString(sentence(r))
		b.WriteByte("    \n"[r.IntN(5)])
	}
	return b.Bytes()
}

func makeJSON() []byte {
	var b bytes.Buffer
	for r := random(2); b.Len() < contentSize; {
		fmt.Fprintf(&b, `{"id":%d,"active":%v,"score":%.4f,"tags":[%q,%q],"note":%q},`+"\n",
			r.IntN(1e6), r.IntN(2) == 0, r.Float64(), words[r.IntN(len(words))], words[r.IntN(len(words))], sentence(r))
	}
	return b.Bytes()
}

func makeHTML() []byte {
	var b bytes.Buffer
	for r := random(3); b.Len() < contentSize; {
		fmt.Fprintf(&b, "<tr class=\"row-%d\"><td>%s</td><td><a href=\"/item/%d\">%s</a></td></tr>\n",
			r.IntN(2), sentence(r), r.IntN(1e5), words[r.IntN(len(words))])
	}
	return b.Bytes()
}

// makeBitmap is a picture with smooth colours and a little noise.
func makeBitmap() []byte {
	const width = 512
	var b bytes.Buffer
	r := random(4)
	for y := 0; b.Len() < contentSize; y++ {
		for x := range width {
			b.Write([]byte{byte(x/2 + r.IntN(3)), byte(y / 2), byte((x + y) / 4)})
		}
	}
	return b.Bytes()
}

func makeDense() []byte {
	b := make([]byte, 0, contentSize)
	for r := random(5); len(b) < contentSize; {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b
}

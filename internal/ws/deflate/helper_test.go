package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// params are parameters with these windows; context is whether both sides take it over.
func params(serverBits, clientBits int, context bool) wire.DeflateParams {
	return wire.DeflateParams{
		ServerNoContextTakeover: !context, ClientNoContextTakeover: !context,
		ServerMaxWindowBits: serverBits, ClientMaxWindowBits: clientBits,
	}
}

// swapped are the parameters by which the other side acts.
func swapped(p wire.DeflateParams) wire.DeflateParams {
	return wire.DeflateParams{
		ServerNoContextTakeover: p.ClientNoContextTakeover, ClientNoContextTakeover: p.ServerNoContextTakeover,
		ServerMaxWindowBits: p.ClientMaxWindowBits, ClientMaxWindowBits: p.ServerMaxWindowBits,
	}
}

func mustOpen(t testing.TB, p *Pool, agreed wire.DeflateParams, level int) *Session {
	t.Helper()
	s, ok := p.Open(agreed, level)
	if !ok {
		t.Fatal("no room for a session")
	}
	t.Cleanup(s.Close)
	return s
}

func mustInflate(t testing.TB, s *Session, payload []byte) []byte {
	t.Helper()
	message, fault := s.Inflate(payload, Message{})
	if fault != nil {
		t.Fatalf("%v in %x", fault, payload[:min(len(payload), 100)])
	}
	return message
}

// document is text as backends send it.
func document(random *rand.Rand, size int) []byte {
	words := []string{"user", "room", "message", "typing", "price", "EURUSD", "hello", "the", "quick", "offer", "online"}
	word := func() string { return words[random.IntN(len(words))] }
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintf(&b, `{"type":"%s","id":%d,"user":"%s-%d","text":"%s %s %s","time":%d.%03d},`, word(), random.IntN(1e6),
			word(), random.IntN(999), word(), word(), word(), 1_700_000_000+random.IntN(1e6), random.IntN(1000))
	}
	return b.Bytes()[:size]
}

func noise(random *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// lender counts what it lends.
type lender struct {
	t         testing.TB
	out       int
	requested int
}

func (l *lender) Get(size int) []byte {
	l.out++
	l.requested += size
	return make([]byte, 0, size)
}

func (l *lender) Put([]byte) { l.out-- }

func (l *lender) returned() {
	l.t.Helper()
	if l.out != 0 {
		l.t.Errorf("%d buffers were not given back", l.out)
	}
}

// standard inflates with the standard library, of which it knows nothing but RFC 7692 7.2.2.
func standard(payload, context []byte, limit int) (message []byte, err error) {
	in := bytes.NewReader(append(append([]byte(nil), payload...), inputTail...))
	for range maxStreams {
		window := append(append([]byte(nil), context...), message...)
		r := flate.NewReaderDict(in, window[max(0, len(window)-maxWindow):])
		more, err := io.ReadAll(io.LimitReader(r, int64(limit-len(message)+1)))
		message = append(message, more...)
		if len(message) > limit {
			return nil, errTooLong
		}
		if err != nil {
			return nil, err
		}
		if in.Len() <= len(inputTail) {
			return message, nil
		}
	}
	return nil, errors.New("too many streams")
}

// farthest reads DEFLATE data (RFC 1951) by its book, to see how far back it refers. context lies before it.
func farthest(t testing.TB, data, context []byte) (message []byte, distance int) {
	t.Helper()
	b := &bits{t: t, data: data}
	out := append([]byte(nil), context...)
	for last := false; !last; {
		last = b.take(1) == 1
		var lengths []int
		literals := 288
		switch b.take(2) {
		case 0:
			b.at = (b.at + 7) / 8 * 8
			n := b.take(16)
			b.take(16)
			for range n {
				out = append(out, byte(b.take(8)))
			}
			continue
		case 1:
			for i := range 288 + 30 {
				lengths = append(lengths, map[bool]int{true: 8, false: 9}[i < 144 || i >= 280])
				if i >= 256 && i < 280 {
					lengths[i] = 7
				} else if i >= 288 {
					lengths[i] = 5
				}
			}
		default:
			lengths, literals = b.lengths()
		}
		literal, far := codes(lengths[:literals]), codes(lengths[literals:])
		for {
			symbol := b.symbol(literal)
			if symbol == 256 {
				break
			}
			if symbol < 256 {
				out = append(out, byte(symbol))
				continue
			}
			length := 258
			if s := symbol - 257; s < 8 {
				length = s + 3
			} else if s < 28 {
				length = (4+s%4)<<(s/4-1) + 3 + b.take(s/4-1)
			}
			back := b.symbol(far)
			if back++; back > 4 {
				back = (2+(back-1)%2)<<((back-1)/2-1) + 1 + b.take((back-1)/2-1)
			}
			distance = max(distance, back)
			for range length {
				out = append(out, out[len(out)-back])
			}
		}
	}
	return out[len(context):], distance
}

// bits are read from the lowest of each byte up.
type bits struct {
	t    testing.TB
	data []byte
	at   int
}

func (b *bits) take(n int) (v int) {
	for i := range n {
		if b.at/8 >= len(b.data) {
			b.t.Fatal("DEFLATE data ends too early")
		}
		v |= int(b.data[b.at/8]>>(b.at%8)&1) << i
		b.at++
	}
	return v
}

// codes are Huffman codes (RFC 1951 3.2.2), written with a 1 before their first bit.
func codes(lengths []int) map[int]int {
	found := map[int]int{}
	code := 1
	for n := 1; n <= 15; n++ {
		code <<= 1
		for symbol, length := range lengths {
			if length == n {
				found[code] = symbol
				code++
			}
		}
	}
	// The leading 1 was shifted along: what is below is the code.
	return found
}

func (b *bits) symbol(codes map[int]int) int {
	for code := 1; ; {
		code = code<<1 | b.take(1)
		if symbol, ok := codes[code]; ok {
			return symbol
		}
		if code >= 1<<16 {
			b.t.Fatal("no such Huffman code")
		}
	}
}

// lengths reads the codes of a dynamic block (RFC 1951 3.2.7).
func (b *bits) lengths() (lengths []int, literals int) {
	literals = b.take(5) + 257
	all := literals + b.take(5) + 1
	var order [19]int
	for _, i := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:b.take(4)+4] {
		order[i] = b.take(3)
	}
	for tree := codes(order[:]); len(lengths) < all; {
		symbol, repeat, value := b.symbol(tree), 1, 0
		switch symbol {
		case 16:
			value, repeat = lengths[len(lengths)-1], 3+b.take(2)
		case 17:
			repeat = 3 + b.take(3)
		case 18:
			repeat = 11 + b.take(7)
		default:
			value = symbol
		}
		for range repeat {
			lengths = append(lengths, value)
		}
	}
	return lengths, literals
}

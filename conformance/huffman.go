package main

import "errors"

const (
	maxCodeLength = 15 // bits (RFC 1951 3.2.7)
	quickBits     = 9  // codes up to this length are found with one look
)

var errInflate = errors.New("inflate: broken data")

// huffman decodes one canonical Huffman code (RFC 1951 3.2.2).
type huffman struct {
	count  [maxCodeLength + 1]int // of codes, by length
	symbol []uint16               // in the order of their codes
	quick  [1 << quickBits]uint16 // by the next bits: symbol<<4 | length; 0: the code is longer
}

// newHuffman makes the decoder for codes of these lengths; 0 stands for a symbol that does not occur.
func newHuffman(lengths []byte) (*huffman, error) {
	h := &huffman{symbol: make([]uint16, 0, len(lengths))}
	for _, n := range lengths {
		h.count[n]++
	}
	h.count[0] = 0
	left := 1
	for n := 1; n <= maxCodeLength; n++ {
		if left = left<<1 - h.count[n]; left < 0 {
			return nil, errInflate // more codes than there can be
		}
	}
	code := 0
	for n := byte(1); n <= maxCodeLength; n++ {
		code <<= 1
		for symbol, length := range lengths {
			if length == n {
				h.symbol = append(h.symbol, uint16(symbol))
				h.remember(code, int(n), symbol)
				code++
			}
		}
	}
	return h, nil
}

// remember enters a short code for every continuation of its bits. Codes are sent from their first bit on, other
// values from their last (RFC 1951 3.1.1).
func (h *huffman) remember(code, length, symbol int) {
	if length > quickBits {
		return
	}
	reversed := 0
	for i := range length {
		reversed |= code >> i & 1 << (length - 1 - i)
	}
	for at := reversed; at < len(h.quick); at += 1 << length {
		h.quick[at] = uint16(symbol<<4 | length)
	}
}

// decode reads a symbol.
func (h *huffman) decode(in *bits) (int, error) {
	in.fill()
	if q := h.quick[in.acc&(1<<quickBits-1)]; q != 0 && uint(q&15) <= in.n {
		in.drop(uint(q & 15))
		return int(q >> 4), nil
	}
	code, first, index := 0, 0, 0
	for n := 1; n <= maxCodeLength; n++ {
		bit, err := in.take(1)
		if err != nil {
			return 0, err
		}
		code |= bit
		if code-h.count[n] < first {
			return int(h.symbol[index+code-first]), nil
		}
		index += h.count[n]
		first = (first + h.count[n]) << 1
		code <<= 1
	}
	return 0, errInflate
}

// bits reads bits from the low end of each byte.
type bits struct {
	in  []byte
	acc uint64
	n   uint // bits in acc
}

func (b *bits) fill() {
	for b.n <= 48 && len(b.in) > 0 {
		b.acc |= uint64(b.in[0]) << b.n
		b.in = b.in[1:]
		b.n += 8
	}
}

func (b *bits) drop(n uint) {
	b.acc >>= n
	b.n -= n
}

func (b *bits) take(n uint) (int, error) {
	if b.fill(); b.n < n {
		return 0, errInflate
	}
	v := int(b.acc & (1<<n - 1))
	b.drop(n)
	return v, nil
}

// empty: nothing is left.
func (b *bits) empty() bool { return b.n == 0 && len(b.in) == 0 }

package main

import (
	"fmt"
	"slices"
)

// Bases and extra bits of lengths and distances (RFC 1951 3.2.5).
var (
	lengthBase = [...]int{
		3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
	}
	lengthExtra  = [...]uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase = [...]int{
		1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
		6145, 8193, 12289, 16385, 24577,
	}
	distanceExtra = [...]uint{
		0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
	}
	// codeLengthOrder is the order in which lengths of code lengths are sent (RFC 1951 3.2.7).
	codeLengthOrder = [...]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

	fixedLiterals, fixedDistances = fixedCodes()
)

// inflater inflates what one side of a connection sends. It is written here, and not taken from a library, because it
// must see how far back the broker's compressor looks: a decoder with a window of 32 KiB forgives one that breaks the
// window it has agreed to (RFC 7692 7.1.2.1).
type inflater struct {
	window int    // bytes that may be looked back
	past   []byte // what earlier messages left, at most window bytes
	most   int    // bytes a message may have

	in  bits
	out []byte // past, and the message behind it
}

// inflate inflates a message (RFC 7692 7.2.2).
func (z *inflater) inflate(payload []byte, keep bool) ([]byte, error) {
	z.in = bits{in: append(slices.Clip(payload), 0x00, 0x00, 0xFF, 0xFF)}
	start := len(z.past)
	z.out = append(make([]byte, 0, start+4*len(payload)), z.past...)
	for !z.in.empty() {
		if err := z.block(); err != nil {
			return nil, err
		}
	}
	message := z.out[start:]
	z.past = nil
	if keep {
		z.past = z.out[max(0, len(z.out)-z.window):]
	}
	return message, nil
}

// block reads a block (RFC 1951 3.2.3). One with BFINAL ends at a byte; what follows is a new stream, as RFC 7692
// 7.2.3.4 shows.
func (z *inflater) block() error {
	final, err := z.in.take(1)
	if err != nil {
		return err
	}
	form, err := z.in.take(2)
	if err != nil {
		return err
	}
	switch form {
	case 0:
		err = z.stored()
	case 1:
		err = z.compressed(fixedLiterals, fixedDistances)
	case 2:
		err = z.dynamic()
	default:
		err = errInflate
	}
	if final == 1 {
		z.in.drop(z.in.n % 8)
	}
	return err
}

func (z *inflater) stored() error {
	z.in.drop(z.in.n % 8)
	length, err := z.in.take(16)
	if err != nil {
		return err
	}
	complement, err := z.in.take(16)
	if err != nil || length != complement^0xFFFF {
		return errInflate
	}
	for range length {
		b, err := z.in.take(8)
		if err != nil {
			return err
		}
		z.out = append(z.out, byte(b))
	}
	return nil
}

// compressed reads symbols up to the end of the block.
func (z *inflater) compressed(literals, distances *huffman) error {
	for {
		symbol, err := literals.decode(&z.in)
		switch {
		case err != nil:
			return err
		case len(z.out) > z.most:
			return fmt.Errorf("inflate: more than %d bytes", z.most)
		case symbol < 256:
			z.out = append(z.out, byte(symbol))
		case symbol == 256:
			return nil
		default:
			if err := z.repeat(symbol-257, distances); err != nil {
				return err
			}
		}
	}
}

// repeat copies what was there before.
func (z *inflater) repeat(symbol int, distances *huffman) error {
	length, err := z.extended(symbol, lengthBase[:], lengthExtra[:])
	if err != nil {
		return err
	}
	symbol, err = distances.decode(&z.in)
	if err != nil {
		return err
	}
	distance, err := z.extended(symbol, distanceBase[:], distanceExtra[:])
	switch {
	case err != nil:
		return err
	case distance > z.window:
		return fmt.Errorf("inflate: looks back %d bytes, but the window has %d", distance, z.window)
	case distance > len(z.out):
		return fmt.Errorf("inflate: looks back %d bytes, but there were %d", distance, len(z.out))
	}
	for range length {
		z.out = append(z.out, z.out[len(z.out)-distance])
	}
	return nil
}

func (z *inflater) extended(symbol int, base []int, extra []uint) (int, error) {
	if symbol >= len(base) {
		return 0, errInflate
	}
	more, err := z.in.take(extra[symbol])
	return base[symbol] + more, err
}

// dynamic reads a block that brings its codes along (RFC 1951 3.2.7).
func (z *inflater) dynamic() error {
	var counts [3]int // of literals, distances and code lengths
	for i, field := range []struct {
		bits uint
		base int
	}{{5, 257}, {5, 1}, {4, 4}} {
		n, err := z.in.take(field.bits)
		if err != nil {
			return err
		}
		counts[i] = n + field.base
	}
	var lengths [19]byte
	for _, at := range codeLengthOrder[:counts[2]] {
		n, err := z.in.take(3)
		if err != nil {
			return err
		}
		lengths[at] = byte(n)
	}
	all, err := z.codeLengths(lengths[:], counts[0]+counts[1])
	if err != nil {
		return err
	}
	literals, err := newHuffman(all[:counts[0]])
	if err != nil {
		return err
	}
	distances, err := newHuffman(all[counts[0]:])
	if err != nil {
		return err
	}
	return z.compressed(literals, distances)
}

// codeLengths reads n lengths of codes, which are themselves compressed.
func (z *inflater) codeLengths(lengths []byte, n int) ([]byte, error) {
	code, err := newHuffman(lengths)
	if err != nil {
		return nil, err
	}
	all := make([]byte, 0, n)
	for len(all) < n {
		symbol, err := code.decode(&z.in)
		if err != nil {
			return nil, err
		}
		if symbol < 16 {
			all = append(all, byte(symbol))
			continue
		}
		run := []struct {
			bits uint
			base int
		}{{2, 3}, {3, 3}, {7, 11}}[symbol-16]
		more, err := z.in.take(run.bits)
		if err != nil || len(all)+run.base+more > n || symbol == 16 && len(all) == 0 {
			return nil, errInflate
		}
		var length byte
		if symbol == 16 {
			length = all[len(all)-1]
		}
		for range run.base + more {
			all = append(all, length)
		}
	}
	return all, nil
}

// fixedCodes are those of RFC 1951 3.2.6.
func fixedCodes() (literals, distances *huffman) {
	var lengths [288]byte
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	var five [30]byte
	for i := range five {
		five[i] = 5
	}
	literals, _ = newHuffman(lengths[:])
	distances, _ = newHuffman(five[:])
	return literals, distances
}

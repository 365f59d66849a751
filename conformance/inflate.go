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

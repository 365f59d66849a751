package wire_test

import (
	"bytes"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func TestMaskIsByteForByteTheRFC(t *testing.T) {
	for size := range 100 {
		for pos := range 9 {
			got := make([]byte, size)
			want := make([]byte, size)
			for i := range got {
				got[i] = byte(i * 7)
				want[i] = got[i] ^ testMask[(pos+i)%4] // RFC 6455 5.3
			}
			if next := wire.Mask(got, testMask, pos); next != (pos+size)%4 || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes at %d: next %d, % x, want % x", size, pos, next, got, want)
			}
		}
	}
}

func TestMaskInTwoPartsIsMaskInOne(t *testing.T) {
	text := bytes.Repeat([]byte("broker"), 20)
	whole := bytes.Clone(text)
	wire.Mask(whole, testMask, 0)
	for cut := range text {
		parts := bytes.Clone(text)
		pos := wire.Mask(parts[:cut], testMask, 0)
		wire.Mask(parts[cut:], testMask, pos)
		if !bytes.Equal(parts, whole) {
			t.Fatalf("cut at %d", cut)
		}
	}
}

func BenchmarkMask(b *testing.B) {
	for name, size := range map[string]int{"16B": 16, "128B": 128, "16KiB": 16 << 10} {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				wire.Mask(buf, testMask, 1)
			}
		})
	}
}

package hub

import (
	"bytes"
	"testing"
)

// TestKeyIsBase32: what the standard library writes is read.
func TestKeyIsBase32(t *testing.T) {
	for _, k := range []key{{}, newKey(), newKey(), key(bytes.Repeat([]byte{0xff}, len(key{})))} {
		if back, ok := parseKey(k.String()); !ok || back != k {
			t.Errorf("%s is read as %x, %v, want %x", k, back, ok, k)
		}
	}
}

func BenchmarkParseID(b *testing.B) {
	text := ID{NewNodeID(), newKey()}.String()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseID(text); err != nil {
			b.Fatal(err)
		}
	}
}

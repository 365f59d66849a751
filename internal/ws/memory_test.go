package ws

import (
	"testing"
	"unsafe"
)

func TestSizedBuffersComeBack(t *testing.T) {
	b := newBuffers()
	for _, size := range []int{0, 1, 512, 513, 100_000, 4 << 20} {
		buf := b.Get(size)
		if len(buf) != 0 || cap(buf) < size {
			t.Fatalf("Get(%d) has length %d, capacity %d", size, len(buf), cap(buf))
		}
		buf = append(buf, 1)
		b.Put(buf)
		if again := b.Get(size); &again[:1][0] != &buf[0] || len(again) != 0 {
			t.Errorf("the buffer for %d bytes was not kept", size)
		}
	}
	b.Put(make([]byte, 0, 1000)) // not one of ours
	b.Put(b.Get(5 << 20))        // too large to keep
	if buf := b.Get(1000); cap(buf) != 1024 {
		t.Errorf("capacity %d", cap(buf))
	}
}

// What an idle connection takes is this and little else.
func TestConnIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 240 {
		t.Errorf("a Conn has %d bytes", size)
	}
}

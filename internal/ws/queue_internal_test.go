package ws

import (
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func BenchmarkQueue(b *testing.B) {
	m := Message{Opcode: wire.Binary, Payload: make([]byte, 128)}
	b.Run("pass", func(b *testing.B) {
		var q sendQueue
		b.ReportAllocs()
		for b.Loop() {
			q.pass(&m, nil, false)
			q.account(&q.current, -1)
			q.finish()
		}
	})
	b.Run("push and next, 100 deep", func(b *testing.B) {
		var q sendQueue
		var expired []Done
		b.ReportAllocs()
		for b.Loop() {
			for range 100 {
				q.push(&m, nil, 0, 0, false)
			}
			for q.next(0, &expired) {
				q.account(&q.current, -1)
				q.finish()
			}
		}
	})
}

package bus

import (
	"testing"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// BenchmarkPublish is one message from the core to a confirmation by a NATS server in another process,
// with nobody subscribed.
func BenchmarkPublish(b *testing.B) {
	for name, size := range map[string]int{"100B": 100, "4KiB": 4 << 10, "64KiB": 64 << 10} {
		b.Run(name, func(b *testing.B) { benchmarkPublish(b, size, false) })
	}
	b.Run("100B with user", func(b *testing.B) { benchmarkPublish(b, 100, true) })
}

func benchmarkPublish(b *testing.B, size int, user bool) {
	n := startNode(b, bustest.StartProcess(b).URL)
	c, s := n.open(b)
	if user {
		name := "ann"
		if _, err := c.Update(hub.Update{User: &name, Set: map[string]string{"room": "7"}}); err != nil {
			b.Fatal(err)
		}
	}
	payload := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for !c.Message(hub.Binary, payload) {
			<-s.room
		}
	}
	for n.bus.Stats().Publisher.OutboxEvents > 0 {
	}
}

// BenchmarkNATSAlone is the floor: nats.go with the same subject, reply and headers, reused.
func BenchmarkNATSAlone(b *testing.B) {
	nc := bustest.Dial(b, bustest.StartProcess(b).URL)
	var m message
	n := startNode(b, nc.ConnectedUrl())
	c, _ := n.open(b)
	subjects, _ := NewSubjects(DefaultEventPrefix, DefaultInboundPrefix)
	en := entry{conn: c, kind: hub.KindMessage, opcode: hub.Text, seq: 7, payload: make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		m.of(&en, subjects)
		if err := nc.PublishMsg(m.nats()); err != nil {
			b.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOutbox is what the goroutine that reads a connection pays.
func BenchmarkOutbox(b *testing.B) {
	n := startNode(b, bustest.Server(b))
	c, _ := n.open(b)
	o := newOutbox(DefaultOutboxSize)
	e := &hub.Event{Kind: hub.KindMessage, Conn: c, User: "ann", Seq: 1}
	payload := make([]byte, 100)
	batch := make([]entry, 0, batchEvents)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		o.put(e, payload)
		if i%batchEvents == 0 {
			_, batch = o.next(batch[:0], never)
			o.published(o.log.tail)
			o.release(o.log.tail)
		}
	}
}

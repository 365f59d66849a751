package bus

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// eventsOfAllKinds are entries as the outbox has them.
func eventsOfAllKinds(tb testing.TB) []entry {
	tb.Helper()
	c, _ := startNode(tb, bustest.Server(tb)).open(tb)
	meta := appendMeta(nil, &hub.Event{
		Kind: hub.KindMessage, User: "ann ✓", Attributes: []hub.Attribute{{Name: "room", Value: "7"}, {Name: "empty"}},
	})
	return []entry{
		{conn: c, kind: hub.KindOpen, seq: 1, payload: []byte(`{"id":"x"}`)},
		{conn: c, kind: hub.KindMessage, opcode: hub.Text, seq: 2, payload: []byte("hello")},
		{conn: c, kind: hub.KindMessage, opcode: hub.Binary, seq: 1 << 63, payload: []byte("\r\n\x00"), meta: meta},
		{conn: c, kind: hub.KindMessage, opcode: hub.Text, seq: 3},
		{conn: c, kind: hub.KindPong, seq: 3, payload: []byte("p")},
		{conn: c, kind: hub.KindClose, seq: 4, payload: make([]byte, 100_000)},
	}
}

// TestMessageIsTheSameBothWays: what is written without nats.go says what nats.go is given, and what nats.go reads.
func TestMessageIsTheSameBothWays(t *testing.T) {
	subjects, _ := NewSubjects(DefaultEventPrefix, DefaultInboundPrefix)
	var m message
	for _, en := range eventsOfAllKinds(t) {
		m.of(&en, subjects)
		want := m.nats()
		line, rest, _ := bytes.Cut(m.append(nil), []byte("\r\n"))
		block := rest[:m.headerLen()]
		reply := want.Reply
		if reply != "" {
			reply += " "
		}
		if text := fmt.Sprintf("HPUB %s %s%d %d", want.Subject, reply, len(block), m.size()); string(line) != text {
			t.Errorf("line %q, want %q", line, text)
		}
		header, err := nats.DecodeHeadersMsg(block)
		if err != nil || !reflect.DeepEqual(header, want.Header) {
			t.Errorf("headers %q: %v, %v, want %v", block, header, err, want.Header)
		}
		if payload := rest[len(block):]; string(payload) != string(want.Data)+"\r\n" {
			t.Errorf("payload %.20q, want %.20q", payload, want.Data)
		}
		if size := want.Size() - len(want.Subject) - len(want.Reply); m.size() != size {
			t.Errorf("size %d, nats.go counts %d", m.size(), size)
		}
	}
}

func TestMessageCostsNoAllocation(t *testing.T) {
	subjects, _ := NewSubjects(DefaultEventPrefix, DefaultInboundPrefix)
	var (
		m       message
		pending []byte
	)
	for _, en := range eventsOfAllKinds(t) {
		if n := testing.AllocsPerRun(1000, func() {
			m.of(&en, subjects)
			pending = m.append(pending[:0])
		}); n != 0 {
			t.Errorf("%s: %v allocations", en.kind, n)
		}
	}
}

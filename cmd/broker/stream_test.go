package main_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// A JetStream stream over the same subjects disturbs nobody: its acknowledgements, which NATS sends to
// the reply subject of a message event, reach no client.
func TestStreamOverTheEventsDisturbsNobody(t *testing.T) {
	b := brokertest.Start(t)
	nc := bustest.Dial(t, b.NATS)
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	addStream(t, js)
	sub := bustest.Record(t, b.NATS, "holdfast.default.message.*")
	peer := wstest.Dial(t, b.URL("/"), nil)
	for i := range 100 {
		peer.Send(wstest.Text(fmt.Sprint("message ", i)))
		if err := sub.Wait(i + 1)[i].Respond([]byte(fmt.Sprint("answer ", i))); err != nil {
			t.Fatal(err)
		}
		peer.Expect(wire.Text, fmt.Sprint("answer ", i))
	}
	awaitStream(t, js, 101) // the open event and 100 messages
}

func addStream(t *testing.T, js nats.JetStreamContext) {
	t.Helper()
	_, err := js.AddStream(&nats.StreamConfig{Name: "EVENTS", Subjects: []string{"holdfast.>"}, Storage: nats.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
}

// awaitStream waits until the stream has stored n events.
func awaitStream(t *testing.T, js nats.JetStreamContext, n uint64) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		info, err := js.StreamInfo("EVENTS")
		if err != nil {
			t.Fatal(err)
		}
		if info.State.Msgs == n {
			return
		}
		if time.Since(begin) > brokertest.Patience {
			t.Fatalf("stream has %d events, want %d", info.State.Msgs, n)
		}
	}
}

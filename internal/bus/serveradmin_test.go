package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
)

// A server that answers late is waited for when it is known that there are so many: else it would be held dead.
func TestAskWaitsForThoseThatAreKnown(t *testing.T) {
	nc := bustest.Dial(t, bustest.Server(t))
	answerer := func(after time.Duration) {
		_, err := nc.Subscribe("$SYS.REQ.SERVER.PING.VARZ", func(m *nats.Msg) {
			time.AfterFunc(after, func() { _ = m.Respond([]byte("{}")) })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, after := range []time.Duration{0, 0, 2 * adminQuiet} {
		answerer(after)
	}
	if answers, err := ask[server.Varz](t.Context(), nc, "VARZ", 3, 0); err != nil || len(answers) != 3 {
		t.Errorf("at least 3: %d answers (%v)", len(answers), err)
	}
	if answers, err := ask[server.Varz](t.Context(), nc, "VARZ", 1, 1); err != nil || len(answers) != 1 {
		t.Errorf("at most 1: %d answers (%v)", len(answers), err)
	}
}

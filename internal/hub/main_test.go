package hub_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var chat = &hub.Endpoint{Path: "/chat", Namespace: "default", MaxPause: 10 * time.Minute}

// node is a hub with its publisher.
func node() (*hub.Hub, *hubtest.Publisher) {
	p := &hubtest.Publisher{}
	return hub.New(hub.NewNodeID(), p), p
}

func open(t testing.TB, h *hub.Hub, ep *hub.Endpoint) (*hub.Conn, *hubtest.Socket) {
	t.Helper()
	c, s, err := hubtest.Open(h, ep)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// story tells events in one line: "open1 message2a close3".
func story(events []hub.Event) string {
	var words []string
	for _, e := range events {
		words = append(words, fmt.Sprintf("%s%d%s", e.Kind, e.Seq, e.Payload))
	}
	return strings.Join(words, " ")
}

// wantReason checks why something was refused.
func wantReason(t testing.TB, err error, want hub.Reason) *hub.Error {
	t.Helper()
	refusal, ok := errors.AsType[*hub.Error](err)
	if !ok || refusal.Reason != want {
		t.Fatalf("error %v, want %s", err, want)
	}
	return refusal
}

package bus

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// fakeSocket is a client connection that notes what the bus asks of it.
type fakeSocket struct {
	room  chan struct{} // has an element after Room
	state hub.SocketState
}

func newFakeSocket() *fakeSocket { return &fakeSocket{room: make(chan struct{}, 1)} }

func (s *fakeSocket) Send(*hub.Message, hub.Done) (hub.Sent, error) { return hub.Sent{}, nil }
func (s *fakeSocket) Flush()                                        {}
func (s *fakeSocket) Abandon(uint64)                                {}
func (s *fakeSocket) Ping([]byte, hub.Confirmation, hub.Done) error { return nil }
func (s *fakeSocket) Pong([]byte, hub.Confirmation, hub.Done) error { return nil }
func (s *fakeSocket) Close(uint16, string, hub.Cause, hub.Done)     {}
func (s *fakeSocket) Terminate(hub.Cause)                           {}
func (s *fakeSocket) Shed()                                         {}
func (s *fakeSocket) Rename(string)                                 {}
func (s *fakeSocket) Pause()                                        {}
func (s *fakeSocket) Resume()                                       {}
func (s *fakeSocket) State() hub.SocketState                        { return s.state }
func (s *fakeSocket) Room() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

var testEndpoint = &hub.Endpoint{
	Path: "/chat", Namespace: "default", PingEvents: true, PongEvents: true,
	EventAttributes: []string{"room", "name"}, MaxPause: time.Minute,
}

// node is a bus with a hub on it.
type node struct {
	*hub.Hub
	bus *Bus
}

// startNode connects a bus for as long as the test; change may alter its configuration.
func startNode(t testing.TB, url string, change ...func(*Config)) *node {
	t.Helper()
	c := Config{URLs: []string{url}, Name: "test", Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&c)
	}
	b, err := Connect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if b.publisher.ctx.Err() == nil { // not closed by the test
			_ = b.Close(ctx)
		}
	})
	return &node{Hub: hub.New(hub.NewNodeID(), b.Publisher()), bus: b}
}

// open makes a connection with a fake socket.
func (n *node) open(t testing.TB) (*hub.Conn, *fakeSocket) {
	t.Helper()
	s := newFakeSocket()
	c, err := n.Open(testEndpoint, &hub.Facts{URL: "/chat?room=7", Host: "example.org"}, s)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// closeBus closes within the time that a test has.
func (n *node) closeBus(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.bus.Close(ctx); err != nil {
		t.Error(err)
	}
}

// eventually waits for what no channel tells.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

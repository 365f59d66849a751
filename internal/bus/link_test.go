package bus

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// A server that accepts connections and then says nothing keeps nats.go waiting with its lock held. Metrics and
// readiness are what an operator looks at just then: they do not wait with it.
func TestStatsDoNotWaitForAServerThatSaysNothing(t *testing.T) {
	server := bustest.StartProcess(t)
	proxy := bustest.NewProxy(t, server.URL)
	n := startNode(t, proxy.URL)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	proxy.Redirect("nats://" + silent.Addr().String())
	proxy.Cut()
	for range 3 { // one for each connection to NATS
		c, err := silent.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		st := n.bus.Stats()
		if n.bus.Connected() || st.Inbound.Connected && st.Peers.Connected && st.Publisher.Connected {
			t.Errorf("connected without a server: %+v", st)
		}
		// Had they waited until nats.go gave up, it would have hung up.
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the connection ended before the answer: %v", err)
		}
	}
	proxy.Redirect(server.URL)
	proxy.Cut()
	for !n.bus.Connected() {
		time.Sleep(time.Millisecond)
	}
	if st := n.bus.Stats(); st.Inbound.Reconnects != 1 || st.Peers.Reconnects != 1 {
		t.Errorf("reconnects: %+v", st)
	}
}

// nats.go gives a connection up for good when the server ends it with an error that is none of those that it knows. A server
// that was told to take less than before says so to nobody, and ends who goes on as before in that way.
func TestConnectionThatIsLostForGoodIsTold(t *testing.T) {
	args := maxPayload(t, 1<<20)
	server := bustest.StartProcess(t, args...)
	lost := make(chan error, 8)
	tell := func(c *Config) { c.OnLost = func(err error) { lost <- err } }
	caller, callee := startPeer(t, server.URL, echo, tell), startPeer(t, server.URL, echo, tell)
	const limit = 64 << 10
	if err := os.WriteFile(args[1], fmt.Appendf(nil, "max_payload: %d\n", limit), 0o600); err != nil {
		t.Fatal(err)
	}
	server.Reload()
	eventually(t, "the server takes less", func() bool { return bustest.Dial(t, server.URL).MaxPayload() == limit })
	if got := caller.ask(t.Context(), callee.id, make([]byte, 2*limit)); !errors.Is(got.err, hub.ErrUnreachable) {
		t.Errorf("%v", got.err)
	}
	select {
	case err := <-lost:
		if !strings.Contains(err.Error(), "other nodes is lost for good: nats: Maximum Payload Violation") {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	caller.closeBus(t)
	callee.closeBus(t)
	if len(lost) > 0 {
		t.Errorf("ended in order: %v", <-lost)
	}
}

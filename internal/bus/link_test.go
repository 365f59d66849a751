package bus

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
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

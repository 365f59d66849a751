// Package bustest has what tests of the bus and of its users need: NATS servers inside the test and as
// processes that can be stopped and killed, a proxy that cuts connections, and a subscriber that
// records.
package bustest

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server starts a NATS server with JetStream inside the test, at a random port, and answers its URL. The
// options may be changed before it starts.
func Server(t testing.TB, change ...func(*server.Options)) (url string) {
	t.Helper()
	opts := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir(), MaxPayload: 8 << 20,
	}
	for _, f := range change {
		f(opts)
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	if !ns.ReadyForConnections(patience) {
		t.Fatal("bustest: NATS server not ready")
	}
	return ns.ClientURL()
}

// Dial connects an ordinary client for as long as the test.
func Dial(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	opts = append([]nats.Option{
		nats.Timeout(20 * time.Second), nats.ReconnectWait(10 * time.Millisecond), nats.MaxReconnects(-1),
	}, opts...)
	opts = append(opts, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

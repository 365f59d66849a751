package main_test

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// TestDriver tells the drivers apart by the goroutines that connections take.
func TestDriver(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is one driver")
	}
	const connections = 200
	for driver, want := range map[string]bool{"epoll": false, "portable": true} {
		b := brokertest.Start(t, "--driver="+driver)
		before := goroutines(t, b)
		for range connections {
			p := wstest.Dial(t, b.URL("/"), nil, wstest.Ping("x"))
			p.Expect(wire.Pong, "x")
		}
		// Others come and go meanwhile, so half as many tell enough.
		if more := goroutines(t, b) - before; (more >= connections/2) != want {
			t.Errorf("%s: %d goroutines more with %d connections", driver, more, connections)
		}
	}
}

func goroutines(t *testing.T, b *brokertest.Broker) int {
	t.Helper()
	n, err := strconv.Atoi(metric(t, b, "go_goroutines"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

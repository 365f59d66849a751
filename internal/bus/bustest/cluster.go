package bustest

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// StartCluster starts n servers that are one cluster, each a process.
func StartCluster(t testing.TB, n int, args ...string) []*Process {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		addresses[i] = freeAddress(t)
	}
	routes := "nats-route://" + strings.Join(addresses, ",nats-route://")
	servers := make([]*Process, n)
	for i, address := range addresses {
		servers[i] = StartProcess(t, append([]string{
			"--server_name", "s" + string(rune('1'+i)), "--cluster_name", "test",
			"--cluster", "nats://" + address, "--routes", routes,
		}, args...)...)
	}
	return servers
}

// given are the addresses that freeAddress has answered: who was promised one listens there only later.
var given sync.Map

// freeAddress is one that nobody listens on at present, and that no other caller gets.
func freeAddress(t testing.TB) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		if _, taken := given.LoadOrStore(address, true); !taken {
			return address
		}
	}
}

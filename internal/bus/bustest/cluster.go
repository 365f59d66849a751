package bustest

import (
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/reserve"
)

// StartCluster starts n servers that are one cluster, each a process.
func StartCluster(t testing.TB, n int, args ...string) []*Process {
	t.Helper()
	addresses := FreeAddresses(t, n)
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

// FreeAddresses finds addresses that nobody else gets: who was promised one listens there only later.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	addresses, err := reserve.Addresses(n)
	if err != nil {
		t.Fatal(err)
	}
	return addresses
}

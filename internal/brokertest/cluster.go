package brokertest

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/reserve"
)

// clusterPatience is longer than Patience: an election takes 4 to 9 s, and may have to be repeated.
const clusterPatience = 4 * Patience

// ClusterSecret is the secret of every Cluster.
const ClusterSecret = "0123456789abcdef0123456789abcdef"

// Cluster is brokers whose embedded NATS servers are a cluster, each with a data directory that stays.
type Cluster struct {
	// Brokers that run, or have run last.
	Brokers []*Broker

	t    testing.TB
	args [][]string // without the data directory
	dirs []string
}

// NewCluster prepares a cluster of n brokers and starts none.
func NewCluster(t testing.TB, n int, args ...string) *Cluster {
	t.Helper()
	addresses := FreeAddresses(t, n)
	c := &Cluster{t: t, Brokers: make([]*Broker, n)}
	for _, address := range addresses {
		c.dirs = append(c.dirs, filepath.Join(t.TempDir(), "data"))
		c.args = append(c.args, append(Args(t, "--cluster-name=test", "--cluster-listen="+address,
			"--cluster-routes="+strings.Join(addresses, ","), "--cluster-secret="+ClusterSecret,
		), args...))
	}
	return c
}

// FreeAddresses finds addresses that nobody else gets: routes must be known before anyone listens.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	addresses, err := reserve.Addresses(n)
	if err != nil {
		t.Fatal(err)
	}
	return addresses
}

// DataDir of a broker.
func (c *Cluster) DataDir(i int) string { return c.dirs[i] }

// Forget gives a broker that does not run a new data directory, as another machine would have.
func (c *Cluster) Forget(i int) { c.dirs[i] = filepath.Join(c.t.TempDir(), "data") }

// Begin starts brokers and does not wait.
func (c *Cluster) Begin(indices ...int) {
	c.t.Helper()
	for _, i := range indices {
		c.Brokers[i] = Begin(c.t, append(slices.Clone(c.args[i]), "--data-dir="+c.dirs[i])...)
	}
}

// Start starts brokers at once and waits until they are ready.
func (c *Cluster) Start(indices ...int) {
	c.t.Helper()
	c.Begin(indices...)
	c.Await(indices...)
}

// Await waits until brokers are ready.
func (c *Cluster) Await(indices ...int) {
	c.t.Helper()
	for _, i := range indices {
		c.Brokers[i].await(clusterPatience)
		c.Brokers[i].awaitReady()
	}
}

// Kill ends brokers as a power cut of their processes would.
func (c *Cluster) Kill(indices ...int) {
	c.t.Helper()
	for _, i := range indices {
		c.Brokers[i].Signal(syscall.SIGKILL)
	}
	for _, i := range indices {
		c.Brokers[i].Wait()
	}
}

// Stop stops brokers at once and in order; their exit codes must be 0.
func (c *Cluster) Stop(indices ...int) {
	c.t.Helper()
	for _, i := range indices {
		c.Brokers[i].Signal(syscall.SIGTERM)
	}
	for _, i := range indices {
		if code := c.Brokers[i].Wait(); code != 0 {
			c.t.Fatalf("exit code %d; stderr:\n%s", code, c.Brokers[i].Stderr())
		}
	}
}

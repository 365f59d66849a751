//go:build !linux

package ws

import "net"

// limitUnacknowledged does nothing where the kernel has no such limit: the heartbeat finds dead hosts,
// except on a connection that is not read.
func limitUnacknowledged(net.Conn, *Config) {}

// unacknowledged: unknown.
func unacknowledged(int) (acked uint64, waiting bool) { return 0, false }

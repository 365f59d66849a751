package rpc

import (
	"net"
	"sync"
	"sync/atomic"
)

// connections counts those of the control API.
type connections struct {
	most    int64 // 0: no limit
	n       atomic.Int64
	refused atomic.Uint64
}

// enter counts one that is about to be, or answers that there are enough.
func (c *connections) enter() bool {
	if n := c.n.Add(1); c.most == 0 || n <= c.most {
		return true
	}
	c.n.Add(-1)
	c.refused.Add(1)
	return false
}

// boundedListener closes connections over the limit at once. To let them wait would tell a backend nothing: this way its
// client tries another address, or later.
type boundedListener struct {
	net.Listener

	connections *connections
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.connections.enter() {
			return &boundedConn{Conn: nc, connections: l.connections}, nil
		}
		_ = nc.Close()
	}
}

// boundedConn is counted until it is closed.
type boundedConn struct {
	net.Conn

	connections *connections
	closed      sync.Once
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.closed.Do(func() { c.connections.n.Add(-1) })
	return c.Conn.Close()
}

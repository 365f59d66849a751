package bus

import (
	"context"
	"net"
	"sync"
	"time"
)

// dialer opens the sockets of one NATS connection and keeps hold of them, because nats.go may block in a
// write while it holds its lock (for 9.8 s on a stopped server, measured): then nothing but closing
// the socket under it lets anyone go on.
type dialer struct {
	ctx     context.Context
	timeout time.Duration

	mu      sync.Mutex
	current net.Conn
	isCut   bool
	lastErr error
}

func newDialer(ctx context.Context, timeout time.Duration) *dialer {
	return &dialer{ctx: ctx, timeout: timeout}
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: d.timeout}
	c, err := nd.DialContext(d.ctx, network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.lastErr = err
		return nil, err
	}
	if d.isCut {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	d.current = strictConn{c}
	return d.current, nil
}

// cut closes the socket and lets no other be opened. It may be called more than once.
func (d *dialer) cut() {
	d.mu.Lock()
	c := d.current
	d.isCut = true
	d.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

// conn is the last socket that was opened.
func (d *dialer) conn() net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current
}

// err is why the last socket could not be opened; nats.go says only "no servers available".
func (d *dialer) err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lastErr
}

// strictConn ends with its first failed write. nats.go drops the bytes of a failed write and may go on
// using the connection; a later PONG would then confirm events that never left.
type strictConn struct{ net.Conn }

// Write closes the connection when it fails.
func (c strictConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.Close()
	}
	return n, err
}

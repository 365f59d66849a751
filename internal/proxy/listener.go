package proxy

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Why a connection is refused.
const (
	Untrusted = "untrusted" // a header, or where one is required a connection, of a peer that is not trusted
	Missing   = "missing"   // a trusted peer, and no header
	Malformed = "malformed"
	Late      = "late" // the header did not come in time
)

// Reasons are all of them.
var Reasons = []string{Untrusted, Missing, Malformed, Late}

// Listener accepts connections that begin with a PROXY header. Their RemoteAddr is the client.
type Listener struct {
	net.Listener

	// Trusted are the proxies.
	Trusted Networks
	// Required refuses connections without a header. Otherwise they are taken as they are.
	Required bool
	// Timeout bounds the wait for a header.
	Timeout time.Duration
	// Refused is told of every connection that is refused, and why. It may be called by several goroutines.
	Refused func(peer net.Addr, reason string)
}

// Accept waits for the next connection. Of its header nothing is read yet: that is up to the first call of
// RemoteAddr or Read, so that a slow one holds up nobody else.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: nc, listener: l, trusted: l.Trusted.trust(nc.RemoteAddr())}
		if c.trusted || !l.Required {
			return c, nil
		}
		l.Refused(nc.RemoteAddr(), Untrusted)
		_ = nc.Close()
	}
}

// conn is a connection with a header before its first byte. Its methods are safe as those of a net.Conn, but
// for a deadline that is set before the header was read: whoever wants one calls RemoteAddr first.
type conn struct {
	net.Conn

	listener *Listener
	trusted  bool

	once   sync.Once
	client net.Addr // nil: the peer itself
	err    error    // of the header
	rest   []byte   // what was read behind it; of who reads
}

// RemoteAddr is the client's address. The first call waits for the header.
func (c *conn) RemoteAddr() net.Addr {
	c.once.Do(c.readHeader)
	if c.client != nil {
		return c.client
	}
	return c.Conn.RemoteAddr()
}

func (c *conn) Read(p []byte) (int, error) {
	c.once.Do(c.readHeader)
	if c.err != nil {
		return 0, c.err
	}
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

var errUnread = errors.New("proxy: input was read and not taken yet")

// SyscallConn implements syscall.Conn, for whoever reads the socket by its descriptor. It fails while there is
// something that they would miss.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	c.once.Do(c.readHeader)
	sc, ok := c.Conn.(syscall.Conn)
	if !ok || c.err != nil || len(c.rest) > 0 {
		return nil, errUnread
	}
	return sc.SyscallConn()
}

// CloseWrite shuts the writing side down.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// readHeader reads the header and, with it, maybe what stands behind it.
func (c *conn) readHeader() {
	_ = c.SetReadDeadline(time.Now().Add(c.listener.Timeout))
	source, reason, err := c.header()
	_ = c.SetReadDeadline(time.Time{})
	switch {
	case err != nil:
		c.err, c.rest = err, nil
		if reason != "" {
			c.listener.Refused(c.Conn.RemoteAddr(), reason)
		}
		_ = c.Close()
	case source.IsValid():
		c.client = net.TCPAddrFromAddrPort(source)
	}
}

// firstRead is room for the header of any load balancer, and for what a client sends at once behind it.
const firstRead = 512

// header answers whom the header names, or why the connection is refused. A stream that ends before it is decided
// what it was has no reason.
func (c *conn) header() (source netip.AddrPort, reason string, err error) {
	b := make([]byte, 0, firstRead)
	for {
		n, err := c.Conn.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if n > 0 {
			source, length, refusal := parse(b)
			switch {
			case errors.Is(refusal, errMissing):
				c.rest = b
				return c.without()
			case refusal != nil:
				return source, Malformed, refusal
			case length > 0 && !c.trusted:
				return source, Untrusted, errUntrusted
			case length > 0:
				c.rest = b[length:]
				return source, "", nil
			}
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return source, Late, err
		case err != nil:
			return source, "", err
		}
		if len(b) == cap(b) {
			b = append(make([]byte, 0, MaxHeader), b...)
		}
	}
}

var errUntrusted = errors.New("PROXY header of a peer that is not trusted")

// without judges a connection that has no header.
func (c *conn) without() (source netip.AddrPort, reason string, err error) {
	if c.listener.Required {
		return source, Missing, errMissing
	}
	return source, "", nil
}

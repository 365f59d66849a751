package opening

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// conn is a connection of which something may have been read: whoever reads on begins with that.
type conn struct {
	net.Conn

	unread []byte    // read and not taken yet; of who reads
	due    time.Time // for the whole head; zero: never, or the server has set it
}

func (c *conn) Read(p []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// SetReadDeadline sets no later one than the head that has begun has, the first time: a head that takes the server as
// well as us has no more time than another.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !c.due.IsZero() && (t.IsZero() || t.After(c.due)) {
		t = c.due
	}
	c.due = time.Time{}
	return c.Conn.SetReadDeadline(t)
}

var errUnread = errors.New("opening: input was read and not taken yet")

// SyscallConn implements syscall.Conn, for whoever reads the socket by its descriptor. It fails while there is
// something that they would miss.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok || len(c.unread) > 0 {
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

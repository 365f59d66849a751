package ws

import (
	"net"
	"time"
)

// Driver is how the engine learns what happens on plain sockets. TLS is always driven portably.
type Driver uint8

const (
	// DriverEpoll drives all sockets from a few goroutines, which wait in epoll: an idle connection is a descriptor and
	// its Conn. Where the system has no epoll it stands for DriverPortable.
	DriverEpoll Driver = iota
	// DriverPortable has a goroutine for each connection.
	DriverPortable
)

// String answers what the command line calls it.
func (d Driver) String() string {
	if d == DriverPortable {
		return "portable"
	}
	return "epoll"
}

// driver stands between a connection and its stream. It reads, while the connection may be read (Conn.readable), and
// gives it what it read (Conn.replay, Conn.take); it lets the writer go on when the stream has room again; and it
// brings the connection to its end (Conn.conclude) when that is over and nobody writes.
//
// There are two: polled, and portable for everything else. They differ in who waits, and in nothing that a
// connection can see.
//
// None of the methods waits. Except where it says who may call it, anyone may, at any time, also of a connection that
// has ended.
type driver interface {
	// start begins to read.
	start()
	// wake says that the connection may be read again.
	wake()
	// interrupt says that the connection is over.
	interrupt()
	// abandon gives the stream of a connection back that is over and was not started. It may be started later.
	abandon()
	// tryWrite writes what the stream takes. The writer calls it.
	tryWrite(b []byte) (int, error)
	// handOver takes the writer's duty off it: b is to be written on (Conn.pump) when the stream has room. When the stream has
	// failed (b.failed) the connection is to end (Conn.writeFailed), behind what a peer that hung up has sent.
	handOver(b *batch)
	// writerLeft says that there is no writer any more. It need only be said when the connection is over.
	writerLeft()
	// closeWrite lets the peer read what was written and then the end of the stream.
	closeWrite()
	// backlog answers how many bytes the peer's side has acknowledged so far, and whether some still wait for that;
	// nothing where that cannot be seen.
	backlog() (acked uint64, waiting bool)
	// close gives the stream back; with clean, the peer is told so where the stream can (TLS). Conn.conclude calls it.
	close(clean bool)
}

// drive makes a connection and its driver, in one piece, which owns the stream from then on.
func (e *Engine) drive(nc net.Conn) *Conn {
	if c := e.loops.adopt(nc); c != nil {
		return c
	}
	_ = nc.SetDeadline(time.Time{}) // that of the handshake
	p := &portable{stream: newStream(nc, e.buffers)}
	p.conn.driver = p
	return &p.conn
}

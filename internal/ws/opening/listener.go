package opening

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Listener stands between a net.Listener, whose connections must not be TLS, and the http.Server that serves it. It
// gives plain handshakes to the server's Handler by itself; the server accepts all other connections.
//
// The server's Handler, ReadTimeout, WriteTimeout, ConnState and ErrorLog hold for a handshake as for any other request;
// only the context of a request has no http.ServerContextKey. ConnState is called with http.StateNew before anything is
// read, and maybe once more for the same connection if the server accepts it.
type Listener struct {
	net.Listener

	Server *http.Server

	begin  sync.Once
	ended  chan struct{}
	others chan accepted // for Accept
	next   chan *conn    // for a goroutine that is idle
	idle   atomic.Int32  // those that are
	serves sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	pending map[*conn]*presence // those that are neither taken nor the server's yet; nil: no handler has seen it
}

// accepted is what Accept answers.
type accepted struct {
	conn net.Conn
	err  error
}

// Listen makes a Listener for a server.
func Listen(l net.Listener, server *http.Server) *Listener {
	return &Listener{
		Listener: l, Server: server, ended: make(chan struct{}), others: make(chan accepted), next: make(chan *conn),
		pending: make(map[*conn]*presence),
	}
}

// Accept waits for the next connection that does not begin as a plain handshake.
func (l *Listener) Accept() (net.Conn, error) {
	l.begin.Do(func() { l.serves.Go(l.accept) })
	select {
	case a := <-l.others:
		return a.conn, a.err
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

// Close ends the listener, the connections whose heads it reads, and the contexts of the requests that the handler has:
// their connections end with their answers.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.ended)
	for c, client := range l.pending {
		if client == nil {
			_ = c.Close()
		} else {
			client.cancel()
		}
	}
	return l.Listener.Close()
}

// Wait waits until a listener that was closed does nothing any more, and the last answer is sent.
func (l *Listener) Wait() { l.serves.Wait() }

// accept gives each connection to a goroutine. After an error it goes on when the server has taken that: the server waits
// then before it accepts again, or has ended.
func (l *Listener) accept() {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			if !l.leave(accepted{err: err}) {
				return
			}
			continue
		}
		c := &conn{Conn: nc}
		l.tell(c, http.StateNew)
		if !l.add(c, nil) {
			l.drop(c)
			return
		}
		select {
		case l.next <- c:
		default: // nobody is idle
			l.serves.Go(func() { l.work(c) })
		}
	}
}

// maxIdle is how many goroutines wait for the next connection. A new one would have to grow its stack first, which is a
// twentieth of what a handshake takes.
const maxIdle = 16

// work serves one connection after the other.
func (l *Listener) work(c *conn) {
	for c != nil {
		l.serve(c)
		c = l.await()
	}
}

// await answers the next connection; nil: there is none, or there are others who wait for it.
func (l *Listener) await() *conn {
	defer l.idle.Add(-1)
	if l.idle.Add(1) > maxIdle {
		return nil
	}
	select {
	case c := <-l.next:
		return c
	case <-l.ended:
		return nil
	}
}

// leave gives the server what it is to accept; false if it accepts nothing any more.
func (l *Listener) leave(a accepted) bool {
	select {
	case l.others <- a:
		return true
	case <-l.ended:
		return false
	}
}

// add counts a connection, or says who waits for its answer; false if the listener is closed.
func (l *Listener) add(c *conn, client *presence) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.pending[c] = client
	}
	return !l.closed
}

// release: from now on others own the connection.
func (l *Listener) release(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, c)
}

func (l *Listener) drop(c *conn) {
	l.release(c)
	_ = c.Close()
	l.tell(c, http.StateClosed)
}

func (l *Listener) tell(c *conn, s http.ConnState) {
	if l.Server.ConnState != nil {
		l.Server.ConnState(c, s)
	}
}

// maxHead is the longest head that is read here, in bytes: a browser's, with some cookies.
const maxHead = 4 << 10

var buffers = sync.Pool{New: func() any { return new([maxHead]byte) }}

// serve reads a head, and lets the handler answer it, or the server read it again.
func (l *Listener) serve(c *conn) {
	_ = c.RemoteAddr() // waits for a PROXY header, which has a time of its own
	if l.Server.ReadTimeout > 0 {
		c.due = time.Now().Add(l.Server.ReadTimeout)
		_ = c.Conn.SetReadDeadline(c.due)
	}
	buf := buffers.Get().(*[maxHead]byte)
	defer buffers.Put(buf)
	for n := 0; ; {
		more, err := c.Read(buf[n:])
		n += more
		h, length, plain := wire.ParseHead(buf[:n])
		if length > 0 {
			if r := request(&h); r != nil {
				l.answer(c, r, buf[length:n])
				return
			}
			plain = false
		}
		switch {
		case n > 0 && (!plain || errors.Is(err, io.EOF)), n == len(buf):
			l.handOver(c, buf[:n])
			return
		case err != nil:
			l.drop(c)
			return
		}
	}
}

// handOver leaves a connection to the server, with what was read of it.
func (l *Listener) handOver(c *conn, read []byte) {
	c.unread = bytes.Clone(read)
	l.release(c)
	if !l.leave(accepted{conn: c}) {
		l.drop(c)
	}
}

// answer has the handler answer a handshake, with what came behind it. A connection that it does not take ends with
// the answer.
func (l *Listener) answer(c *conn, r *http.Request, early []byte) {
	client := newPresence(c.Conn)
	if !l.add(c, client) {
		client.end()
		l.drop(c)
		return
	}
	a := &answerWriter{listener: l, conn: c, early: early, client: client}
	defer func() {
		if v := recover(); v != nil && l.Server.ErrorLog != nil {
			l.Server.ErrorLog.Printf("http: panic serving %v: %v\n%s", r.RemoteAddr, v, debug.Stack())
		}
		client.end()
		if !a.taken {
			l.drop(c)
		}
	}()
	r.RemoteAddr = c.RemoteAddr().String()
	l.Server.Handler.ServeHTTP(a, r.WithContext(client))
	a.send()
}

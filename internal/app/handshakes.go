package app

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// handshakes bounds the connections that are no WebSockets, or none yet: each holds a goroutine, buffers of
// net/http and as much of a header as came. At the bound nobody is accepted until one has ended; one that
// takes long makes room for a newcomer, or a few clients who say nothing could keep everybody out.
type handshakes struct {
	most  int           // 0: no limit
	grace time.Duration // none is ended before
	cut   func()        // called for each that was ended

	mu    sync.Mutex
	begun list.List // of handshake, the oldest first
	of    map[net.Conn]*list.Element
	left  chan struct{} // closed and replaced when one has ended; nil: nobody waits
}

type handshake struct {
	conn net.Conn
	at   time.Time
}

// track is an http.Server's ConnState. Whoever accepts calls it for a new connection, and waits; it may be told twice.
func (h *handshakes) track(conn net.Conn, state http.ConnState) {
	if h.most == 0 {
		return
	}
	switch state {
	case http.StateNew:
		for left := h.enter(conn); left != nil; left = h.enter(conn) {
			h.wait(left)
		}
	case http.StateHijacked, http.StateClosed:
		h.leave(conn)
	case http.StateActive, http.StateIdle:
	}
}

// enter counts a connection, or answers what is closed when it is worth another try.
func (h *handshakes) enter(conn net.Conn) (left <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[conn] != nil {
		return nil
	}
	if h.begun.Len() >= h.most && !h.cutOldest() {
		if h.left == nil {
			h.left = make(chan struct{})
		}
		return h.left
	}
	if h.of == nil {
		h.of = make(map[net.Conn]*list.Element)
	}
	h.of[conn] = h.begun.PushBack(handshake{conn, time.Now()})
	return nil
}

// wait waits until one has left, or the oldest may be ended.
func (h *handshakes) wait(left <-chan struct{}) {
	h.mu.Lock()
	due := time.Duration(0)
	if oldest := h.begun.Front(); oldest != nil {
		due = time.Until(oldest.Value.(handshake).at.Add(h.grace))
	}
	h.mu.Unlock()
	timer := time.NewTimer(due)
	defer timer.Stop()
	select {
	case <-left:
	case <-timer.C:
	}
}

// cutOldest ends the connection that has taken longest, if it had its time, and reports whether it did.
func (h *handshakes) cutOldest() bool {
	oldest := h.begun.Front()
	begun := oldest.Value.(handshake)
	if time.Since(begun.at) < h.grace {
		return false
	}
	h.remove(oldest)
	raw := begun.conn
	if secure, ok := raw.(*tls.Conn); ok {
		raw = secure.NetConn() // without the alert, for which a client would be waited for
	}
	_ = raw.Close()
	h.cut()
	return true
}

func (h *handshakes) leave(conn net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e, ok := h.of[conn]; ok {
		h.remove(e)
	}
}

func (h *handshakes) remove(e *list.Element) {
	delete(h.of, h.begun.Remove(e).(handshake).conn)
	if h.left != nil {
		close(h.left)
		h.left = nil
	}
}

// unfinished bounds the handshakes of all listeners as the settings say.
func (e *edge) unfinished(c Clients) *handshakes {
	return &handshakes{
		most: c.Handshakes, grace: time.Duration(c.HandshakeTimeout) / 4,
		cut: func() {
			e.refused.add("unfinished")
			e.enough.add("handshakes_full")
		},
	}
}

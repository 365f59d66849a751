// Package hubtest has a Socket and a Publisher for tests: they record what the core asks of them, and
// answer as they are told. Nothing in them happens by itself or takes time.
package hubtest

import (
	"slices"
	"sync"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Control is one ping or pong that a Socket was given.
type Control struct {
	Ping         bool
	Payload      []byte
	Confirmation hub.Confirmation
}

// Close is one call of Socket.Close.
type Close struct {
	Code   uint16
	Reason string
	Cause  hub.Cause
}

// Record is what a Socket was asked so far.
type Record struct {
	Messages   []hub.Message
	Controls   []Control
	Closes     []Close
	Abandoned  []uint64
	Terminated []hub.Cause
	Pauses     int
	Resumes    int
	Rooms      int
	Users      []string // whose it became, one after the other
	Later      int      // messages that wait for Flush
	Waiting    int      // confirmations not yet settled
}

// Socket is a hub.Socket. Its zero value takes everything, confirms nothing, and is closed by nobody
// but End.
type Socket struct {
	// Discard does not record messages: for benchmarks. To be set before the socket is used.
	Discard bool
	// AnswerClose ends the connection within Close, as if the peer had echoed the close frame at once.
	// To be set before the socket is used.
	AnswerClose bool

	mu         sync.Mutex
	changed    sync.Cond // initialised on first use
	conn       *hub.Conn
	record     Record
	state      hub.SocketState
	refusal    error
	waiting    []hub.Done // of messages, pings and pongs
	written    []hub.Done // of close frames
	fragments  uint64     // messages in fragments so far; the number of the last
	unfinished hub.Message
}

// Open opens a connection of that endpoint with a socket of its own.
func Open(h *hub.Hub, ep *hub.Endpoint) (*hub.Conn, *Socket, error) {
	s := &Socket{}
	c, err := s.Open(h, ep)
	return c, s, err
}

// Open opens a connection with this socket.
func (s *Socket) Open(h *hub.Hub, ep *hub.Endpoint) (*hub.Conn, error) {
	c, err := h.Open(ep, &hub.Facts{URL: ep.Path, Host: "test"}, s)
	s.change(func() { s.conn = c })
	return c, err
}

// OpenAs opens an expected connection with this socket.
func (s *Socket) OpenAs(p *hub.Pending, i *hub.Identity) (*hub.Conn, error) {
	c, err := p.Open(&hub.Facts{Host: "test"}, i, s)
	s.change(func() { s.conn = c })
	return c, err
}

// change makes a change and wakes everyone in Until.
func (s *Socket) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed.L == nil {
		s.changed.L = &s.mu
	}
	f()
	s.changed.Broadcast()
}

// Record is what the socket was asked so far.
func (s *Socket) Record() Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.recordLocked()
}

func (s *Socket) recordLocked() Record {
	r := s.record
	r.Messages = slices.Clone(r.Messages)
	r.Waiting = len(s.waiting)
	return r
}

// Until waits until what was asked of the socket satisfies the condition.
func (s *Socket) Until(condition func(Record) bool) Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed.L == nil {
		s.changed.L = &s.mu
	}
	for {
		if r := s.recordLocked(); condition(r) {
			return r
		}
		s.changed.Wait()
	}
}

// Refuse makes Send, Ping and Pong fail with that error; nil takes it back.
func (s *Socket) Refuse(err error) { s.change(func() { s.refusal = err }) }

// SetState changes what State answers.
func (s *Socket) SetState(f func(*hub.SocketState)) { s.change(func() { f(&s.state) }) }

// Confirm settles every confirmation that is waited for, oldest first, and answers how many.
func (s *Socket) Confirm(o hub.Outcome) int {
	var done []hub.Done
	s.change(func() { done, s.waiting = s.waiting, nil })
	for _, d := range done {
		d(o)
	}
	return len(done)
}

// CloseWritten settles the confirmations of close frames.
func (s *Socket) CloseWritten(o hub.Outcome) {
	var done []hub.Done
	s.change(func() { done, s.written = s.written, nil })
	for _, d := range done {
		d(o)
	}
}

// End ends the connection like that, as a socket does once.
func (s *Socket) End(end hub.End) {
	s.change(func() { s.state.Closing = true })
	s.CloseWritten(hub.Outcome{Err: hub.ErrClosing})
	s.Confirm(hub.Outcome{Err: hub.ErrNotConfirmed})
	s.conn.Closed(end)
}

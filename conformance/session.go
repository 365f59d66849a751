package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// session is one case at work.
type session struct {
	ctx     context.Context
	client  *client
	backend *backend

	began  time.Time
	log    []string // the behaviour: what was sent and what came, when
	lax    []string // what the RFC permits and a strict peer would not do
	peeked *event
	ahead  map[string]<-chan struct{} // messages that the backend is to get, by payload
}

func (s *session) note(format string, args ...any) {
	at := time.Since(s.began).Round(100 * time.Microsecond)
	s.log = append(s.log, fmt.Sprintf("%10s  ", at)+fmt.Sprintf(format, args...))
}

// permitted notes something that makes the result non-strict.
func (s *session) permitted(format string, args ...any) {
	s.lax = append(s.lax, fmt.Sprintf(format, args...))
}

// next waits for the next thing that the broker does.
func (s *session) next() (event, error) {
	if e, ok := s.poll(0); ok {
		return e, nil
	}
	return event{}, fmt.Errorf("nothing came for %s", time.Since(s.began).Round(time.Second))
}

// poll waits at most so long; 0: as long as the case may take.
func (s *session) poll(wait time.Duration) (event, bool) {
	if s.peeked != nil {
		e := *s.peeked
		s.peeked = nil
		return e, true
	}
	var late <-chan time.Time
	if wait > 0 {
		late = time.After(wait)
	}
	select {
	case e := <-s.client.events:
		s.note("broker: %v", e)
		return e, true
	case <-late:
	case <-s.ctx.Done():
	}
	return event{}, false
}

// unread puts an event back.
func (s *session) unread(e event) { s.peeked = &e }

// send sends frames in writes of chop bytes; 0 for one write. That the broker has hung up meanwhile is for the next
// expectation to judge.
func (s *session) send(chop int, frames ...frame) error {
	var out []byte
	for _, f := range frames {
		out = f.append(out)
	}
	s.noteFrames(frames, chop)
	if err := s.client.send(out, chop); err != nil {
		s.note("client: could not send: %v", err)
	}
	return nil
}

func (s *session) noteFrames(frames []frame, chop int) {
	const enough = 8
	var shown []string
	for i, f := range frames {
		if i == enough {
			shown = append(shown, fmt.Sprintf("… %d frames in all", len(frames)))
			break
		}
		shown = append(shown, f.String())
	}
	how := ""
	if chop > 0 {
		how = fmt.Sprintf(" in writes of %d bytes", chop)
	}
	s.note("client: %s%s", strings.Join(shown, ", "), how)
}

package hubtest

import (
	"slices"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Send implements hub.Socket.
func (s *Socket) Send(m *hub.Message, done hub.Done) (sent hub.Sent, err error) {
	s.change(func() {
		if err = s.refusedLocked(); err != nil {
			return
		}
		if sent.Fragment, err = s.fragmentLocked(m); err != nil {
			return
		}
		if !s.Discard {
			s.record.Messages = append(s.record.Messages, *m)
			s.state.Buffered += uint64(len(m.Payload))
		}
		s.state.MessagesOut++
		s.state.BytesOut += uint64(len(m.Payload))
		sent.Buffered = s.state.Buffered
		if m.Later && !m.More && m.Fragment == 0 {
			s.record.Later++
			sent.Waits = s.record.Later == 1
		} else {
			s.record.Later = 0
		}
		s.waitLocked(m.Confirmation, done)
	})
	return sent, err
}

func (s *Socket) refusedLocked() error {
	if s.refusal != nil {
		return s.refusal
	}
	if s.state.Closing {
		return hub.ErrClosing
	}
	return nil
}

func (s *Socket) waitLocked(c hub.Confirmation, done hub.Done) {
	if c != hub.Queued {
		s.waiting = append(s.waiting, done)
	}
}

// fragmentLocked answers the number of the message that m leaves unfinished.
func (s *Socket) fragmentLocked(m *hub.Message) (uint64, error) {
	if m.Fragment != 0 && (m.Fragment != s.unfinished.Fragment || m.Opcode != s.unfinished.Opcode) {
		return 0, hub.Invalid(hub.InvalidFragment, "message.fragment_id", "another", "an unfinished message of this connection")
	}
	switch {
	case m.More && m.Fragment == 0:
		s.fragments++
		s.unfinished = hub.Message{Fragment: s.fragments, Opcode: m.Opcode}
	case !m.More && m.Fragment != 0:
		s.unfinished = hub.Message{}
	}
	if m.More {
		return s.unfinished.Fragment, nil
	}
	return 0, nil
}

// Forget drops the unfinished message, as an expired one is dropped from a queue.
func (s *Socket) Forget() { s.change(func() { s.unfinished = hub.Message{} }) }

// Flush implements hub.Socket.
func (s *Socket) Flush() { s.change(func() { s.record.Later = 0 }) }

// Abandon implements hub.Socket.
func (s *Socket) Abandon(fragment uint64) {
	s.change(func() {
		s.record.Abandoned = append(s.record.Abandoned, fragment)
		if fragment == s.unfinished.Fragment {
			s.closeLocked(Close{1011, "message abandoned", hub.CauseMessageAbandoned})
		}
	})
}

// Ping implements hub.Socket.
func (s *Socket) Ping(payload []byte, c hub.Confirmation, done hub.Done) error {
	return s.control(Control{true, payload, c}, done)
}

// Pong implements hub.Socket.
func (s *Socket) Pong(payload []byte, c hub.Confirmation, done hub.Done) error {
	return s.control(Control{false, payload, c}, done)
}

func (s *Socket) control(c Control, done hub.Done) (err error) {
	s.change(func() {
		if err = s.refusedLocked(); err == nil {
			c.Payload = slices.Clone(c.Payload)
			s.record.Controls = append(s.record.Controls, c)
			s.waitLocked(c.Confirmation, done)
		}
	})
	return err
}

// Close implements hub.Socket.
func (s *Socket) Close(code uint16, reason string, cause hub.Cause, written hub.Done) {
	first := false
	s.change(func() {
		first = !s.state.Closing
		s.closeLocked(Close{code, reason, cause})
		if written != nil {
			s.written = append(s.written, written)
		}
	})
	if first && s.AnswerClose {
		s.CloseWritten(hub.Outcome{})
		s.End(hub.End{Code: code, Reason: reason, SentCode: code, SentReason: reason, WasClean: true, Cause: cause})
	}
}

func (s *Socket) closeLocked(c Close) {
	s.record.Closes = append(s.record.Closes, c)
	s.state.Closing = true
}

// Terminate implements hub.Socket: it ends the connection at once.
func (s *Socket) Terminate(cause hub.Cause) {
	s.change(func() { s.record.Terminated = append(s.record.Terminated, cause) })
	s.End(hub.End{Code: 1006, Cause: cause})
}

// Shed implements hub.Socket: what waits is dropped.
func (s *Socket) Shed() {
	s.change(func() {
		s.state.Buffered, s.state.Unfinished = 0, 0
		s.closeLocked(Close{Code: 1013, Cause: hub.CauseSlowConsumer})
	})
}

// Pause implements hub.Socket.
func (s *Socket) Pause() { s.change(func() { s.record.Pauses++; s.state.Paused = true }) }

// Resume implements hub.Socket.
func (s *Socket) Resume() { s.change(func() { s.record.Resumes++; s.state.Paused = false }) }

// Rename implements hub.Socket.
func (s *Socket) Rename(user string) {
	s.change(func() { s.record.Users = append(s.record.Users, user) })
}

// Room implements hub.Socket.
func (s *Socket) Room() { s.change(func() { s.record.Rooms++ }) }

// State implements hub.Socket.
func (s *Socket) State() hub.SocketState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

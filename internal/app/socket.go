package app

import (
	"context"
	"errors"
	"log/slog"
	"strconv"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// socket fits a *ws.Conn to what the hub asks of a socket, and the hub's connection to what ws tells.
type socket struct {
	ws    *ws.Conn
	conn  *hub.Conn
	at    *endpoint
	place *place
}

var (
	_ hub.Socket = (*socket)(nil)
	_ ws.Handler = (*socket)(nil)
)

var drivers = map[string]ws.Driver{"epoll": ws.DriverEpoll, "portable": ws.DriverPortable}

func (s *socket) OnMessage(op wire.Opcode, p []byte) bool { return s.conn.Message(hub.Opcode(op), p) }
func (s *socket) OnPing(p []byte) bool                    { return s.conn.Ping(p) }
func (s *socket) OnPong(p []byte) bool                    { return s.conn.Pong(p) }
func (s *socket) OnWritable()                             { s.conn.Writable() }

func (s *socket) OnClose(e ws.End) {
	s.place.leave() // whoever has seen the close event finds the place free
	end := endOf(e)
	s.logEnd(end)
	s.conn.Closed(end)
}

// logEnd says how a connection ended: a broken protocol is worth a line, the rest is for debugging.
func (s *socket) logEnd(e hub.End) {
	level, text := slog.LevelDebug, "connection closed"
	if e.Fault != "" {
		level, text = slog.LevelInfo, "client broke the protocol"
	}
	if ctx := context.Background(); s.at.log.Enabled(ctx, level) {
		s.at.log.Log(ctx, level, text, "connection", s.conn.ID().String(), "cause", e.Cause.String(),
			"fault", e.Fault, "code", e.Code, "sent_code", e.SentCode, "detail", e.Detail)
	}
}

func (s *socket) Send(m *hub.Message, done hub.Done) (hub.Sent, error) {
	sent, err := s.ws.Send(&ws.Message{
		Opcode: wire.Opcode(m.Opcode), Payload: m.Payload, More: m.More, Fragment: m.Fragment,
		Compress: m.Compress, Confirmation: ws.Confirmation(m.Confirmation), ExpireAfter: m.ExpireAfter,
		Shared: sharedOf(m), Later: m.Later, Lent: m.Lent,
	}, doneOf(done))
	if err != nil {
		return hub.Sent{}, s.refusal(err, len(m.Payload))
	}
	return hub.Sent{Buffered: uint64(sent.Buffered), Fragment: sent.Fragment, Waits: sent.Waits}, nil
}

func (s *socket) Flush() { s.ws.Flush() }

// sharedOf frames a message that goes to many sockets, once.
func sharedOf(m *hub.Message) *ws.Shared {
	if m.Prepared == nil || m.More || m.Fragment != 0 {
		return nil
	}
	return m.Prepared.Value(func() any { return ws.NewShared(wire.Opcode(m.Opcode), m.Payload) }).(*ws.Shared)
}

func (s *socket) Abandon(fragment uint64) { s.ws.Abandon(fragment) }

func (s *socket) Ping(p []byte, c hub.Confirmation, done hub.Done) error {
	return s.refusal(s.ws.Ping(p, ws.Confirmation(c), doneOf(done)), len(p))
}

func (s *socket) Pong(p []byte, c hub.Confirmation, done hub.Done) error {
	return s.refusal(s.ws.Pong(p, ws.Confirmation(c), doneOf(done)), len(p))
}

func (s *socket) Close(code uint16, reason string, cause hub.Cause, written hub.Done) {
	s.ws.Close(code, reason, uint8(cause), doneOf(written))
}

func (s *socket) Terminate(cause hub.Cause) { s.ws.Terminate(uint8(cause)) }
func (s *socket) Shed()                     { s.ws.Shed("broker is short of memory") }
func (s *socket) Pause()                    { s.ws.Hold(ws.HoldPaused) }
func (s *socket) Resume()                   { s.ws.Release(ws.HoldPaused) }
func (s *socket) Room()                     { s.ws.Release(ws.HoldBusy | ws.HoldOpening) }
func (s *socket) Rename(user string)        { s.place.rename(user) }

func (s *socket) State() hub.SocketState {
	st := s.ws.State()
	return hub.SocketState{
		Closing: st.Closing, Paused: st.Held&ws.HoldPaused != 0, Buffered: uint64(st.Buffered),
		Unfinished: uint64(st.Unfinished),
		RTT:        st.RTT, MessagesOut: st.MessagesOut, BytesOut: st.BytesOut,
	}
}

func doneOf(done hub.Done) ws.Done {
	if done == nil {
		return nil
	}
	return func(o ws.Outcome) { done(hub.Outcome{Err: outcomeOf(o.Err), RTT: o.RTT}) }
}

func outcomeOf(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ws.ErrExpired):
		return hub.ErrExpired
	case errors.Is(err, ws.ErrQueueFull):
		return hub.ErrQueueFull
	case errors.Is(err, ws.ErrNotConfirmed):
		return hub.ErrNotConfirmed
	}
	return hub.ErrClosing
}

// refusal says in the hub's words why a socket did not take something.
func (s *socket) refusal(err error, size int) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ws.ErrQueueFull):
		return hub.ErrQueueFull
	case errors.Is(err, ws.ErrHeld):
		return hub.ErrPaused
	case errors.Is(err, ws.ErrTooManyPings):
		return hub.ErrRateLimited
	case errors.Is(err, ws.ErrTooLarge):
		return hub.Invalid(hub.MessageTooLarge, "message", strconv.Itoa(size)+" bytes",
			"at most the connection's send queue, "+strconv.Itoa(s.at.socket.SendQueueBytes)+" bytes")
	case errors.Is(err, ws.ErrFragment):
		return hub.Invalid(hub.InvalidFragment, "message.fragment_id", "unknown",
			"the ID of an unfinished message of this connection, and a payload of its kind")
	}
	return hub.ErrClosing
}

// causes says in the hub's words who ended a connection. What we ended ourselves carries its cause as
// the tag.
var causes = map[ws.Cause]hub.Cause{
	ws.PeerClose:     hub.CausePeerClose,
	ws.ProtocolFault: hub.CauseProtocolFault,
	ws.MessageTooBig: hub.CauseMessageTooLarge,
	ws.SlowConsumer:  hub.CauseSlowConsumer,
	ws.Abandoned:     hub.CauseMessageAbandoned,
	ws.PingTimeout:   hub.CausePingTimeout,
	ws.Transport:     hub.CauseTransportError,
	ws.Panic:         hub.CauseInternal,
	ws.Idle:          hub.CauseIdleTimeout,
	ws.Expired:       hub.CauseExpired,
	ws.RateLimited:   hub.CauseRateLimited,
}

func endOf(e ws.End) hub.End {
	end := hub.End{
		Code: e.Code, Reason: e.Reason, SentCode: e.SentCode, SentReason: e.SentReason,
		WasClean: e.WasClean, Cause: causes[e.Cause], Detail: e.Detail,
	}
	if e.Cause == ws.LocalClose || e.Cause == ws.LocalTerminate {
		end.Cause = hub.Cause(e.Tag)
	}
	if e.Fault != nil {
		end.Fault = string(e.Fault.Name)
	}
	return end
}

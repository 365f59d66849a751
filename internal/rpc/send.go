package rpc

import (
	"context"
	"unsafe"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Send gives one message, or one fragment of one, to one connection.
func (s *service) Send(ctx context.Context, req *holdfastv1.SendRequest) (*holdfastv1.SendResponse, error) {
	c, err := s.lookup(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	m := new(hub.Message)
	if err := readSend(m, req); err != nil {
		return nil, err
	}
	if id := req.GetMessage().GetFragmentId(); id != "" {
		if m.Fragment, err = s.marks.number(c.ID(), id); err != nil {
			return nil, err
		}
	}
	if m.Confirmation != hub.Queued {
		return s.sendAndWait(ctx, c, m, req.GetRequestId())
	}
	sent, err := c.Send(m, req.GetRequestId(), nil)
	if err != nil {
		return nil, err
	}
	return s.sent(c, m, sent), nil
}

func (s *service) sendAndWait(ctx context.Context, c *hub.Conn, m *hub.Message, requestID string) (*holdfastv1.SendResponse, error) {
	done, ended := outcome()
	sent, err := c.Send(m, requestID, done)
	if err != nil {
		return nil, err
	}
	o, err := awaitOutcome(ctx, s, ended)
	if err != nil {
		return nil, err
	}
	resp := s.sent(c, m, sent)
	if m.Confirmation == hub.Received {
		resp.Rtt = durationOf(o.RTT)
	}
	return resp, nil
}

func (s *service) sent(c *hub.Conn, m *hub.Message, sent hub.Sent) *holdfastv1.SendResponse {
	resp := &holdfastv1.SendResponse{BufferedAmount: sent.Buffered}
	if m.More {
		resp.FragmentId = s.marks.id(c.ID(), sent.Fragment)
	}
	return resp
}

// readSend fills m in from all of a request but its connection and fragment_id, which mean different
// things in Send and SendStream.
func readSend(m *hub.Message, req *holdfastv1.SendRequest) error {
	if err := readRequestID(req.GetRequestId()); err != nil {
		return err
	}
	return readMessage(m, req.GetMessage(), req.GetConfirmation(), req.GetExpireAfter())
}

// readMessage fills m in from what all sends have in common.
func readMessage(m *hub.Message, p *holdfastv1.Message, cf holdfastv1.Confirmation, expireAfter *durationpb.Duration) (err error) {
	if err := readPayload(m, p); err != nil {
		return err
	}
	if m.Confirmation, err = readConfirmation(cf, hub.Queued, hub.Received); err != nil {
		return err
	}
	if m.ExpireAfter, err = readDuration("expire_after", expireAfter, MaxExpireAfter); err != nil {
		return err
	}
	m.More, m.Compress = p.GetMore(), p.Compress
	return nil
}

func readPayload(m *hub.Message, p *holdfastv1.Message) error {
	field := "message.text"
	switch payload := p.GetPayload().(type) {
	case *holdfastv1.Message_Text:
		m.Opcode, m.Payload = hub.Text, bytesOf(payload.Text)
	case *holdfastv1.Message_Binary:
		field = "message.binary"
		m.Opcode, m.Payload = hub.Binary, payload.Binary
	default:
		return hub.Invalid(hub.InvalidMessage, "message", "neither", "text or binary, which may be empty")
	}
	if n := len(m.Payload); n > MaxPayload {
		return tooLong(hub.MessageTooLarge, field, n, MaxPayload)
	}
	return nil
}

// bytesOf is the text's own memory: up to 1 MiB per message is not copied. Nobody may write to it, and
// hub.Message.Payload says so.
func bytesOf(text string) []byte {
	return unsafe.Slice(unsafe.StringData(text), len(text)) //nolint:gosec // read only, see above
}

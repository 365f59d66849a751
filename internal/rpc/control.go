package rpc

import (
	"context"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Ping sends a ping and waits for its pong, unless the caller wants less.
func (s *service) Ping(ctx context.Context, req *holdfastv1.PingRequest) (*holdfastv1.PingResponse, error) {
	c, err := s.lookup(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	if err := readControlPayload(req.GetPayload()); err != nil {
		return nil, err
	}
	cf, err := readConfirmation(req.GetConfirmation(), hub.Received, hub.Received)
	if err != nil {
		return nil, err
	}
	o, err := s.control(ctx, c.SendPing, req.GetPayload(), cf)
	if err != nil {
		return nil, err
	}
	resp := &holdfastv1.PingResponse{}
	if cf == hub.Received {
		resp.Rtt = durationOf(o.RTT)
	}
	return resp, nil
}

// Pong sends an unsolicited pong, which nobody will answer.
func (s *service) Pong(ctx context.Context, req *holdfastv1.PongRequest) (*holdfastv1.PongResponse, error) {
	c, err := s.lookup(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	if err := readControlPayload(req.GetPayload()); err != nil {
		return nil, err
	}
	cf, err := readConfirmation(req.GetConfirmation(), hub.Queued, hub.Written)
	if err != nil {
		return nil, err
	}
	_, err = s.control(ctx, c.SendPong, req.GetPayload(), cf)
	return &holdfastv1.PongResponse{}, err
}

// control sends a control frame and waits as far as the confirmation asks.
func (s *service) control(
	ctx context.Context, send func([]byte, hub.Confirmation, hub.Done) error, payload []byte, cf hub.Confirmation,
) (hub.Outcome, error) {
	if cf == hub.Queued {
		return hub.Outcome{}, send(payload, cf, nil)
	}
	done, ended := outcome()
	if err := send(payload, cf, done); err != nil {
		return hub.Outcome{}, err
	}
	return awaitOutcome(ctx, s, ended)
}

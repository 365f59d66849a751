package rpc

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// SendMany gives one whole message to many connections and counts.
func (s *service) SendMany(ctx context.Context, req *holdfastv1.SendManyRequest) (*holdfastv1.SendManyResponse, error) {
	m := new(hub.Message) // one for all: sockets do not change it
	if err := readMany(m, req); err != nil {
		return nil, err
	}
	far := fanOut[*holdfastv1.SendManyFailure]{
		service: s, method: holdfastv1.ConnectionService_SendMany_FullMethodName, ids: req.GetConnectionIds(),
		request: func(ids []string) proto.Message {
			return &holdfastv1.SendManyRequest{
				ConnectionIds: ids, Message: req.GetMessage(), Confirmation: req.GetConfirmation(), ExpireAfter: req.GetExpireAfter(),
			}
		},
		response: func() failing[*holdfastv1.SendManyFailure] { return &holdfastv1.SendManyResponse{} },
	}
	return s.sendMany(ctx, m, req.GetConnectionIds(), &far)
}

// sendManyHere is this node's share of a SendMany of another node.
func (s *service) sendManyHere(ctx context.Context, req *holdfastv1.SendManyRequest) (*holdfastv1.SendManyResponse, error) {
	m := new(hub.Message)
	if err := readMany(m, req); err != nil {
		return nil, err
	}
	return s.sendMany(ctx, m, req.GetConnectionIds(), nil)
}

func (s *service) sendMany(
	ctx context.Context, m *hub.Message, ids []string, far *fanOut[*holdfastv1.SendManyFailure],
) (*holdfastv1.SendManyResponse, error) {
	failures, err := each(ctx, s, ids, far, func(t *tally, i int, c *hub.Conn) error {
		_, err := t.give(i, c, m, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	resp := &holdfastv1.SendManyResponse{Succeeded: uint32(len(ids) - len(failures))}
	for n, f := range failures {
		resp.Failures = append(resp.Failures, &holdfastv1.SendManyFailure{
			ConnectionId: ids[f.index], Code: int32(f.class.code), Reason: f.class.reason, Message: f.textOf(n),
		})
	}
	return resp, nil
}

func readMany(m *hub.Message, req *holdfastv1.SendManyRequest) error {
	if err := readIDs(req.GetConnectionIds()); err != nil {
		return err
	}
	return readWhole(m, req.GetMessage(), req.GetConfirmation(), req.GetExpireAfter())
}

// readWhole is readMessage where fragments are not allowed.
func readWhole(m *hub.Message, p *holdfastv1.Message, cf holdfastv1.Confirmation, expireAfter *durationpb.Duration) error {
	switch {
	case p.GetMore():
		return hub.Invalid(hub.InvalidFragment, "message.more", "true", "false: only whole messages")
	case p.GetFragmentId() != "":
		return invalidFragment(p.GetFragmentId(), "empty: only whole messages")
	}
	return readMessage(m, p, cf, expireAfter)
}

func readIDs(ids []string) error {
	if n := len(ids); n == 0 || n > MaxBatch {
		return hub.Invalid(hub.InvalidBatch, "connection_ids", strconv.Itoa(n)+" IDs", fmt.Sprintf("1 to %d IDs", MaxBatch))
	}
	return nil
}

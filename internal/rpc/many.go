package rpc

import (
	"context"
	"fmt"
	"strconv"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// SendMany gives one whole message to many connections and counts.
func (s *service) SendMany(ctx context.Context, req *holdfastv1.SendManyRequest) (*holdfastv1.SendManyResponse, error) {
	m := new(hub.Message) // one for all: sockets do not change it
	if err := readMany(m, req); err != nil {
		return nil, err
	}
	finished := make(chan struct{})
	t := &tally{finished: func() { close(finished) }}
	t.begin()
	for i, id := range req.GetConnectionIds() {
		c, err := s.hub.Lookup(id)
		if err == nil {
			_, err = t.give(i, c, m, "")
		}
		if err != nil {
			t.fail(i, err)
		}
	}
	t.end()
	if _, err := await(ctx, s, finished); err != nil {
		return nil, err
	}
	return manyResponse(req.GetConnectionIds(), t.byIndex()), nil
}

func readMany(m *hub.Message, req *holdfastv1.SendManyRequest) error {
	if n := len(req.GetConnectionIds()); n == 0 || n > MaxBatch {
		return hub.Invalid(hub.InvalidBatch, "connection_ids", strconv.Itoa(n)+" IDs", fmt.Sprintf("1 to %d IDs", MaxBatch))
	}
	switch p := req.GetMessage(); {
	case p.GetMore():
		return hub.Invalid(hub.InvalidFragment, "message.more", "true", "false: only whole messages")
	case p.GetFragmentId() != "":
		return invalidFragment(p.GetFragmentId(), "empty: only whole messages")
	}
	return readMessage(m, req.GetMessage(), req.GetConfirmation(), req.GetExpireAfter())
}

func manyResponse(ids []string, failures []failure) *holdfastv1.SendManyResponse {
	resp := &holdfastv1.SendManyResponse{Succeeded: uint32(len(ids) - len(failures))}
	for n, f := range failures {
		cl := classes[f.err.Reason]
		resp.Failures = append(resp.Failures, &holdfastv1.SendManyFailure{
			ConnectionId: ids[f.index], Code: int32(cl.code), Reason: cl.reason, Message: textOf(n, f.err),
		})
	}
	return resp
}

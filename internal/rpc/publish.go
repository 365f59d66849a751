package rpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// publishLimit is how long a Publish without a deadline waits for confirmations.
const publishLimit = 30 * time.Second

// publication is a PublishRequest that was read.
type publication struct {
	target  hub.Target
	message hub.Message
	except  map[hub.ID]struct{}
}

func readPublication(req *holdfastv1.PublishRequest) (p publication, err error) {
	if p.target, err = readTarget(req.GetTarget()); err != nil {
		return p, err
	}
	if p.except, err = readExcept(req.GetExceptConnectionIds()); err != nil {
		return p, err
	}
	return p, readWhole(&p.message, req.GetMessage(), req.GetConfirmation(), req.GetExpireAfter())
}

// Publish gives one whole message to everyone that the target names, on all nodes.
func (g groupService) Publish(ctx context.Context, req *holdfastv1.PublishRequest) (*holdfastv1.PublishResponse, error) {
	p, err := readPublication(req)
	if err != nil {
		return nil, err
	}
	resp := &holdfastv1.PublishResponse{}
	most := nodeLimit // nobody has to wait for a client
	if p.message.Confirmation != hub.Queued {
		most = publishTime(ctx)
	}
	asked, err := gather(ctx, g.service, question{holdfastv1.GroupService_Publish_FullMethodName, req, most},
		func(share *holdfastv1.PublishResponse) { addCounts(resp, share) })
	if err != nil {
		return nil, err
	}
	broadcast := g.hub.Broadcast(p.target, &p.message, p.except)
	g.awaitBroadcast(asked.limited, broadcast)
	unreachable, err := asked.wait()
	if err != nil {
		return nil, err
	}
	addCounts(resp, countsOf(broadcast))
	resp.UnreachableNodes = unreachable
	return resp, nil
}

// publishHere is this node's share of a Publish of another node. Its answer is on the way before the
// caller's time is over, with what is known then.
func (s *service) publishHere(ctx context.Context, req *holdfastv1.PublishRequest) (func() (*holdfastv1.PublishResponse, error), error) {
	p, err := readPublication(req)
	if err != nil {
		return nil, err
	}
	limited, cancel := within(ctx, publishTime(ctx))
	broadcast := s.hub.Broadcast(p.target, &p.message, p.except)
	return func() (*holdfastv1.PublishResponse, error) {
		defer cancel()
		s.awaitBroadcast(limited, broadcast)
		return countsOf(broadcast), nil
	}, nil
}

// publishTime is how long a Publish may wait: until its deadline if it has one.
func publishTime(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return publishLimit
}

func (s *service) awaitBroadcast(ctx context.Context, b *hub.Broadcast) {
	select {
	case <-b.Done():
	case <-ctx.Done():
	case <-s.stop:
	}
}

func countsOf(b *hub.Broadcast) *holdfastv1.PublishResponse {
	c := b.Counts()
	return &holdfastv1.PublishResponse{
		Matched: c.Matched, Succeeded: c.Succeeded, Full: c.Full, Gone: c.Gone, Failed: c.Failed, Pending: c.Pending(),
	}
}

func addCounts(sum, share *holdfastv1.PublishResponse) {
	sum.Matched += share.GetMatched()
	sum.Succeeded += share.GetSucceeded()
	sum.Full += share.GetFull()
	sum.Gone += share.GetGone()
	sum.Failed += share.GetFailed()
	sum.Pending += share.GetPending()
}

// ending is a GroupServiceCloseRequest that was read.
type ending struct {
	target hub.Target
	except map[hub.ID]struct{}
	code   uint16
	reason string
}

func readEnding(req *holdfastv1.GroupServiceCloseRequest) (e ending, err error) {
	if e.target, err = readTarget(req.GetTarget()); err != nil {
		return e, err
	}
	if e.except, err = readExcept(req.GetExceptConnectionIds()); err != nil {
		return e, err
	}
	if e.code, err = readCloseCode(req.Code); err != nil {
		return e, err
	}
	e.reason = req.GetReason()
	return e, readCloseReason(e.reason)
}

// Close begins the closing handshake with everyone that the target names, on all nodes.
func (g groupService) Close(ctx context.Context, req *holdfastv1.GroupServiceCloseRequest) (*holdfastv1.GroupServiceCloseResponse, error) {
	e, err := readEnding(req)
	if err != nil {
		return nil, err
	}
	resp := &holdfastv1.GroupServiceCloseResponse{}
	asked, err := gather(ctx, g.service, question{holdfastv1.GroupService_Close_FullMethodName, req, nodeLimit},
		func(share *holdfastv1.GroupServiceCloseResponse) { resp.Matched += share.GetMatched() })
	if err != nil {
		return nil, err
	}
	here := g.hub.CloseAll(e.target, e.except, e.code, e.reason)
	unreachable, err := asked.wait()
	if err != nil {
		return nil, err
	}
	resp.Matched += here
	resp.UnreachableNodes = unreachable
	return resp, nil
}

// closeGroupHere is this node's share of a Close. It stands in line with Publish: what was published
// before is sent before the close frame.
func (s *service) closeGroupHere(
	_ context.Context, req *holdfastv1.GroupServiceCloseRequest,
) (func() (*holdfastv1.GroupServiceCloseResponse, error), error) {
	e, err := readEnding(req)
	if err != nil {
		return nil, err
	}
	resp := &holdfastv1.GroupServiceCloseResponse{Matched: s.hub.CloseAll(e.target, e.except, e.code, e.reason)}
	return func() (*holdfastv1.GroupServiceCloseResponse, error) { return resp, nil }, nil
}

func readTarget(p *holdfastv1.Target) (t hub.Target, err error) {
	if t.Namespace, err = readNamespace("target.namespace", p.GetNamespace()); err != nil {
		return t, err
	}
	switch to := p.GetTo().(type) {
	case *holdfastv1.Target_Group:
		t.Group = to.Group
		return t, readGroup("target.group", t.Group)
	case *holdfastv1.Target_User:
		t.User = to.User
		if t.User == "" {
			return t, hub.Invalid(hub.InvalidUser, "target.user", "", fmt.Sprintf("1 to %d bytes without control characters", hub.MaxUser))
		}
		return t, hub.ValidateUser("target.user", t.User)
	case *holdfastv1.Target_Everyone:
		if to.Everyone {
			return t, nil
		}
		return t, hub.Invalid(hub.InvalidTarget, "target.everyone", "false", "true, or a group or user instead")
	}
	return t, hub.Invalid(hub.InvalidTarget, "target", "none", "a group, a user or everyone")
}

func readExcept(ids []string) (map[hub.ID]struct{}, error) {
	const field = "except_connection_ids"
	if n := len(ids); n > MaxExcept {
		return nil, hub.Invalid(hub.InvalidBatch, field, strconv.Itoa(n)+" IDs", fmt.Sprintf("at most %d IDs", MaxExcept))
	}
	if len(ids) == 0 {
		return nil, nil
	}
	except := make(map[hub.ID]struct{}, len(ids))
	for _, s := range ids {
		id, err := hub.ParseID(s)
		if err != nil {
			if refusal, ok := errors.AsType[*hub.Error](err); ok {
				err = hub.Invalid(refusal.Reason, field, s, refusal.Allowed)
			}
			return nil, err
		}
		except[id] = struct{}{}
	}
	return except, nil
}

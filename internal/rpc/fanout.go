package rpc

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// idFailure is a failure of one connection in the answer of another node.
type idFailure interface {
	GetConnectionId() string
	GetCode() int32
	GetReason() holdfastv1.ErrorReason
	GetMessage() string
}

// failing is a response that lists failures in the order of the request's connection IDs.
type failing[F idFailure] interface {
	proto.Message
	GetFailures() []F
}

// fanOut takes the connection IDs of a request to their nodes.
type fanOut[F idFailure] struct {
	service  *service
	method   string
	ids      []string
	request  func(ids []string) proto.Message // for some of the IDs
	response func() failing[F]
}

// each does something to the connections of this node among the IDs, has other nodes do it to theirs, and
// answers with the failures in the order of the IDs. far is nil when there are to be no others.
func each[F idFailure](
	ctx context.Context, s *service, ids []string, far *fanOut[F], do func(t *tally, index int, c *hub.Conn) error,
) ([]failure, error) {
	finished := make(chan struct{})
	t := &tally{finished: func() { close(finished) }}
	t.begin()
	elsewhere := far.begin(ctx, t)
	for i, id := range ids {
		if elsewhere[i] {
			continue
		}
		if err := s.eachOne(ctx, t, i, id, do); err != nil {
			t.fail(i, err)
		}
	}
	t.end()
	if _, err := await(ctx, s, finished); err != nil {
		return nil, err
	}
	return t.byIndex(), nil
}

// eachOne does something to one connection, or has it done when the connection is open.
func (s *service) eachOne(ctx context.Context, t *tally, index int, id string, do func(*tally, int, *hub.Conn) error) error {
	c, err := s.lookupFor(callerOf(ctx), id)
	p, pending := pendingOf(err)
	switch {
	case err == nil:
		return do(t, index, c)
	case !pending:
		return err
	}
	done := t.expect(index)
	waits, err := p.Then(0, func(c *hub.Conn, err error) {
		if err == nil {
			err = ctx.Err() // then nobody waits for the answer
		}
		if err == nil {
			err = do(t, index, c)
		}
		done(hub.Outcome{Err: err})
	})
	if !waits {
		t.withdraw()
		if err == nil { // it is pending no longer
			return s.eachOne(ctx, t, index, id, do)
		}
	}
	return err
}

// begin sends each other node its IDs and answers the indexes that went away.
func (f *fanOut[F]) begin(ctx context.Context, t *tally) map[int]bool {
	if f == nil {
		return nil
	}
	parts := make(map[hub.NodeID][]int)
	away := make(map[int]bool)
	for i, id := range f.ids {
		if node, elsewhere := f.service.ownerElsewhere(id); elsewhere {
			parts[node] = append(parts[node], i)
			away[i] = true
		}
	}
	for node, indexes := range parts {
		f.beginPart(ctx, t, node, indexes)
	}
	return away
}

func (f *fanOut[F]) beginPart(ctx context.Context, t *tally, node hub.NodeID, indexes []int) {
	ids := make([]string, len(indexes))
	for i, index := range indexes {
		ids[i] = f.ids[index]
	}
	request, err := (&envelope{kind: callMethod, method: f.method, caller: callerBytes(ctx)}).encode(f.request(ids))
	if err != nil {
		t.failPart(indexes, err)
		return
	}
	settle := t.expectPart(indexes)
	f.service.peers.Begin(ctx, node, request, func(part []byte, more bool, err error) {
		if more && err == nil {
			return
		}
		resp := f.response()
		if err == nil {
			err = readAnswer(part, resp)
		}
		if err != nil {
			settle(nil, err)
			return
		}
		settle(indexed(ids, resp.GetFailures()), nil)
	})
}

// indexed finds the position of each failure: they come in the order of the IDs.
func indexed[F idFailure](ids []string, failures []F) []*holdfastv1.SendFailure {
	found := make([]*holdfastv1.SendFailure, 0, len(failures))
	for i, id := range ids {
		if len(failures) == 0 {
			break
		}
		if f := failures[0]; f.GetConnectionId() == id {
			found = append(found, &holdfastv1.SendFailure{
				Index: uint32(i), Code: f.GetCode(), Reason: f.GetReason(), Message: f.GetMessage(),
			})
			failures = failures[1:]
		}
	}
	return found
}

package rpc

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// oneConnection is a request about the connection that it names.
type oneConnection interface{ GetConnectionId() string }

var (
	servicePrefix = "/" + holdfastv1.ConnectionService_ServiceDesc.ServiceName + "/"
	groupPrefix   = "/" + holdfastv1.GroupService_ServiceDesc.ServiceName + "/"
)

// routeUnary is the interceptor between gRPC and the unary methods: a call about a connection of another
// node goes there. Methods that can concern several nodes ask them by themselves.
func (s *Server) routeUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, local grpc.UnaryHandler) (any, error) {
	about, ok := req.(oneConnection)
	if !ok {
		if s.service.isFrozen(info.FullMethod) {
			return nil, hub.ErrBusAway
		}
		return local(ctx, req)
	}
	id := about.GetConnectionId()
	if s.service.owns(id) {
		return local(ctx, req)
	}
	parsed, err := hub.ParseID(id)
	if err != nil {
		return nil, err
	}
	resp := s.service.methods[info.FullMethod].response()
	if err := s.service.ask(ctx, parsed.Node(), info.FullMethod, req.(proto.Message), resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// isFrozen: the method concerns connections of this node, for which another one may be speaking. Calls about one
// connection find that out by themselves.
func (s *service) isFrozen(method string) bool {
	return s.hub.Frozen() && (strings.HasPrefix(method, servicePrefix) || strings.HasPrefix(method, groupPrefix))
}

// owns tells without parsing whether an ID, if it is one, is of this node; the method will parse it.
func (s *service) owns(id string) bool {
	return len(id) == idLen && id[:nodeLen] == string(s.hub.Node())
}

// ownerElsewhere answers the node that an ID is of if that is not this one. What is no ID is for this
// node to refuse.
func (s *service) ownerElsewhere(id string) (hub.NodeID, bool) {
	if s.owns(id) {
		return "", false
	}
	parsed, err := hub.ParseID(id)
	return parsed.Node(), err == nil
}

// answered is the last part of an answer, or why there is none.
type answered struct {
	part []byte
	err  error
}

// ask has another node serve a method, and reads its answer into resp.
func (s *service) ask(ctx context.Context, node hub.NodeID, method string, req, resp proto.Message) error {
	request, err := (&envelope{kind: callMethod, method: method, caller: callerBytes(ctx)}).encode(req)
	if err != nil {
		return err
	}
	ch := make(chan answered, 1)
	s.peers.Begin(ctx, node, request, func(part []byte, more bool, err error) {
		if !more || err != nil {
			ch <- answered{part, err}
		}
	})
	a, err := s.awaitNode(ctx, ch)
	switch {
	case err != nil:
		return err
	case a.err != nil:
		return a.err
	}
	return readAnswer(a.part, resp)
}

// stopGrace is what calls under way at other nodes have when this one stops: most are answered in a
// moment, and nobody would know of those that are not what became of them.
const stopGrace = time.Second

// awaitNode waits for the answer of another node. When this one stops before, what came of the call is not
// known: the caller may ask again, elsewhere.
func (s *service) awaitNode(ctx context.Context, ch <-chan answered) (answered, error) {
	select {
	case a := <-ch:
		return a, nil
	case <-ctx.Done():
		return answered{}, ctx.Err()
	case <-s.stop:
	}
	select {
	case a := <-ch:
		return a, nil
	case <-ctx.Done():
		return answered{}, ctx.Err()
	case <-time.After(stopGrace):
		return answered{}, hub.ErrUnreachable
	}
}

package rpc

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Router knows the other nodes. Every call of ConnectionService passes it before a method sees it, so
// the methods act on the connections of this node alone; for a foreign ID they answer CONNECTION_GONE.
//
// An error may be a *hub.Error or carry a gRPC status, which then reaches the caller as it is.
type Router interface {
	// Forward has the node that made the connection ID answer the call, and answers with its answer.
	// The node is not this one.
	Forward(ctx context.Context, node hub.NodeID, method string, req proto.Message) (any, error)
	// Gather answers a call that can concern several nodes: SendMany, List or Count. local is this
	// node's share of it, for whatever request it is given.
	Gather(ctx context.Context, method string, req proto.Message, local grpc.UnaryHandler) (any, error)
	// Stream serves SendStream or Watch. local is this node's share of it: it can be given a stream
	// that hands it only what is its own, and merges what it sends with the answers of others.
	Stream(service any, stream grpc.ServerStream, method string, local grpc.StreamHandler) error
}

// Alone is the router of a broker of one node: there is nobody else, so a connection of another node
// was made by a process that is no more.
type Alone struct{}

// Forward answers CONNECTION_GONE.
func (Alone) Forward(context.Context, hub.NodeID, string, proto.Message) (any, error) {
	return nil, hub.ErrGone
}

// Gather answers with this node's share.
func (Alone) Gather(ctx context.Context, _ string, req proto.Message, local grpc.UnaryHandler) (any, error) {
	return local(ctx, req)
}

// Stream is served by this node.
func (Alone) Stream(service any, stream grpc.ServerStream, _ string, local grpc.StreamHandler) error {
	return local(service, stream)
}

// oneConnection is a request about the connection that it names.
type oneConnection interface{ GetConnectionId() string }

var servicePrefix = "/" + holdfastv1.ConnectionService_ServiceDesc.ServiceName + "/"

func isOurs(method string) bool { return strings.HasPrefix(method, servicePrefix) }

// routeUnary is the interceptor between gRPC and the unary methods.
func (s *Server) routeUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, local grpc.UnaryHandler) (any, error) {
	if !isOurs(info.FullMethod) {
		return local(ctx, req)
	}
	about, ok := req.(oneConnection)
	if !ok {
		return s.router.Gather(ctx, info.FullMethod, req.(proto.Message), local)
	}
	id := about.GetConnectionId()
	if s.service.owns(id) {
		return local(ctx, req)
	}
	parsed, err := hub.ParseID(id)
	if err != nil {
		return nil, err
	}
	return s.router.Forward(ctx, parsed.Node(), info.FullMethod, req.(proto.Message))
}

// owns tells without parsing whether an ID, if it is one, is of this node; the method will parse it.
func (s *service) owns(id string) bool {
	return len(id) == idLen && id[:nodeLen] == string(s.hub.Node())
}

package rpc

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// nodeService is NodeService.
type nodeService struct {
	holdfastv1.UnimplementedNodeServiceServer

	*service
}

// drain begins the drain of this node, once.
type drain struct {
	once  sync.Once
	begin func() // nil: nobody has said how
}

// ListNodes answers with the table.
func (n nodeService) ListNodes(context.Context, *holdfastv1.ListNodesRequest) (*holdfastv1.ListNodesResponse, error) {
	resp := &holdfastv1.ListNodesResponse{Node: string(n.hub.Node())}
	for _, node := range n.peers.Nodes() {
		resp.Nodes = append(resp.Nodes, nodeOf(&node))
	}
	return resp, nil
}

// GetNode answers with one line of the table.
func (n nodeService) GetNode(_ context.Context, req *holdfastv1.GetNodeRequest) (*holdfastv1.GetNodeResponse, error) {
	id := req.GetNode()
	if id == "" {
		id = string(n.hub.Node())
	}
	node, err := n.find(id)
	if err != nil {
		return nil, err
	}
	return &holdfastv1.GetNodeResponse{Node: nodeOf(&node)}, nil
}

// DrainNode begins the drain of this node or has another one do so.
func (n nodeService) DrainNode(ctx context.Context, req *holdfastv1.DrainNodeRequest) (*holdfastv1.DrainNodeResponse, error) {
	node, err := n.find(req.GetNode())
	if err != nil {
		return nil, err
	}
	if node.ID == n.hub.Node() {
		return n.drainHere(ctx, req)
	}
	resp := &holdfastv1.DrainNodeResponse{}
	err = n.ask(ctx, node.ID, holdfastv1.NodeService_DrainNode_FullMethodName, req, resp)
	refusal, isRefusal := errors.AsType[*hub.Error](err)
	switch {
	case err == nil:
		return resp, nil
	case errors.Is(err, hub.ErrGone): // it has left since
		return nil, nodeNotFound(node.ID)
	case isRefusal && refusal.Reason == hub.NodeUnreachable:
		return nil, unreachable(node.ID)
	}
	return nil, err
}

// drainHere also serves other nodes.
func (s *service) drainHere(_ context.Context, req *holdfastv1.DrainNodeRequest) (*holdfastv1.DrainNodeResponse, error) {
	if id := hub.NodeID(req.GetNode()); id != s.hub.Node() {
		return nil, nodeNotFound(id)
	}
	if s.drain.begin == nil {
		return nil, status.Error(codes.Unimplemented, "this broker cannot be drained by a call")
	}
	resp := &holdfastv1.DrainNodeResponse{Connections: uint64(s.hub.Len())}
	s.drain.once.Do(s.drain.begin)
	return resp, nil
}

func (s *service) find(id string) (hub.Node, error) {
	if !hub.ValidNodeID(id) {
		return hub.Node{}, hub.Invalid(hub.InvalidNodeID, "node", id, "10 characters of a-z and 2-7")
	}
	node, ok := s.peers.Node(hub.NodeID(id))
	if !ok {
		return node, nodeNotFound(hub.NodeID(id))
	}
	return node, nil
}

func nodeNotFound(id hub.NodeID) error {
	return &aboutNode{&hub.Error{Reason: hub.NodeNotFound, Text: "node not found: it has stopped or never existed"}, id}
}

// unreachable is the refusal of a call that is about a node and not about a connection of it.
func unreachable(id hub.NodeID) error {
	return &aboutNode{&hub.Error{Reason: hub.NodeUnreachable, Text: "node " + string(id) + " does not answer"}, id}
}

var nodeStates = map[hub.NodeState]holdfastv1.Node_State{
	hub.NodeReady:    holdfastv1.Node_READY,
	hub.NodeDraining: holdfastv1.Node_DRAINING,
	hub.NodeSilent:   holdfastv1.Node_SILENT,
	hub.NodeFrozen:   holdfastv1.Node_FROZEN,
}

func nodeOf(n *hub.Node) *holdfastv1.Node {
	p := &holdfastv1.Node{
		Id: string(n.ID), ServerName: n.ServerName, Version: n.Version, State: nodeStates[n.State],
		Listen: n.Listen, Control: n.Control, Ops: n.Ops, StartTime: timestampOf(n.StartTime),
		Connections: n.Connections, SeenTime: timestampOf(n.SeenTime),
	}
	if l := n.Life; l != nil {
		p.Life = &holdfastv1.Node_Life{
			LeaseLeft: durationpb.New(l.LeaseLeft), Waiting: l.Waiting, Freezes: l.Freezes, Claims: l.Claims, Lost: l.Lost,
			RepeatedCloses: l.Repeated,
		}
	}
	return p
}

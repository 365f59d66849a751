package rpc

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Limits of a page of List.
const (
	DefaultPageSize = 100
	MaxPageSize     = 1000
	// maxPageBytes keeps a page below the 4 MiB that a stock gRPC client accepts; one connection is
	// at most some ten KiB.
	maxPageBytes = 3 << 20
)

// List answers one page of the connections that match, in the order of their IDs and so node by node.
func (s *service) List(ctx context.Context, req *holdfastv1.ListRequest) (*holdfastv1.ListResponse, error) {
	filter, after, err := readList(req)
	if err != nil {
		return nil, err
	}
	page := &listPage{left: pageSize(req.GetPageSize())}
	w := walk{service: s, after: after, only: filter.Node, full: func() bool { return page.left == 0 }}
	w.ask = func(ctx context.Context, node hub.NodeID) (bool, error) {
		share := &holdfastv1.ListRequest{Filter: req.GetFilter(), PageSize: uint32(page.left), PageToken: req.GetPageToken()}
		resp, err := s.listOf(ctx, node, share)
		return err == nil && page.add(resp), err
	}
	end, err := w.run(ctx)
	if err != nil {
		return nil, err
	}
	resp := &holdfastv1.ListResponse{Connections: page.connections, UnreachableNodes: end.unreachable}
	switch n := len(page.connections); {
	case end.behind != "":
		resp.NextPageToken = pageToken(endOf(end.behind), filterHash(&filter))
	case end.more:
		resp.NextPageToken = pageToken(page.connections[n-1].GetId(), filterHash(&filter))
	}
	return resp, nil
}

// listOf is the share of one node, this or another.
func (s *service) listOf(ctx context.Context, node hub.NodeID, req *holdfastv1.ListRequest) (*holdfastv1.ListResponse, error) {
	if node == s.hub.Node() {
		return s.listHere(ctx, req)
	}
	resp := &holdfastv1.ListResponse{}
	return resp, s.ask(ctx, node, holdfastv1.ConnectionService_List_FullMethodName, req, resp)
}

// listHere answers one page of this node's connections.
func (s *service) listHere(ctx context.Context, req *holdfastv1.ListRequest) (*holdfastv1.ListResponse, error) {
	filter, after, err := readList(req)
	if err != nil {
		return nil, err
	}
	if s.isBefore(after) {
		after = nil
	}
	filter.Namespaces = callerOf(ctx).onlyNamespaces()
	infos, more := s.hub.List(filter, after, pageSize(req.GetPageSize()))
	resp, size := &holdfastv1.ListResponse{}, 0
	for i := range infos {
		c := connectionOf(&infos[i])
		if size += proto.Size(c); size > maxPageBytes && i > 0 {
			more = true
			break
		}
		resp.Connections = append(resp.Connections, c)
	}
	if more {
		last := infos[len(resp.Connections)-1].ID
		resp.NextPageToken = pageToken(last.String(), filterHash(&filter))
	}
	return resp, nil
}

// isBefore reports whether a listing that goes on behind that ID has not reached this node yet.
func (s *service) isBefore(after *hub.ID) bool { return after != nil && after.Node() < s.hub.Node() }

// listPage is a page that is put together from the shares of several nodes.
type listPage struct {
	connections []*holdfastv1.Connection
	left        int // connections that it has room for
	size        int // bytes
}

// add takes what there is room for, and reports whether there is more of that node.
func (p *listPage) add(share *holdfastv1.ListResponse) (more bool) {
	for _, c := range share.GetConnections() {
		size := proto.Size(c)
		if p.left == 0 || p.size+size > maxPageBytes && len(p.connections) > 0 {
			return true
		}
		p.connections = append(p.connections, c)
		p.size += size
		p.left--
	}
	return share.GetNextPageToken() != ""
}

// Count answers how many connections match, on all nodes.
func (s *service) Count(ctx context.Context, req *holdfastv1.CountRequest) (*holdfastv1.CountResponse, error) {
	filter, err := readFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	resp := &holdfastv1.CountResponse{}
	g, err := gather(ctx, s, question{holdfastv1.ConnectionService_Count_FullMethodName, req, nodeLimit},
		func(share *holdfastv1.CountResponse) { resp.Count += share.GetCount() })
	if err != nil {
		return nil, err
	}
	filter.Namespaces = callerOf(ctx).onlyNamespaces()
	here := s.hub.Count(filter)
	resp.UnreachableNodes, err = g.wait()
	resp.Count += here
	return resp, err
}

func (s *service) countHere(ctx context.Context, req *holdfastv1.CountRequest) (*holdfastv1.CountResponse, error) {
	filter, err := readFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	filter.Namespaces = callerOf(ctx).onlyNamespaces()
	return &holdfastv1.CountResponse{Count: s.hub.Count(filter)}, nil
}

func pageSize(n uint32) int { return sizeOf(n, DefaultPageSize, MaxPageSize) }

func sizeOf(n uint32, byDefault, most int) int {
	if n == 0 {
		return byDefault
	}
	return min(int(n), most)
}

func readList(req *holdfastv1.ListRequest) (hub.Filter, *hub.ID, error) {
	filter, err := readFilter(req.GetFilter())
	if err != nil {
		return filter, nil, err
	}
	after, err := readPageToken(req.GetPageToken(), filterHash(&filter))
	return filter, after, err
}

func readFilter(f *holdfastv1.Filter) (hub.Filter, error) {
	if err := validateNamespace("filter.namespace", f.GetNamespace()); err != nil {
		return hub.Filter{}, err
	}
	if err := hub.ValidateUser("filter.user", f.GetUser()); err != nil {
		return hub.Filter{}, err
	}
	if err := validateGroup("filter.group", f.GetGroup()); err != nil {
		return hub.Filter{}, err
	}
	if n := f.GetNode(); n != "" && !hub.ValidNodeID(n) {
		return hub.Filter{}, hub.Invalid(hub.InvalidFilter, "filter.node", n, "10 characters of a-z and 2-7")
	}
	return hub.Filter{
		Namespace: f.GetNamespace(), User: f.GetUser(), Group: f.GetGroup(),
		Node: hub.NodeID(f.GetNode()), Attributes: f.GetAttributes(),
	}, nil
}

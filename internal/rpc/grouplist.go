package rpc

import (
	"context"
	"maps"
	"slices"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// memberList is what a page of ListMembers is asked for.
type memberList struct {
	namespace, group string
	after            *hub.ID
	size             int
}

func readMemberList(req *holdfastv1.ListMembersRequest) (l memberList, err error) {
	if l.namespace, err = readNamespace("namespace", req.GetNamespace()); err != nil {
		return l, err
	}
	l.group = req.GetGroup()
	if err := readGroup("group", l.group); err != nil {
		return l, err
	}
	l.size = sizeOf(req.GetPageSize(), DefaultMemberPageSize, MaxMemberPageSize)
	l.after, err = readPageToken(req.GetPageToken(), l.hash())
	return l, err
}

func (l *memberList) hash() []byte { return listHash("members", l.namespace, l.group) }

// ListMembers answers one page of a group's members, in the order of their IDs and so node by node.
func (g groupService) ListMembers(ctx context.Context, req *holdfastv1.ListMembersRequest) (*holdfastv1.ListMembersResponse, error) {
	l, err := readMemberList(req)
	if err != nil {
		return nil, err
	}
	resp := &holdfastv1.ListMembersResponse{}
	left := func() int { return l.size - len(resp.ConnectionIds) }
	w := walk{service: g.service, after: l.after, full: func() bool { return left() == 0 }}
	w.ask = func(ctx context.Context, node hub.NodeID) (bool, error) {
		share, err := g.membersOf(ctx, node, &holdfastv1.ListMembersRequest{
			Namespace: l.namespace, Group: l.group, PageSize: uint32(left()), PageToken: req.GetPageToken(),
		})
		ids := share.GetConnectionIds()
		taken := min(len(ids), left())
		resp.ConnectionIds = append(resp.ConnectionIds, ids[:taken]...)
		return taken < len(ids) || share.GetNextPageToken() != "", err
	}
	end, err := w.run(ctx)
	if err != nil {
		return nil, err
	}
	resp.UnreachableNodes = end.unreachable
	switch {
	case end.behind != "":
		resp.NextPageToken = pageToken(endOf(end.behind), l.hash())
	case end.more:
		resp.NextPageToken = pageToken(resp.ConnectionIds[len(resp.ConnectionIds)-1], l.hash())
	}
	return resp, nil
}

func (s *service) membersOf(ctx context.Context, node hub.NodeID, req *holdfastv1.ListMembersRequest) (*holdfastv1.ListMembersResponse, error) {
	if node == s.hub.Node() {
		return s.listMembersHere(ctx, req)
	}
	resp := &holdfastv1.ListMembersResponse{}
	if err := s.ask(ctx, node, holdfastv1.GroupService_ListMembers_FullMethodName, req, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *service) listMembersHere(_ context.Context, req *holdfastv1.ListMembersRequest) (*holdfastv1.ListMembersResponse, error) {
	l, err := readMemberList(req)
	if err != nil {
		return nil, err
	}
	if s.isBefore(l.after) {
		l.after = nil
	}
	ids, more := s.hub.Members(l.namespace, l.group, l.after, l.size)
	resp := &holdfastv1.ListMembersResponse{ConnectionIds: make([]string, len(ids))}
	for i, id := range ids {
		resp.ConnectionIds[i] = id.String()
	}
	if more {
		resp.NextPageToken = pageToken(resp.ConnectionIds[len(ids)-1], l.hash())
	}
	return resp, nil
}

// groupList is what a page of ListGroups is asked for.
type groupList struct {
	namespace, prefix, after string
	size                     int
}

func readGroupList(req *holdfastv1.ListGroupsRequest) (l groupList, err error) {
	if l.namespace, err = readNamespace("namespace", req.GetNamespace()); err != nil {
		return l, err
	}
	l.prefix = req.GetPrefix()
	if err := validateGroup("prefix", l.prefix); err != nil {
		return l, err
	}
	l.size = pageSize(req.GetPageSize())
	if token := req.GetPageToken(); token != "" {
		var ok bool
		if l.after, ok = openToken(token, l.hash()); !ok || readGroup("", l.after) != nil {
			return l, invalidToken(token)
		}
	}
	return l, nil
}

func (l *groupList) hash() []byte { return listHash("groups", l.namespace, l.prefix) }

// groupPage sums what nodes know of groups. Each was asked for as many names as the page has room for, so
// what is among the first of all is among the first of every node that has it, and its sum is complete.
type groupPage struct {
	members map[string]uint64
	more    bool
}

func (p *groupPage) add(share *holdfastv1.ListGroupsResponse) {
	for _, g := range share.GetGroups() {
		p.members[g.GetName()] += g.GetMembers()
	}
	p.more = p.more || share.GetNextPageToken() != ""
}

// cut answers the first groups, at most size, and whether there are more.
func (p *groupPage) cut(size int) (groups []*holdfastv1.Group, more bool) {
	for _, name := range slices.Sorted(maps.Keys(p.members)) {
		if len(groups) == size {
			return groups, true
		}
		groups = append(groups, &holdfastv1.Group{Name: name, Members: p.members[name]})
	}
	return groups, p.more
}

// ListGroups answers one page of the groups of a namespace, summed over all nodes.
func (g groupService) ListGroups(ctx context.Context, req *holdfastv1.ListGroupsRequest) (*holdfastv1.ListGroupsResponse, error) {
	l, err := readGroupList(req)
	if err != nil {
		return nil, err
	}
	page := groupPage{members: make(map[string]uint64)}
	asked, err := gather(ctx, g.service, question{holdfastv1.GroupService_ListGroups_FullMethodName, req, nodeLimit}, page.add)
	if err != nil {
		return nil, err
	}
	here := g.groupsHere(&l)
	unreachable, err := asked.wait()
	if err != nil {
		return nil, err
	}
	page.add(here)
	resp := &holdfastv1.ListGroupsResponse{UnreachableNodes: unreachable}
	var more bool
	if resp.Groups, more = page.cut(l.size); more {
		resp.NextPageToken = pageToken(resp.Groups[len(resp.Groups)-1].GetName(), l.hash())
	}
	return resp, nil
}

func (s *service) listGroupsHere(_ context.Context, req *holdfastv1.ListGroupsRequest) (*holdfastv1.ListGroupsResponse, error) {
	l, err := readGroupList(req)
	if err != nil {
		return nil, err
	}
	return s.groupsHere(&l), nil
}

func (s *service) groupsHere(l *groupList) *holdfastv1.ListGroupsResponse {
	counts, more := s.hub.Groups(l.namespace, l.prefix, l.after, l.size)
	resp := &holdfastv1.ListGroupsResponse{Groups: make([]*holdfastv1.Group, len(counts))}
	for i, c := range counts {
		resp.Groups[i] = &holdfastv1.Group{Name: c.Name, Members: c.Members}
	}
	if more {
		resp.NextPageToken = pageToken(counts[len(counts)-1].Name, l.hash())
	}
	return resp
}

package rpc

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Limits of GroupService; the schema states them too.
const (
	MaxGroups             = 100    // of one AddMembers or RemoveMembers
	MaxExcept             = 1000   // connections of one Publish or Close
	DefaultMemberPageSize = 1000   // of ListMembers
	MaxMemberPageSize     = 10_000 // of ListMembers
)

const defaultNamespace = "default"

// groupService is GroupService on all nodes. What its methods have in common with those of
// ConnectionService is in service; here they only have the same names.
type groupService struct {
	holdfastv1.UnimplementedGroupServiceServer

	*service
}

// AddMembers makes connections members of groups.
func (g groupService) AddMembers(ctx context.Context, req *holdfastv1.AddMembersRequest) (*holdfastv1.AddMembersResponse, error) {
	far := g.memberFanOut(holdfastv1.GroupService_AddMembers_FullMethodName, req.GetConnectionIds())
	far.request = func(ids []string) proto.Message {
		return &holdfastv1.AddMembersRequest{Namespace: req.GetNamespace(), Groups: req.GetGroups(), ConnectionIds: ids}
	}
	far.response = func() failing[*holdfastv1.MemberFailure] { return &holdfastv1.AddMembersResponse{} }
	return g.addMembers(ctx, req, far)
}

// RemoveMembers ends memberships.
func (g groupService) RemoveMembers(ctx context.Context, req *holdfastv1.RemoveMembersRequest) (*holdfastv1.RemoveMembersResponse, error) {
	far := g.memberFanOut(holdfastv1.GroupService_RemoveMembers_FullMethodName, req.GetConnectionIds())
	far.request = func(ids []string) proto.Message {
		return &holdfastv1.RemoveMembersRequest{Namespace: req.GetNamespace(), Groups: req.GetGroups(), ConnectionIds: ids}
	}
	far.response = func() failing[*holdfastv1.MemberFailure] { return &holdfastv1.RemoveMembersResponse{} }
	return g.removeMembers(ctx, req, far)
}

func (s *service) memberFanOut(method string, ids []string) *fanOut[*holdfastv1.MemberFailure] {
	return &fanOut[*holdfastv1.MemberFailure]{service: s, method: method, ids: ids}
}

func (s *service) addMembersHere(ctx context.Context, req *holdfastv1.AddMembersRequest) (*holdfastv1.AddMembersResponse, error) {
	return s.addMembers(ctx, req, nil)
}

func (s *service) removeMembersHere(ctx context.Context, req *holdfastv1.RemoveMembersRequest) (*holdfastv1.RemoveMembersResponse, error) {
	return s.removeMembers(ctx, req, nil)
}

func (s *service) addMembers(
	ctx context.Context, req *holdfastv1.AddMembersRequest, far *fanOut[*holdfastv1.MemberFailure],
) (*holdfastv1.AddMembersResponse, error) {
	failures, err := s.changeMembers(ctx, req, far, (*hub.Conn).Join)
	if err != nil {
		return nil, err
	}
	return &holdfastv1.AddMembersResponse{Succeeded: uint32(len(req.GetConnectionIds()) - len(failures)), Failures: failures}, nil
}

func (s *service) removeMembers(
	ctx context.Context, req *holdfastv1.RemoveMembersRequest, far *fanOut[*holdfastv1.MemberFailure],
) (*holdfastv1.RemoveMembersResponse, error) {
	failures, err := s.changeMembers(ctx, req, far, (*hub.Conn).Leave)
	if err != nil {
		return nil, err
	}
	return &holdfastv1.RemoveMembersResponse{Succeeded: uint32(len(req.GetConnectionIds()) - len(failures)), Failures: failures}, nil
}

// membersRequest is what AddMembers and RemoveMembers are asked.
type membersRequest interface {
	GetNamespace() string
	GetGroups() []string
	GetConnectionIds() []string
}

func (s *service) changeMembers(
	ctx context.Context, req membersRequest, far *fanOut[*holdfastv1.MemberFailure], change func(*hub.Conn, []string) error,
) ([]*holdfastv1.MemberFailure, error) {
	namespace, err := readNamespace("namespace", req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := readGroups(req.GetGroups()); err != nil {
		return nil, err
	}
	ids := req.GetConnectionIds()
	if err := readIDs(ids); err != nil {
		return nil, err
	}
	failures, err := each(ctx, s, ids, far, func(_ *tally, _ int, c *hub.Conn) error {
		if c.Endpoint().Namespace != namespace {
			return hub.ErrNotFound
		}
		return change(c, req.GetGroups())
	})
	if err != nil {
		return nil, err
	}
	told := make([]*holdfastv1.MemberFailure, len(failures))
	for n, f := range failures {
		told[n] = &holdfastv1.MemberFailure{
			ConnectionId: ids[f.index], Code: int32(f.class.code), Reason: f.class.reason, Message: f.textOf(n),
		}
	}
	return told, nil
}

// readNamespace answers the default for an empty one.
func readNamespace(field, ns string) (string, error) {
	if ns == "" {
		return defaultNamespace, nil
	}
	return ns, validateNamespace(field, ns)
}

func readGroups(groups []string) error {
	if n := len(groups); n == 0 || n > MaxGroups {
		return hub.Invalid(hub.InvalidBatch, "groups", strconv.Itoa(n)+" groups", fmt.Sprintf("1 to %d groups", MaxGroups))
	}
	for _, g := range groups {
		if err := readGroup("groups", g); err != nil {
			return err
		}
	}
	return nil
}

// readGroup refuses an empty group, too.
func readGroup(field, group string) error {
	if group == "" {
		return hub.InvalidGroupName(field, group)
	}
	return validateGroup(field, group)
}

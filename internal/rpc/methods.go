package rpc

import (
	"context"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// method is what this node does when another one forwards a call to it: a method on a connection of this
// node, or this node's share of one that concerns several.
type method struct {
	request  func() proto.Message
	response func() proto.Message
	serve    func(context.Context, proto.Message) (proto.Message, error)
	// begin is there instead of serve where order counts. Those of one calling node run one after the
	// other; what it answers may wait.
	begin func(context.Context, proto.Message) (func() (proto.Message, error), error)
}

// methods are what other nodes may ask for.
func (s *service) methodTable() map[string]method {
	return map[string]method{
		holdfastv1.ConnectionService_Send_FullMethodName:      serving(s.Send),
		holdfastv1.ConnectionService_Close_FullMethodName:     serving(s.Close),
		holdfastv1.ConnectionService_Terminate_FullMethodName: serving(s.Terminate),
		holdfastv1.ConnectionService_Pause_FullMethodName:     serving(s.Pause),
		holdfastv1.ConnectionService_Resume_FullMethodName:    serving(s.Resume),
		holdfastv1.ConnectionService_Ping_FullMethodName:      serving(s.Ping),
		holdfastv1.ConnectionService_Pong_FullMethodName:      serving(s.Pong),
		holdfastv1.ConnectionService_Get_FullMethodName:       serving(s.Get),
		holdfastv1.ConnectionService_Update_FullMethodName:    serving(s.Update),
		holdfastv1.ConnectionService_SendMany_FullMethodName:  serving(s.sendManyHere),
		holdfastv1.ConnectionService_List_FullMethodName:      serving(s.listHere),
		holdfastv1.ConnectionService_Count_FullMethodName:     serving(s.countHere),
		holdfastv1.GroupService_AddMembers_FullMethodName:     serving(s.addMembersHere),
		holdfastv1.GroupService_RemoveMembers_FullMethodName:  serving(s.removeMembersHere),
		holdfastv1.GroupService_ListMembers_FullMethodName:    serving(s.listMembersHere),
		holdfastv1.GroupService_ListGroups_FullMethodName:     serving(s.listGroupsHere),
		holdfastv1.GroupService_Publish_FullMethodName:        inOrder(s.publishHere),
		holdfastv1.GroupService_Close_FullMethodName:          inOrder(s.closeGroupHere),
		holdfastv1.NodeService_DrainNode_FullMethodName:       serving(s.drainHere),
	}
}

// message is a pointer to a T that is a protobuf message.
type message[T any] interface {
	*T
	proto.Message
}

// serving makes a method of a function for its types.
func serving[Q, R any, Req message[Q], Resp message[R]](f func(context.Context, Req) (Resp, error)) method {
	m := typed[Q, R, Req, Resp]()
	m.serve = func(ctx context.Context, req proto.Message) (proto.Message, error) {
		return untyped[R](f(ctx, req.(Req)))
	}
	return m
}

// inOrder makes a method of a function that does its work at once and answers what waits for the rest.
func inOrder[Q, R any, Req message[Q], Resp message[R]](f func(context.Context, Req) (func() (Resp, error), error)) method {
	m := typed[Q, R, Req, Resp]()
	m.begin = func(ctx context.Context, req proto.Message) (func() (proto.Message, error), error) {
		finish, err := f(ctx, req.(Req))
		if err != nil {
			return nil, err
		}
		return func() (proto.Message, error) { return untyped[R](finish()) }, nil
	}
	return m
}

func typed[Q, R any, Req message[Q], Resp message[R]]() method {
	return method{
		request:  func() proto.Message { return Req(new(Q)) },
		response: func() proto.Message { return Resp(new(R)) },
	}
}

// untyped keeps a nil response from becoming an interface that is not nil.
func untyped[R any, Resp message[R]](resp Resp, err error) (proto.Message, error) {
	if err != nil {
		return nil, err
	}
	return resp, nil
}

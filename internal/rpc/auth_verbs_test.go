package rpc

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// tokenOf is the token of an identity of these tests.
func tokenOf(name string) string { return "token-of-" + name + "-0123456789" }

// identity may do that in all namespaces, with all groups.
func identity(name string, verbs ...string) Identity {
	return Identity{
		Name: name, Tokens: []TokenHash{HashToken(tokenOf(name))},
		Verbs: verbs, Namespaces: []string{"*"}, Groups: []string{"*"},
	}
}

// only bounds an identity.
func (i Identity) only(namespaces, groups []string) Identity {
	i.Namespaces, i.Groups = namespaces, groups
	return i
}

// guardedBy makes a node ask for one of those.
func guardedBy(all ...Identity) func(*Config) {
	ids := NewIdentities(all, nil)
	return func(c *Config) { c.Identities = func() *Identities { return ids } }
}

// as is the context of calls of an identity.
func as(ctx context.Context, name string) context.Context {
	return bearing(ctx, "Bearer "+tokenOf(name))
}

func bearing(ctx context.Context, authorization ...string) context.Context {
	md := metadata.MD{"authorization": authorization}
	return metadata.NewOutgoingContext(ctx, md)
}

// second answers the error of a call.
func second[T any](_ T, err error) error { return err }

// command is an RPC of the matrix.
type command struct {
	verb string // that it needs
	call func(ctx context.Context, m *member, id string) error
}

var room = &holdfastv1.Target{To: &holdfastv1.Target_Group{Group: "room"}}

// commands are all RPCs of the broker. Each makes a request that succeeds.
var commands = map[string]command{
	"ConnectionService/Get": {"read", func(ctx context.Context, m *member, id string) error {
		return second(m.client.Get(ctx, &holdfastv1.GetRequest{ConnectionId: id}))
	}},
	"ConnectionService/List": {"read", func(ctx context.Context, m *member, _ string) error {
		return second(m.client.List(ctx, &holdfastv1.ListRequest{}))
	}},
	"ConnectionService/Count": {"read", func(ctx context.Context, m *member, _ string) error {
		return second(m.client.Count(ctx, &holdfastv1.CountRequest{}))
	}},
	"ConnectionService/Watch": {"read", func(ctx context.Context, m *member, id string) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := m.client.Watch(ctx, &holdfastv1.WatchRequest{ConnectionId: id})
		if err != nil {
			return err
		}
		return second(stream.Recv())
	}},
	"GroupService/ListMembers": {"read", func(ctx context.Context, m *member, _ string) error {
		return second(m.groups.ListMembers(ctx, &holdfastv1.ListMembersRequest{Group: "room"}))
	}},
	"GroupService/ListGroups": {"read", func(ctx context.Context, m *member, _ string) error {
		return second(m.groups.ListGroups(ctx, &holdfastv1.ListGroupsRequest{}))
	}},
	"NodeService/ListNodes": {"read", func(ctx context.Context, m *member, _ string) error {
		return second(m.nodes.ListNodes(ctx, &holdfastv1.ListNodesRequest{}))
	}},
	"NodeService/GetNode": {"read", func(ctx context.Context, m *member, id string) error {
		return second(m.nodes.GetNode(ctx, &holdfastv1.GetNodeRequest{Node: id[:nodeLen]}))
	}},
	"ConnectionService/Send": {"send", func(ctx context.Context, m *member, id string) error {
		return second(m.client.Send(ctx, send(id, text("a"))))
	}},
	"ConnectionService/SendStream": {"send", sendOnStream},
	"ConnectionService/SendMany": {"send", func(ctx context.Context, m *member, id string) error {
		resp, err := m.client.SendMany(ctx, &holdfastv1.SendManyRequest{ConnectionIds: []string{id}, Message: text("a")})
		for _, f := range resp.GetFailures() {
			return status.Error(codes.Code(f.GetCode()), f.GetReason().String())
		}
		return err
	}},
	"ConnectionService/Ping": {"send", func(ctx context.Context, m *member, id string) error {
		return second(m.client.Ping(ctx, &holdfastv1.PingRequest{ConnectionId: id, Confirmation: holdfastv1.Confirmation_QUEUED}))
	}},
	"ConnectionService/Pong": {"send", func(ctx context.Context, m *member, id string) error {
		return second(m.client.Pong(ctx, &holdfastv1.PongRequest{ConnectionId: id}))
	}},
	"ConnectionService/Update": {"send", func(ctx context.Context, m *member, id string) error {
		return second(m.client.Update(ctx, &holdfastv1.UpdateRequest{ConnectionId: id, SetAttributes: map[string]string{"a": "b"}}))
	}},
	"GroupService/Publish": {"send", func(ctx context.Context, m *member, _ string) error {
		return second(m.groups.Publish(ctx, &holdfastv1.PublishRequest{Target: room, Message: text("a")}))
	}},
	"GroupService/AddMembers": {"send", func(ctx context.Context, m *member, id string) error {
		return second(m.groups.AddMembers(ctx, &holdfastv1.AddMembersRequest{Groups: []string{"room"}, ConnectionIds: []string{id}}))
	}},
	"GroupService/RemoveMembers": {"send", func(ctx context.Context, m *member, id string) error {
		return second(m.groups.RemoveMembers(ctx, &holdfastv1.RemoveMembersRequest{Groups: []string{"room"}, ConnectionIds: []string{id}}))
	}},
	"ConnectionService/Close": {"close", func(ctx context.Context, m *member, id string) error {
		return second(m.client.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: id, Confirmation: holdfastv1.Confirmation_QUEUED}))
	}},
	"ConnectionService/Terminate": {"close", func(ctx context.Context, m *member, id string) error {
		return second(m.client.Terminate(ctx, &holdfastv1.TerminateRequest{ConnectionId: id}))
	}},
	"ConnectionService/Pause": {"close", func(ctx context.Context, m *member, id string) error {
		return second(m.client.Pause(ctx, &holdfastv1.PauseRequest{ConnectionId: id}))
	}},
	"ConnectionService/Resume": {"close", func(ctx context.Context, m *member, id string) error {
		return second(m.client.Resume(ctx, &holdfastv1.ResumeRequest{ConnectionId: id}))
	}},
	"GroupService/Close": {"close", func(ctx context.Context, m *member, _ string) error {
		return second(m.groups.Close(ctx, &holdfastv1.GroupServiceCloseRequest{Target: room}))
	}},
	"NodeService/DrainNode": {"admin", func(ctx context.Context, m *member, id string) error {
		return second(m.nodes.DrainNode(ctx, &holdfastv1.DrainNodeRequest{Node: id[:nodeLen]}))
	}},
}

// sendOnStream sends one message and answers why it failed, if it did.
func sendOnStream(ctx context.Context, m *member, id string) error {
	stream, err := m.client.SendStream(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&holdfastv1.SendStreamRequest{Sends: []*holdfastv1.SendRequest{send(id, text("a"))}}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	resp, err := stream.Recv()
	for _, f := range resp.GetFailures() {
		return status.Error(codes.Code(f.GetCode()), f.GetReason().String())
	}
	return err
}

func TestEveryMethodHasAVerb(t *testing.T) {
	b := start(t, Config{})
	var methods []string
	for _, name := range services {
		for _, m := range b.server.grpc.GetServiceInfo()[name].Methods {
			method := "/" + name + "/" + m.Name
			short := strings.TrimPrefix(method, "/holdfast.v1.")
			methods = append(methods, short)
			if got := verbs[method].String(); got != commands[short].verb {
				t.Errorf("%s needs %s, want %s", short, got, commands[short].verb)
			}
		}
	}
	slices.Sort(methods)
	if known := slices.Sorted(maps.Keys(commands)); !slices.Equal(methods, known) {
		t.Errorf("methods are %v, the matrix has %v", methods, known)
	}
	if len(verbs) != len(methods) {
		t.Errorf("%d verbs for %d methods", len(verbs), len(methods))
	}
}

// TestVerbsAreDocumented compares with the table of docs/security.md.
func TestVerbsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (`.*)\\|$").FindAllStringSubmatch(string(text), -1) {
		for part := range strings.SplitSeq(row[2], ";") {
			service, methods, ok := strings.Cut(part, ": ")
			if !ok {
				continue // a remark
			}
			for method := range strings.SplitSeq(methods, ", ") {
				documented[strings.Trim(service, "` ")+"/"+strings.Trim(method, "` ")] = row[1]
			}
		}
	}
	for name, c := range commands {
		if documented[name] != c.verb {
			t.Errorf("%s needs %s, the document has %q", name, c.verb, documented[name])
		}
	}
	if len(documented) != len(commands) {
		t.Errorf("the document has %v", documented)
	}
}

// TestVerbs tries every RPC with every verb alone, on connections of the node that is called and of another one.
func TestVerbs(t *testing.T) {
	var all []Identity
	for _, v := range Verbs {
		all = append(all, identity(v, v))
	}
	_, nodes := newClusterWith(t, 2, guardedBy(all...))
	for name, c := range commands {
		for _, v := range Verbs {
			for owner, m := range nodes {
				id, _ := m.open(t)
				err := c.call(as(t.Context(), v), nodes[0], id)
				switch {
				case v == c.verb && err != nil:
					t.Errorf("%s with %s, of node %d: %v", name, v, owner, err)
				case v == c.verb:
				case wantRefusal(t, err, hub.PermissionDenied)["verb"] != c.verb:
					t.Errorf("%s with %s, of node %d: it does not say that %s is missing: %v", name, v, owner, c.verb, err)
				}
			}
		}
	}
	if nodes[0].drains != 1 || nodes[1].drains != 1 {
		t.Errorf("drained %d and %d times", nodes[0].drains, nodes[1].drains)
	}
}

// TestVerbsOfForwardedCalls: the owner does not rely on the node that was called, and needs no identities of its own.
func TestVerbsOfForwardedCalls(t *testing.T) {
	_, nodes := newCluster(t, 1)
	m := nodes[0]
	id, socket := m.open(t)
	nobody := &caller{name: "nobody", namespaces: []string{"*"}, groups: []string{"*"}}
	try := func(e *envelope, req proto.Message) {
		t.Helper()
		e.caller = encodeCaller(nobody)
		request, err := e.encode(req)
		if err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, servedBytes(t, m, request), hub.PermissionDenied)
	}
	for name := range m.server.service.methods {
		try(&envelope{kind: callMethod, method: name}, &emptypb.Empty{}) // refused before anything is read in it
	}
	try(&envelope{kind: callBatch, stream: 1}, &holdfastv1.SendStreamRequest{Sends: []*holdfastv1.SendRequest{send(id, text("a"))}})
	try(&envelope{kind: callWatch}, &holdfastv1.WatchRequest{})
	if r := socket.Record(); len(r.Messages)+len(r.Closes)+len(r.Terminated)+r.Pauses != 0 || m.drains != 0 {
		t.Errorf("something was done: %+v", r)
	}
	request, _ := (&envelope{kind: callMethod, method: servicePrefix + "Get", caller: []byte{99, 1}}).encode(&holdfastv1.GetRequest{ConnectionId: id})
	if err := servedBytes(t, m, request); status.Code(err) != codes.Unimplemented {
		t.Errorf("permissions of another version: %v", err)
	}
}

package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// What only the other namespace has.
const (
	foreignUser  = "user-of-another"
	foreignValue = "value-of-another"
	foreignGroup = "group-of-another"
)

// foreign is a connection of the other namespace, with a user, an attribute and two groups, one of which is also one
// of ours.
type foreign struct {
	*hub.Conn

	socket *hubtest.Socket
	before string
}

func openForeign(t *testing.T, m *member) foreign {
	t.Helper()
	c, socket, err := hubtest.Open(m.hub, elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	id := c.ID().String()
	user := foreignUser
	if _, err := m.client.Update(as(t.Context(), "root"), &holdfastv1.UpdateRequest{
		ConnectionId: id, User: &user, SetAttributes: map[string]string{"key": foreignValue},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.groups.AddMembers(as(t.Context(), "root"), &holdfastv1.AddMembersRequest{
		Namespace: "other", Groups: []string{"room", foreignGroup}, ConnectionIds: []string{id},
	}); err != nil {
		t.Fatal(err)
	}
	f := foreign{Conn: c, socket: socket}
	f.before = f.now()
	return f
}

// now is everything that somebody could have done to it.
func (f foreign) now() string {
	info := f.Info()
	info.Facts = nil // a copy each time
	return fmt.Sprintf("%+v %+v", info, f.socket.Record())
}

// hostileName draws what somebody would try who wants to get out of their namespace.
func hostileName(ids ...string) *rapid.Generator[string] {
	tricks := []string{
		"", "*", ">", "default", "other", "Other", "other.", ".other", "other.>", "*.other", "default.other", "default,other",
		" other", "other\n", "other\r\nHoldfast-Opcode: text", "other\x00", "\u043ether", "o\u200bther", "../other", "%6fther",
		"room", "room.>", "room*", foreignGroup, foreignUser, "_HOLDFAST.all", "$JS.API.>", "holdfast-in.other.group.room",
		strings.Repeat("a", 10<<10), strings.Repeat("other.", 2<<10), strings.Repeat("é", 5<<10),
	}
	for _, id := range ids {
		tricks = append(tricks, id, id+".t", " "+id, strings.ToUpper(id), id[:nodeLen]+"-*", id[:nodeLen+1])
	}
	likely := append([]string{"", "other", "room"}, ids...) // together they ask for what is there
	return rapid.OneOf(rapid.SampledFrom(likely), rapid.SampledFrom(likely), rapid.SampledFrom(tricks), rapid.String())
}

// attempts are calls with whatever names they are given, and say what was answered.
var attempts = map[string]func(ctx context.Context, m *member, name func() string) (proto.Message, error){
	"Get": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.client.Get(ctx, &holdfastv1.GetRequest{ConnectionId: name()})
	},
	"List": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.client.List(ctx, &holdfastv1.ListRequest{Filter: filterOf(name), PageToken: name()})
	},
	"List without a page": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.client.List(ctx, &holdfastv1.ListRequest{Filter: filterOf(name)})
	},
	"Send": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.client.Send(ctx, send(name(), text(name())))
	},
	"SendStream": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return nil, sendOnStream(ctx, m, name())
	},
	"SendMany": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.client.SendMany(ctx, &holdfastv1.SendManyRequest{ConnectionIds: []string{name(), name()}, Message: text("x")})
	},
	"Ping": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.client.Ping(ctx, &holdfastv1.PingRequest{ConnectionId: name(), Confirmation: holdfastv1.Confirmation_QUEUED})
	},
	"Close": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.client.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: name(), Confirmation: holdfastv1.Confirmation_QUEUED})
	},
	"Terminate": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.client.Terminate(ctx, &holdfastv1.TerminateRequest{ConnectionId: name()})
	},
	"Pause": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.client.Pause(ctx, &holdfastv1.PauseRequest{ConnectionId: name()})
	},
	"Update": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		user := name()
		return m.client.Update(ctx, &holdfastv1.UpdateRequest{ConnectionId: name(), User: &user, SetAttributes: map[string]string{name(): name()}})
	},
	"Publish": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.groups.Publish(ctx, &holdfastv1.PublishRequest{Target: targetNamed(name), Message: text("x"), ExceptConnectionIds: []string{name()}})
	},
	"GroupService/Close": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.groups.Close(ctx, &holdfastv1.GroupServiceCloseRequest{Target: targetNamed(name)})
	},
	"AddMembers": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.groups.AddMembers(ctx, &holdfastv1.AddMembersRequest{Namespace: name(), Groups: []string{name()}, ConnectionIds: []string{name(), name()}})
	},
	"RemoveMembers": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.groups.RemoveMembers(ctx, &holdfastv1.RemoveMembersRequest{Namespace: name(), Groups: []string{name()}, ConnectionIds: []string{name()}})
	},
	"ListMembers": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.groups.ListMembers(ctx, &holdfastv1.ListMembersRequest{Namespace: name(), Group: name()})
	},
	"ListGroups": func(ctx context.Context, m *member, name func() string) (proto.Message, error) {
		return m.groups.ListGroups(ctx, &holdfastv1.ListGroupsRequest{Namespace: name(), Prefix: name()})
	},
}

func filterOf(name func() string) *holdfastv1.Filter {
	return &holdfastv1.Filter{Namespace: name(), User: name(), Group: name()}
}

func targetNamed(name func() string) *holdfastv1.Target {
	t := &holdfastv1.Target{Namespace: name()}
	switch to := name(); {
	case len(to)%3 == 0:
		t.To = &holdfastv1.Target_Everyone{Everyone: true}
	case len(to)%3 == 1:
		t.To = &holdfastv1.Target_User{User: to}
	default:
		t.To = &holdfastv1.Target_Group{Group: to}
	}
	return t
}

// TestThreatNobodyLeavesTheirNamespace: whatever an identity of one namespace calls, with whatever names, through
// whichever node, nothing happens to a connection of another namespace, and nothing of it is told.
func TestThreatNobodyLeavesTheirNamespace(t *testing.T) {
	_, nodes := newClusterWith(t, 2, guardedBy(
		identity("chat", Verbs...).only([]string{"default"}, []string{"*"}), identity("root", Verbs...),
	))
	var theirs []foreign
	for _, m := range nodes {
		theirs = append(theirs, openForeign(t, m))
		m.open(t)
	}
	isolated(t, nodes, theirs, "chat", hostileName(theirs[0].ID().String(), theirs[1].ID().String()))
}

// TestThreatNamesStayInTheirNamespace: the same of somebody who may do everything and names the namespace "default": what
// is asked for there is not found elsewhere.
func TestThreatNamesStayInTheirNamespace(t *testing.T) {
	_, nodes := newClusterWith(t, 2, guardedBy(identity("root", Verbs...)))
	f := openForeign(t, nodes[1])
	_, _, err := hubtest.Open(nodes[1].hub, chat)
	if err != nil {
		t.Fatal(err)
	}
	ctx, ids := as(t.Context(), "root"), []string{f.ID().String()}
	for _, m := range nodes {
		for what, call := range map[string]func() (proto.Message, error){
			"add": func() (proto.Message, error) {
				return m.groups.AddMembers(ctx, &holdfastv1.AddMembersRequest{Groups: []string{"lobby"}, ConnectionIds: ids})
			},
			"remove": func() (proto.Message, error) {
				return m.groups.RemoveMembers(ctx, &holdfastv1.RemoveMembersRequest{Groups: []string{"room"}, ConnectionIds: ids})
			},
			"publish to a group": func() (proto.Message, error) {
				return m.groups.Publish(ctx, &holdfastv1.PublishRequest{Target: room, Message: text("x")})
			},
			"publish to a user": func() (proto.Message, error) {
				return m.groups.Publish(ctx, &holdfastv1.PublishRequest{Target: &holdfastv1.Target{To: &holdfastv1.Target_User{User: foreignUser}}, Message: text("x")})
			},
			"publish to everyone": func() (proto.Message, error) {
				return m.groups.Publish(ctx, &holdfastv1.PublishRequest{Target: &holdfastv1.Target{To: &holdfastv1.Target_Everyone{Everyone: true}}, Message: text("x")})
			},
			"list": func() (proto.Message, error) {
				return m.client.List(ctx, &holdfastv1.ListRequest{Filter: &holdfastv1.Filter{Namespace: "default"}})
			},
			"list members": func() (proto.Message, error) {
				return m.groups.ListMembers(ctx, &holdfastv1.ListMembersRequest{Group: "room"})
			},
			"list groups": func() (proto.Message, error) { return m.groups.ListGroups(ctx, &holdfastv1.ListGroupsRequest{}) },
			"close": func() (proto.Message, error) {
				return m.groups.Close(ctx, &holdfastv1.GroupServiceCloseRequest{Target: room})
			},
		} {
			answer, err := call()
			untouched(t, f, what, answer, err)
		}
	}
}

// isolated tries everything with names that are drawn.
func isolated(t *testing.T, nodes []*member, theirs []foreign, who string, names *rapid.Generator[string]) {
	t.Helper()
	kinds := make([]string, 0, len(attempts))
	for kind := range attempts {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	ctx := as(t.Context(), who)
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		m := nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "node")]
		answer, err := attempts[kind](ctx, m, func() string { return names.Draw(t, "name") })
		for _, f := range theirs {
			untouched(t, f, kind, answer, err)
		}
	})
}

// repeaters are the attempts whose answers repeat what was asked, which may be any name.
var repeaters = []string{"SendMany", "AddMembers", "RemoveMembers"}

// untouched fails if something was done to a connection, or is told of it.
func untouched(t interface{ Errorf(string, ...any) }, f foreign, what string, answer proto.Message, err error) {
	if now := f.now(); now != f.before {
		t.Errorf("%s has done something:\n%s\nbefore:\n%s", what, now, f.before)
	}
	if answer == nil || err != nil || slices.Contains(repeaters, what) {
		return
	}
	told := prototext.Format(answer)
	for _, secret := range []string{foreignUser, foreignValue, foreignGroup} {
		if strings.Contains(told, secret) {
			t.Errorf("%s tells %s:\n%s", what, secret, told)
		}
	}
	if !strings.HasPrefix(what, "list") && !strings.HasPrefix(what, "List") {
		return // the others repeat IDs, too
	}
	if strings.Contains(told, f.ID().String()) {
		t.Errorf("%s tells of %s:\n%s", what, f.ID(), told)
	}
}

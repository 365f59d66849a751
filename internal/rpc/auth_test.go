package rpc

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

var elsewhere = &hub.Endpoint{Path: "/other", Namespace: "other", MaxPause: time.Minute}

// TestForeignConnectionsDoNotExist: a connection of a namespace that the caller may not touch looks like none at all.
func TestForeignConnectionsDoNotExist(t *testing.T) {
	_, nodes := newClusterWith(t, 2, guardedBy(identity("chat", Verbs...).only([]string{"default"}, []string{"*"})))
	ctx := as(t.Context(), "chat")
	for owner, m := range nodes {
		for name, c := range commands {
			foreign, socket, err := hubtest.Open(m.hub, elsewhere)
			if err != nil {
				t.Fatal(err)
			}
			err = c.call(ctx, nodes[0], foreign.ID().String())
			aboutOne := strings.HasPrefix(name, "ConnectionService/") && !strings.HasSuffix(name, "List") && !strings.HasSuffix(name, "Count")
			if aboutOne && (status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "not found") && !strings.Contains(err.Error(), "NOT_FOUND")) {
				t.Errorf("%s, of node %d: %v", name, owner, err)
			}
			if r := socket.Record(); len(r.Messages)+len(r.Controls)+len(r.Closes)+len(r.Terminated)+r.Pauses+r.Resumes != 0 {
				t.Errorf("%s, of node %d, has done something: %+v", name, owner, r)
			}
		}
	}
	// Word for word as one that never was.
	foreign, _, err := hubtest.Open(nodes[1].hub, elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	never := string(nodes[1].id()) + "-" + strings.Repeat("a", idLen-nodeLen-1)
	say := func(id string) string {
		st, info := refusal(t, second(nodes[0].client.Get(ctx, &holdfastv1.GetRequest{ConnectionId: id})))
		return strings.ReplaceAll(st.String()+info.String(), id, "ID")
	}
	if a, b := say(foreign.ID().String()), say(never); a != b {
		t.Errorf("foreign:\n%s\nnever:\n%s", a, b)
	}
}

// TestFiltersFindWhatTheCallerMayTouch: those that name no namespace, on this node and others.
func TestFiltersFindWhatTheCallerMayTouch(t *testing.T) {
	_, nodes := newClusterWith(t, 2, guardedBy(
		identity("chat", "read").only([]string{"default"}, []string{"*"}),
		identity("both", "read").only([]string{"default", "other"}, []string{"*"}),
		identity("none", "read").only([]string{"third"}, []string{"*"}),
		identity("all", "read"),
	))
	for _, m := range nodes {
		m.open(t)
		m.open(t)
		if _, _, err := hubtest.Open(m.hub, elsewhere); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{"chat": 4, "both": 6, "none": 0, "all": 6} {
		ctx := as(t.Context(), name)
		list, err := nodes[0].client.List(ctx, &holdfastv1.ListRequest{})
		if err != nil || len(list.GetConnections()) != want {
			t.Errorf("%s lists %d, want %d: %v", name, len(list.GetConnections()), want, err)
		}
		count, err := nodes[0].client.Count(ctx, &holdfastv1.CountRequest{})
		if err != nil || count.GetCount() != uint64(want) {
			t.Errorf("%s counts %d, want %d: %v", name, count.GetCount(), want, err)
		}
	}
}

// TestWatchSeesWhatTheCallerMayTouch: the foreign open comes first, and is not seen.
func TestWatchSeesWhatTheCallerMayTouch(t *testing.T) {
	_, nodes := newClusterWith(t, 2, guardedBy(identity("chat", "read").only([]string{"default"}, []string{"*"})))
	stream, err := nodes[0].client.Watch(as(t.Context(), "chat"), &holdfastv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	for _, m := range nodes {
		if _, _, err := hubtest.Open(m.hub, elsewhere); err != nil {
			t.Fatal(err)
		}
		id, _ := m.open(t)
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.GetEvent().GetConnectionId(); got != id {
			t.Errorf("saw the open of %q, want %s: %v", got, id, resp)
		}
	}
}

// TestNamespacesAndGroupsThatAreNamed are refused by name, also when another node asks.
func TestNamespacesAndGroupsThatAreNamed(t *testing.T) {
	_, nodes := newClusterWith(t, 1, guardedBy(identity("rooms", Verbs...).only([]string{"chat"}, []string{"room:*", "lobby"})))
	m, ctx := nodes[0], as(t.Context(), "rooms")
	filter := func(ns, group string) *holdfastv1.Filter { return &holdfastv1.Filter{Namespace: ns, Group: group} }
	group := func(ns, name string) *holdfastv1.Target {
		return &holdfastv1.Target{Namespace: ns, To: &holdfastv1.Target_Group{Group: name}}
	}
	everyone := &holdfastv1.Target{Namespace: "chat", To: &holdfastv1.Target_Everyone{Everyone: true}}
	user := &holdfastv1.Target{Namespace: "chat", To: &holdfastv1.Target_User{User: "ann"}}
	ids := []string{string(m.id()) + "-aaaaaaaaaaaaaaaa"}
	for what, c := range map[string]struct {
		err        error
		key, value string
	}{
		"list":             {second(m.client.List(ctx, &holdfastv1.ListRequest{Filter: filter("other", "")})), "namespace", "other"},
		"list group":       {second(m.client.List(ctx, &holdfastv1.ListRequest{Filter: filter("chat", "secret")})), "group", "secret"},
		"list ours":        {second(m.client.List(ctx, &holdfastv1.ListRequest{Filter: filter("chat", "room:1")})), "", ""},
		"count":            {second(m.client.Count(ctx, &holdfastv1.CountRequest{Filter: filter("other", "")})), "namespace", "other"},
		"count group":      {second(m.client.Count(ctx, &holdfastv1.CountRequest{Filter: filter("", "secret")})), "group", "secret"},
		"watch":            {watchError(ctx, m, "other"), "namespace", "other"},
		"watch ours":       {watchError(ctx, m, "chat"), "", ""},
		"publish default":  {second(m.groups.Publish(ctx, &holdfastv1.PublishRequest{Target: group("", "lobby"), Message: text("a")})), "namespace", "default"},
		"publish group":    {second(m.groups.Publish(ctx, &holdfastv1.PublishRequest{Target: group("chat", "lobby2"), Message: text("a")})), "group", "lobby2"},
		"publish everyone": {second(m.groups.Publish(ctx, &holdfastv1.PublishRequest{Target: everyone, Message: text("a")})), "group", "*"},
		"publish user":     {second(m.groups.Publish(ctx, &holdfastv1.PublishRequest{Target: user, Message: text("a")})), "", ""},
		"publish ours":     {second(m.groups.Publish(ctx, &holdfastv1.PublishRequest{Target: group("chat", "room:1"), Message: text("a")})), "", ""},
		"close":            {second(m.groups.Close(ctx, &holdfastv1.GroupServiceCloseRequest{Target: group("chat", "secret")})), "group", "secret"},
		"close user":       {second(m.groups.Close(ctx, &holdfastv1.GroupServiceCloseRequest{Target: &holdfastv1.Target{Namespace: "other", To: user.GetTo()}})), "namespace", "other"},
		"add":              {second(m.groups.AddMembers(ctx, &holdfastv1.AddMembersRequest{Namespace: "chat", Groups: []string{"lobby", "vip"}, ConnectionIds: ids})), "group", "vip"},
		"add ours":         {second(m.groups.AddMembers(ctx, &holdfastv1.AddMembersRequest{Namespace: "chat", Groups: []string{"lobby"}, ConnectionIds: ids})), "", ""},
		"remove":           {second(m.groups.RemoveMembers(ctx, &holdfastv1.RemoveMembersRequest{Groups: []string{"lobby"}, ConnectionIds: ids})), "namespace", "default"},
		"members":          {second(m.groups.ListMembers(ctx, &holdfastv1.ListMembersRequest{Namespace: "chat", Group: "vip"})), "group", "vip"},
		"groups":           {second(m.groups.ListGroups(ctx, &holdfastv1.ListGroupsRequest{Namespace: "chat"})), "group", "*"},
		"groups by prefix": {second(m.groups.ListGroups(ctx, &holdfastv1.ListGroupsRequest{Namespace: "chat", Prefix: "lobby"})), "group", "lobby*"},
		"groups ours":      {second(m.groups.ListGroups(ctx, &holdfastv1.ListGroupsRequest{Namespace: "chat", Prefix: "room:1"})), "", ""},
		"a long name":      {second(m.groups.ListMembers(ctx, &holdfastv1.ListMembersRequest{Namespace: strings.Repeat("ä", 5000), Group: "vip"})), "namespace", strings.Repeat("ä", 32) + "…"},
	} {
		t.Run(what, func(t *testing.T) {
			if c.key == "" {
				if c.err != nil {
					t.Error(c.err)
				}
				return
			}
			if md := wantRefusal(t, c.err, hub.PermissionDenied); md[c.key] != c.value {
				t.Errorf("it names %v, want %s %s", md, c.key, c.value)
			}
		})
	}
}

func watchError(ctx context.Context, m *member, namespace string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := m.client.Watch(ctx, &holdfastv1.WatchRequest{Namespace: namespace})
	if err != nil {
		return err
	}
	return second(stream.Recv())
}

// TestExpiryNeedsClose: an Update that says when a connection is closed is more than one of attributes.
func TestExpiryNeedsClose(t *testing.T) {
	_, nodes := newClusterWith(t, 2, guardedBy(identity("send", "send"), identity("close", "send", "close")))
	for _, m := range nodes {
		id, _ := m.open(t)
		for _, req := range []*holdfastv1.UpdateRequest{
			{ConnectionId: id, ExpireTime: timestamppb.New(time.Now().Add(time.Hour))},
			{ConnectionId: id, ClearExpireTime: true},
		} {
			if md := wantRefusal(t, second(nodes[0].client.Update(as(t.Context(), "send"), req)), hub.PermissionDenied); md["verb"] != "close" {
				t.Errorf("it names %v", md)
			}
			if _, err := nodes[0].client.Update(as(t.Context(), "close"), req); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCallersTravel(t *testing.T) {
	for _, c := range []*caller{
		{name: "a", verbs: verbSend | verbAdmin, namespaces: []string{"chat", "*"}, groups: []string{"room:*"}},
		{name: "", namespaces: nil, groups: nil},
	} {
		wire := encodeCaller(c)
		got, err := decodeCaller(wire)
		if err != nil || got.name != c.name || got.verbs != c.verbs || !slices.Equal(got.namespaces, c.namespaces) || !slices.Equal(got.groups, c.groups) {
			t.Errorf("%+v became %+v: %v", c, got, err)
		}
		for n := 1; n < len(wire); n++ {
			if half, err := decodeCaller(wire[:n]); err == nil {
				t.Errorf("%d bytes of %d are %+v", n, len(wire), half)
			}
		}
		if _, err := decodeCaller(append(wire, 0)); err == nil {
			t.Error("more than a caller is one")
		}
	}
	if c, err := decodeCaller([]byte{callerVersion, 1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}); err == nil {
		t.Errorf("a list without end is %+v", c)
	}
	if c, err := decodeCaller(nil); c != nil || err != nil {
		t.Errorf("nobody is %+v, %v", c, err)
	}
}

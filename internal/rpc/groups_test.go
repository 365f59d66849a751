package rpc

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func group(name string) *holdfastv1.Target {
	return &holdfastv1.Target{To: &holdfastv1.Target_Group{Group: name}}
}

func userOf(name string) *holdfastv1.Target {
	return &holdfastv1.Target{To: &holdfastv1.Target_User{User: name}}
}

func everyone(ns string) *holdfastv1.Target {
	return &holdfastv1.Target{Namespace: ns, To: &holdfastv1.Target_Everyone{Everyone: true}}
}

// join makes connections members of groups, through any node.
func (m *member) join(t testing.TB, groups []string, ids ...string) {
	t.Helper()
	resp, err := m.groups.AddMembers(t.Context(), &holdfastv1.AddMembersRequest{Groups: groups, ConnectionIds: ids})
	if err != nil || int(resp.Succeeded) != len(ids) || resp.Failures != nil {
		t.Fatalf("join: %v, %v", resp, err)
	}
}

func (m *member) publish(t testing.TB, req *holdfastv1.PublishRequest) string {
	t.Helper()
	resp, err := m.groups.Publish(t.Context(), req)
	if err != nil {
		return err.Error()
	}
	return countText(resp)
}

func countText(r *holdfastv1.PublishResponse) string {
	return fmt.Sprintf("matched %d succeeded %d full %d gone %d failed %d pending %d unreachable %v",
		r.Matched, r.Succeeded, r.Full, r.Gone, r.Failed, r.Pending, r.UnreachableNodes)
}

func TestMembersOfSeveralNodes(t *testing.T) {
	c, nodes := newCluster(t, 3)
	here, _ := nodes[0].open(t)
	there, _ := nodes[1].open(t)
	lost, _ := nodes[2].open(t)
	foreign, _, err := hubtest.Open(nodes[1].hub, &hub.Endpoint{Path: "/o", Namespace: "other"})
	if err != nil {
		t.Fatal(err)
	}
	c.change(nodes[2], func(m *member) { m.fails = hub.ErrUnreachable })
	ids := []string{foreign.ID().String(), lost, here, "?", there, someID.String()}
	want := foreign.ID().String() + " CONNECTION_NOT_FOUND, " + lost + " NODE_UNREACHABLE, ? INVALID_CONNECTION_ID, " +
		someID.String() + " CONNECTION_GONE, succeeded 2"
	told := func(failures []*holdfastv1.MemberFailure, succeeded uint32) string {
		var all []string
		for _, f := range failures {
			all = append(all, f.ConnectionId+" "+f.Reason.String())
			if f.Code == 0 || f.Message == "" {
				t.Errorf("failure without code or text: %v", f)
			}
		}
		return strings.Join(append(all, fmt.Sprint("succeeded ", succeeded)), ", ")
	}
	added, err := nodes[0].groups.AddMembers(t.Context(), &holdfastv1.AddMembersRequest{Groups: []string{"g", "h"}, ConnectionIds: ids})
	if err != nil || told(added.Failures, added.Succeeded) != want {
		t.Errorf("added %s, %v", told(added.GetFailures(), added.GetSucceeded()), err)
	}
	got, err := nodes[0].client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: there})
	if err != nil || fmt.Sprint(got.Connection.Groups) != "[g h]" {
		t.Errorf("groups %v, %v", got, err)
	}
	removed, err := nodes[0].groups.RemoveMembers(t.Context(), &holdfastv1.RemoveMembersRequest{Groups: []string{"g"}, ConnectionIds: ids})
	if err != nil || told(removed.Failures, removed.Succeeded) != want {
		t.Errorf("removed %s, %v", told(removed.GetFailures(), removed.GetSucceeded()), err)
	}
	if got := nodes[1].publish(t, &holdfastv1.PublishRequest{Target: group("g"), Message: text("x")}); !strings.HasPrefix(got, "matched 0 ") {
		t.Errorf("after the removal: %s", got)
	}
}

// Everyone once, through any node, with full, closing, paused and excepted members.
func TestPublishCountsAllNodes(t *testing.T) {
	_, nodes := newCluster(t, 3)
	var ids []string
	sockets := make([]*hubtest.Socket, 9)
	for i := range sockets {
		var id string
		id, sockets[i] = nodes[i%3].open(t)
		ids = append(ids, id)
	}
	outsider, o := nodes[1].open(t)
	nodes[0].join(t, []string{"room"}, ids...)
	for _, m := range nodes {
		if got := m.publish(t, &holdfastv1.PublishRequest{Target: group("room"), Message: text("a")}); got != "matched 9 succeeded 9 full 0 gone 0 failed 0 pending 0 unreachable []" {
			t.Errorf("at %s: %s", m.id(), got)
		}
	}
	sockets[0].Refuse(hub.ErrQueueFull)
	sockets[1].Refuse(hub.ErrQueueFull)
	sockets[2].SetState(func(s *hub.SocketState) { s.Closing = true })
	sockets[4].Refuse(hub.ErrPaused)
	got := nodes[2].publish(t, &holdfastv1.PublishRequest{
		Target: group("room"), Message: text("b"), ExceptConnectionIds: []string{ids[3], ids[5], outsider, someID.String()},
	})
	if got != "matched 7 succeeded 3 full 2 gone 1 failed 1 pending 0 unreachable []" {
		t.Error(got)
	}
	if got := nodes[0].publish(t, &holdfastv1.PublishRequest{Target: everyone(""), Message: text("c")}); !strings.HasPrefix(got, "matched 10 ") {
		t.Error(got)
	}
	if payloads(o.Record()) != "c" || payloads(sockets[8].Record()) != "a a a b c" || payloads(sockets[3].Record()) != "a a a c" {
		t.Errorf("sent %q, %q, %q", payloads(o.Record()), payloads(sockets[8].Record()), payloads(sockets[3].Record()))
	}
}

func TestPublishToAUserAndClose(t *testing.T) {
	_, nodes := newCluster(t, 2)
	ann, user := make([]string, 3), "ann"
	sockets := make([]*hubtest.Socket, 3)
	for i := range ann {
		ann[i], sockets[i] = nodes[i%2].open(t)
		if _, err := nodes[0].client.Update(t.Context(), &holdfastv1.UpdateRequest{ConnectionId: ann[i], User: &user}); err != nil {
			t.Fatal(err)
		}
	}
	_, other := nodes[1].open(t)
	if got := nodes[0].publish(t, &holdfastv1.PublishRequest{Target: userOf("ann"), Message: text("x")}); !strings.HasPrefix(got, "matched 3 succeeded 3") {
		t.Error(got)
	}
	code := uint32(4000)
	closed, err := nodes[1].groups.Close(t.Context(), &holdfastv1.GroupServiceCloseRequest{
		Target: userOf("ann"), Code: &code, Reason: "out", ExceptConnectionIds: ann[:1],
	})
	if err != nil || closed.Matched != 2 || closed.UnreachableNodes != nil {
		t.Errorf("closed %v, %v", closed, err)
	}
	for i, s := range sockets[1:] {
		if r := s.Record(); len(r.Closes) != 1 || r.Closes[0] != (hubtest.Close{Code: 4000, Reason: "out", Cause: hub.CauseBackendClose}) {
			t.Errorf("socket %d: %v", i+1, r.Closes)
		}
	}
	if len(sockets[0].Record().Closes)+len(other.Record().Closes)+len(other.Record().Messages) != 0 {
		t.Error("somebody else was reached")
	}
}

// What a caller publishes one after the other arrives in that order everywhere.
func TestPublishKeepsOrder(t *testing.T) {
	_, nodes := newCluster(t, 3)
	sockets := make([]*hubtest.Socket, 3)
	for i := range sockets {
		var id string
		id, sockets[i] = nodes[i].open(t)
		nodes[i].join(t, []string{"g"}, id)
	}
	var want []string
	for i := range 100 {
		want = append(want, strconv.Itoa(i))
		nodes[0].publish(t, &holdfastv1.PublishRequest{Target: group("g"), Message: text(strconv.Itoa(i))})
	}
	for i, s := range sockets {
		if got := payloads(s.Record()); got != strings.Join(want, " ") {
			t.Errorf("node %d: %s", i, got)
		}
	}
}

// Calls of one node are served in the order in which they arrive, whatever their answers wait for.
func TestPublishOfAnotherNodeIsServedInOrder(t *testing.T) {
	_, nodes := newCluster(t, 2)
	id, s := nodes[1].open(t)
	nodes[1].join(t, []string{"g"}, id)
	peers := nodes[0].server.service.peers
	const n = 200
	var want []string
	for i := range n {
		req := &holdfastv1.PublishRequest{Target: group("g"), Message: text(strconv.Itoa(i)), Confirmation: written}
		request, _ := (&envelope{kind: callMethod, method: holdfastv1.GroupService_Publish_FullMethodName}).encode(req)
		want = append(want, strconv.Itoa(i))
		peers.Begin(t.Context(), nodes[1].id(), request, func([]byte, bool, error) {})
	}
	if got := payloads(s.Until(waiting(n))); got != strings.Join(want, " ") {
		t.Errorf("sent %s", got)
	}
	s.Confirm(hub.Outcome{})
}

// What its caller has given up is not sent.
func TestPublishThatIsCancelledIsNotServed(t *testing.T) {
	_, nodes := newCluster(t, 1)
	_, s := nodes[0].open(t)
	request, _ := (&envelope{kind: callMethod, method: holdfastv1.GroupService_Publish_FullMethodName}).encode(
		&holdfastv1.PublishRequest{Target: everyone(""), Message: text("x")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := newSink()
	nodes[0].server.ServeCall(ctx, "aaaaaaaaaa", request, a)
	if err := readAnswer(<-a.ended, &holdfastv1.PublishResponse{}); status.Code(err) != codes.Canceled || len(s.Record().Messages) != 0 {
		t.Errorf("%v, sent %v", err, s.Record().Messages)
	}
}

// A node that is not in the table any more, or stops, has no connections; one that does not answer may.
func TestPublishWithoutANode(t *testing.T) {
	c, nodes := newCluster(t, 4)
	for _, m := range nodes {
		m.open(t)
	}
	c.change(nodes[1], func(m *member) { m.fails = hub.ErrUnreachable })
	c.change(nodes[2], func(m *member) { m.fails = hub.ErrGone }) // in the table a moment ago
	nodes[3].publish(t, &holdfastv1.PublishRequest{Target: group("nobody"), Message: text("x")})
	nodes[3].server.Stop(t.Context())
	got := nodes[0].publish(t, &holdfastv1.PublishRequest{Target: everyone(""), Message: text("x")})
	if got != "matched 1 succeeded 1 full 0 gone 0 failed 0 pending 0 unreachable [cccccccccc]" {
		t.Error(got)
	}
	closed, err := nodes[0].groups.Close(t.Context(), &holdfastv1.GroupServiceCloseRequest{Target: everyone("")})
	if err != nil || closed.Matched != 1 || fmt.Sprint(closed.UnreachableNodes) != "[cccccccccc]" {
		t.Errorf("closed %v, %v", closed, err)
	}
}

// The answer comes before the deadline, with what is known, from both nodes.
func TestPublishIsPartialAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := newCluster(t, 3)
		var confirming []*hubtest.Socket
		for i := range 4 {
			id, s := nodes[i%2].open(t)
			nodes[0].join(t, []string{"g"}, id)
			confirming = append(confirming, s)
		}
		c.change(nodes[2], func(m *member) { m.hangs = true })
		for deadline, want := range map[time.Duration]time.Duration{5 * time.Second: 4900 * time.Millisecond, 0: publishLimit} {
			ctx, cancel := context.WithCancel(t.Context())
			if deadline > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), deadline)
			}
			begin := time.Now()
			answer := beside(func() (*holdfastv1.PublishResponse, error) {
				return nodes[0].groups.Publish(ctx, &holdfastv1.PublishRequest{Target: group("g"), Message: text("x"), Confirmation: received})
			})
			synctest.Wait()
			confirming[0].Confirm(hub.Outcome{})
			confirming[1].Confirm(hub.Outcome{Err: hub.ErrClosing})
			r := <-answer
			if r.err != nil {
				t.Fatal(r.err)
			}
			if got := countText(r.resp); got != "matched 4 succeeded 1 full 0 gone 1 failed 0 pending 2 unreachable [dddddddddd]" {
				t.Error(got)
			}
			if took := time.Since(begin); took != want {
				t.Errorf("took %s, want %s", took, want)
			}
			cancel()
			for _, s := range confirming {
				s.Confirm(hub.Outcome{})
			}
		}
		begin := time.Now()
		got := nodes[0].publish(t, &holdfastv1.PublishRequest{Target: group("g"), Message: text("x")})
		if took := time.Since(begin); took != nodeLimit || !strings.HasPrefix(got, "matched 4 succeeded 4") {
			t.Errorf("QUEUED with a node that hangs: %s after %s", got, took)
		}
	})
}

func TestPublishAnswersWhenAllIsConfirmed(t *testing.T) {
	_, nodes := newCluster(t, 2)
	id, s := nodes[1].open(t)
	nodes[0].join(t, []string{"g"}, id)
	answer := beside(func() (*holdfastv1.PublishResponse, error) {
		return nodes[0].groups.Publish(t.Context(), &holdfastv1.PublishRequest{Target: group("g"), Message: text("x"), Confirmation: written})
	})
	s.Until(waiting(1))
	s.Confirm(hub.Outcome{})
	if r := <-answer; r.err != nil || r.resp.Succeeded != 1 || r.resp.Pending != 0 {
		t.Errorf("%v", r)
	}
}

func TestListMembers(t *testing.T) {
	c, nodes := newCluster(t, 3)
	ids := fill(t, nodes, 5, 4, 3)
	fill(t, nodes, 1, 1, 1) // no members
	nodes[1].join(t, []string{"g"}, ids...)
	list := func(m *member, size uint32) (got []string, pages int) {
		req := &holdfastv1.ListMembersRequest{Group: "g", PageSize: size}
		for {
			resp, err := m.groups.ListMembers(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			pages++
			got = append(got, resp.ConnectionIds...)
			if req.PageToken = resp.NextPageToken; req.PageToken == "" {
				return got, pages
			}
		}
	}
	for size, pages := range map[uint32]int{0: 1, 1: 12, 5: 3, 12: 1} {
		if got, n := list(nodes[2], size); !slices.Equal(got, ids) || n != pages {
			t.Errorf("page size %d: %d members in %d pages", size, len(got), n)
		}
	}
	first, err := nodes[0].groups.ListMembers(t.Context(), &holdfastv1.ListMembersRequest{Group: "g", PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = nodes[0].groups.ListMembers(t.Context(), &holdfastv1.ListMembersRequest{Group: "h", PageToken: first.NextPageToken})
	wantRefusal(t, err, hub.InvalidPageToken)
	c.change(nodes[1], func(m *member) { m.fails = hub.ErrUnreachable })
	resp, err := nodes[0].groups.ListMembers(t.Context(), &holdfastv1.ListMembersRequest{Group: "g"})
	if err != nil || len(resp.ConnectionIds) != 8 || fmt.Sprint(resp.UnreachableNodes) != "[cccccccccc]" {
		t.Errorf("without a node: %v, %v", resp, err)
	}
}

// Whatever the size of a page, each name comes once, in order, with the members of all nodes.
func TestListGroups(t *testing.T) {
	c, nodes := newCluster(t, 3)
	want := make(map[string]uint64)
	for i, m := range nodes {
		for j := range 20 {
			id, _ := m.open(t)
			name := fmt.Sprintf("g%02d", j*(i+1)) // many on one node, some on all
			m.join(t, []string{name}, id)
			want[name]++
		}
	}
	for _, size := range []uint32{1, 2, 3, 7, 20, 0} {
		got := make(map[string]uint64)
		var names []string
		req := &holdfastv1.ListGroupsRequest{PageSize: size, Prefix: "g"}
		for {
			resp, err := nodes[1].groups.ListGroups(t.Context(), req)
			if err != nil || len(resp.Groups) == 0 || size > 0 && len(resp.Groups) > int(size) {
				t.Fatalf("page size %d: %v, %v", size, resp, err)
			}
			for _, g := range resp.Groups {
				names = append(names, g.Name)
				got[g.Name] = g.Members
			}
			if req.PageToken = resp.NextPageToken; req.PageToken == "" {
				break
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || !slices.IsSorted(names) || len(names) != len(want) {
			t.Errorf("page size %d: %v, want %v", size, got, want)
		}
	}
	if resp, err := nodes[0].groups.ListGroups(t.Context(), &holdfastv1.ListGroupsRequest{Prefix: "g5"}); err != nil || len(resp.Groups) != 3 {
		t.Errorf("prefix: %v, %v", resp, err)
	}
	if resp, err := nodes[0].groups.ListGroups(t.Context(), &holdfastv1.ListGroupsRequest{Namespace: "other"}); err != nil || len(resp.Groups) != 0 {
		t.Errorf("another namespace: %v, %v", resp, err)
	}
	_, err := nodes[0].groups.ListGroups(t.Context(), &holdfastv1.ListGroupsRequest{PageToken: "x"})
	wantRefusal(t, err, hub.InvalidPageToken)
	c.change(nodes[2], func(m *member) { m.fails = hub.ErrUnreachable })
	resp, err := nodes[0].groups.ListGroups(t.Context(), &holdfastv1.ListGroupsRequest{})
	if err != nil || fmt.Sprint(resp.UnreachableNodes) != "[dddddddddd]" || resp.Groups[0].Members != 2 {
		t.Errorf("without a node: %v, %v", resp, err)
	}
}

func TestGroupEdges(t *testing.T) {
	_, nodes := newCluster(t, 1)
	client := nodes[0].groups
	id, _ := nodes[0].open(t)
	ids := func(n int) []string { return slices.Repeat([]string{id}, n) }
	add := func(req *holdfastv1.AddMembersRequest) error {
		_, err := client.AddMembers(t.Context(), req)
		return err
	}
	remove := func(req *holdfastv1.RemoveMembersRequest) error {
		_, err := client.RemoveMembers(t.Context(), req)
		return err
	}
	publish := func(req *holdfastv1.PublishRequest) error {
		_, err := client.Publish(t.Context(), req)
		return err
	}
	closing := func(req *holdfastv1.GroupServiceCloseRequest) error {
		_, err := client.Close(t.Context(), req)
		return err
	}
	members := func(req *holdfastv1.ListMembersRequest) error {
		_, err := client.ListMembers(t.Context(), req)
		return err
	}
	listing := func(req *holdfastv1.ListGroupsRequest) error {
		_, err := client.ListGroups(t.Context(), req)
		return err
	}
	groups := func(n int) []string { return slices.Repeat([]string{"g"}, n) }
	zero := uint32(0)
	for _, tt := range []struct {
		name   string
		err    error
		reason hub.Reason
		field  string
	}{
		{"most", add(&holdfastv1.AddMembersRequest{Groups: groups(100), ConnectionIds: ids(10_000)}), 0, ""},
		{"no group", add(&holdfastv1.AddMembersRequest{ConnectionIds: ids(1)}), hub.InvalidBatch, "groups"},
		{"too many groups", add(&holdfastv1.AddMembersRequest{Groups: groups(101), ConnectionIds: ids(1)}), hub.InvalidBatch, "groups"},
		{"no ID", add(&holdfastv1.AddMembersRequest{Groups: groups(1)}), hub.InvalidBatch, "connection_ids"},
		{"too many IDs", remove(&holdfastv1.RemoveMembersRequest{Groups: groups(1), ConnectionIds: ids(10_001)}), hub.InvalidBatch, "connection_ids"},
		{"empty group", remove(&holdfastv1.RemoveMembersRequest{Groups: []string{""}, ConnectionIds: ids(1)}), hub.InvalidGroup, "groups"},
		{"group", add(&holdfastv1.AddMembersRequest{Groups: []string{"a.b"}, ConnectionIds: ids(1)}), hub.InvalidGroup, "groups"},
		{"namespace", add(&holdfastv1.AddMembersRequest{Namespace: "A", Groups: groups(1), ConnectionIds: ids(1)}), hub.InvalidNamespace, "namespace"},
		{"members of no group", members(&holdfastv1.ListMembersRequest{}), hub.InvalidGroup, "group"},
		{"members' token", members(&holdfastv1.ListMembersRequest{Group: "g", PageToken: "x"}), hub.InvalidPageToken, "page_token"},
		{"groups' namespace", listing(&holdfastv1.ListGroupsRequest{Namespace: "a.b"}), hub.InvalidNamespace, "namespace"},
		{"groups' prefix", listing(&holdfastv1.ListGroupsRequest{Prefix: "a.b"}), hub.InvalidGroup, "prefix"},
		{"no target", publish(&holdfastv1.PublishRequest{Message: text("")}), hub.InvalidTarget, "target"},
		{"target without to", publish(&holdfastv1.PublishRequest{Target: &holdfastv1.Target{}, Message: text("")}), hub.InvalidTarget, "target"},
		{"not everyone", publish(&holdfastv1.PublishRequest{Target: &holdfastv1.Target{To: &holdfastv1.Target_Everyone{}}, Message: text("")}), hub.InvalidTarget, "target.everyone"},
		{"target's namespace", publish(&holdfastv1.PublishRequest{Target: everyone("A"), Message: text("")}), hub.InvalidNamespace, "target.namespace"},
		{"target's group", closing(&holdfastv1.GroupServiceCloseRequest{Target: group("")}), hub.InvalidGroup, "target.group"},
		{"empty user", closing(&holdfastv1.GroupServiceCloseRequest{Target: userOf("")}), hub.InvalidUser, "target.user"},
		{"long user", closing(&holdfastv1.GroupServiceCloseRequest{Target: userOf(strings.Repeat("u", 257))}), hub.InvalidUser, "target.user"},
		{"except", publish(&holdfastv1.PublishRequest{Target: everyone(""), Message: text(""), ExceptConnectionIds: []string{"x"}}), hub.InvalidConnectionID, "except_connection_ids"},
		{"most excepted", publish(&holdfastv1.PublishRequest{Target: everyone(""), Message: text(""), ExceptConnectionIds: ids(1000)}), 0, ""},
		{"too many excepted", closing(&holdfastv1.GroupServiceCloseRequest{Target: everyone(""), ExceptConnectionIds: ids(1001)}), hub.InvalidBatch, "except_connection_ids"},
		{"no message", publish(&holdfastv1.PublishRequest{Target: everyone("")}), hub.InvalidMessage, "message"},
		{"fragment", publish(&holdfastv1.PublishRequest{Target: everyone(""), Message: fragment("x", "", true)}), hub.InvalidFragment, "message.more"},
		{"fragment ID", publish(&holdfastv1.PublishRequest{Target: everyone(""), Message: fragment("x", "1-x", false)}), hub.InvalidFragment, "message.fragment_id"},
		{"too large", publish(&holdfastv1.PublishRequest{Target: everyone(""), Message: blob(MaxPayload + 1)}), hub.MessageTooLarge, "message.binary"},
		{"confirmation", publish(&holdfastv1.PublishRequest{Target: everyone(""), Message: text(""), Confirmation: 9}), hub.InvalidConfirmation, "confirmation"},
		{"close code", closing(&holdfastv1.GroupServiceCloseRequest{Target: everyone(""), Code: &zero}), hub.InvalidCloseCode, "code"},
		{"reason", closing(&holdfastv1.GroupServiceCloseRequest{Target: everyone(""), Reason: strings.Repeat("r", 124)}), hub.ReasonTooLong, "reason"},
	} {
		if tt.reason == 0 {
			if tt.err != nil {
				t.Errorf("%s: %v", tt.name, tt.err)
			}
			continue
		}
		if md := wantRefusal(t, tt.err, tt.reason); md["field"] != tt.field || md["allowed"] == "" {
			t.Errorf("%s: metadata %v", tt.name, md)
		}
	}
}

package main_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func groupNamed(name string) *holdfastv1.Target {
	return &holdfastv1.Target{To: &holdfastv1.Target_Group{Group: name}}
}

// joins is how often a membership begins and ends.
const joins = 2000

// When AddMembers has returned, a Publish through any node reaches the member; when RemoveMembers has, none does.
func TestGroupMembershipIsInEffectWhenTheCallReturns(t *testing.T) {
	const workers = 8
	c := newTrio(t)
	var working sync.WaitGroup
	for w := range workers {
		m := c.dial(w%3, "/")
		working.Go(func() {
			for i := w; i < joins; i += workers {
				if wrong := c.joinAndLeave(m, fmt.Sprintf("g%d", i), i); wrong != "" {
					t.Errorf("join %d: %s", i, wrong)
					return
				}
			}
		})
	}
	working.Wait()
}

// joinAndLeave changes a membership through one node and publishes through another, and answers what was wrong; n
// says through which.
func (c *trio) joinAndLeave(m *member, group string, n int) (wrong string) {
	change, publish := n/3%3, (n/3+1+n/9%2)%3
	add := &holdfastv1.AddMembersRequest{Groups: []string{group}, ConnectionIds: []string{m.id}}
	if added, err := c.groups(change).AddMembers(c.t.Context(), add); err != nil || added.Succeeded != 1 {
		return fmt.Sprintf("AddMembers: %v, %v", added, err)
	}
	message := &holdfastv1.PublishRequest{Target: groupNamed(group), Message: text("x")}
	if resp, err := c.groups(publish).Publish(c.t.Context(), message); err != nil || resp.Succeeded != 1 {
		return fmt.Sprintf("added through node %d, published through %d to a member of %d: %v, %v", change, publish, m.owner, resp, err)
	}
	remove := &holdfastv1.RemoveMembersRequest{Groups: []string{group}, ConnectionIds: []string{m.id}}
	if removed, err := c.groups(publish).RemoveMembers(c.t.Context(), remove); err != nil || removed.Succeeded != 1 {
		return fmt.Sprintf("RemoveMembers: %v, %v", removed, err)
	}
	if resp, err := c.groups(change).Publish(c.t.Context(), message); err != nil || resp.Matched != 0 {
		return fmt.Sprintf("removed through node %d, published through %d: %v, %v", publish, change, resp, err)
	}
	return ""
}

// Close empties a room, or logs a user out, on every node, but for those excepted; what was published before comes
// first.
func TestGroupCloseReachesEveryNode(t *testing.T) {
	c := newTrio(t)
	room, ann, rest := c.dialEach("/"), c.dialEach("/"), c.dialEach("/")
	add := &holdfastv1.AddMembersRequest{Groups: []string{"room"}, ConnectionIds: idsOf(room)}
	if added, err := c.groups(2).AddMembers(c.patient(), add); err != nil || added.Succeeded != 3 {
		t.Fatal(added, err)
	}
	user := "ann"
	for _, m := range ann {
		if _, err := c.conns(0).Update(c.patient(), &holdfastv1.UpdateRequest{ConnectionId: m.id, User: &user}); err != nil {
			t.Fatal(err)
		}
	}
	code := uint32(4001)
	toUser := &holdfastv1.Target{To: &holdfastv1.Target_User{User: user}}
	c.closeAll(groupNamed("room"), &holdfastv1.GroupServiceCloseRequest{Code: &code, Reason: "empty"}, 3)
	c.closeAll(toUser, &holdfastv1.GroupServiceCloseRequest{Code: &code, Reason: "out", ExceptConnectionIds: []string{ann[1].id}}, 2)
	for _, m := range append(room, ann[0], ann[2]) {
		m.Expect(wire.Text, "last words")
		m.ExpectClose(4001)
		m.Send(wstest.Close(4001, ""))
		m.ExpectEnd()
	}
	ann[1].Expect(wire.Text, "last words")
	for _, m := range append(rest, ann[1]) {
		if err := c.send(c.patient(), 0, m.id); err != nil {
			t.Error(err)
		}
		m.Expect(wire.Text, "x")
	}
}

// closeAll publishes and then closes through another node than its own.
func (c *trio) closeAll(target *holdfastv1.Target, req *holdfastv1.GroupServiceCloseRequest, want uint64) {
	c.t.Helper()
	if _, err := c.groups(1).Publish(c.patient(), &holdfastv1.PublishRequest{Target: target, Message: text("last words")}); err != nil {
		c.t.Fatal(err)
	}
	req.Target = target
	resp, err := c.groups(1).Close(c.patient(), req)
	if err != nil || resp.Matched != want || len(resp.UnreachableNodes) > 0 {
		c.t.Errorf("Close: %v, %v; want %d", resp, err, want)
	}
}

// Members whose compression keeps no context get a broadcast compressed, the same bytes on every node; others get it
// as it is.
func TestGroupMessageIsCompressedForThoseWhoCan(t *testing.T) {
	c := newTrio(t, brokertest.Config(t, tiny))
	compressing := http.Header{"Sec-Websocket-Extensions": {"permessage-deflate; server_no_context_takeover"}}
	var can []*member
	for owner := range c.brokers {
		can = append(can, c.dialWith(owner, "/", compressing), c.dialWith(owner, "/", compressing))
	}
	cannot := c.dialEach("/")
	add := &holdfastv1.AddMembersRequest{Groups: []string{"g"}, ConnectionIds: idsOf(append(can, cannot...))}
	if added, err := c.groups(0).AddMembers(c.patient(), add); err != nil || added.Succeeded != 9 {
		t.Fatal(added, err)
	}
	payload := strings.Repeat("say it again, ", 100)
	resp, err := c.groups(0).Publish(c.patient(), &holdfastv1.PublishRequest{Target: groupNamed("g"), Message: text(payload)})
	if err != nil || resp.Succeeded != 9 {
		t.Fatal(resp, err)
	}
	var first []byte
	for _, m := range can {
		f := m.Receive()
		tail := bytes.NewReader([]byte{0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF}) // RFC 7692 7.2.2, and an end
		got, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(f.Payload), tail)))
		if !f.RSV1 || err != nil || string(got) != payload {
			t.Errorf("a member that can got RSV1 %v, %d bytes (%v)", f.RSV1, len(got), err)
		}
		if first == nil {
			first = f.Payload
		}
		if !bytes.Equal(f.Payload, first) {
			t.Error("members got different bytes")
		}
	}
	for _, m := range cannot {
		m.Expect(wire.Text, payload)
	}
}

package main_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Listings over three nodes while connections come and go, through every node: who is there throughout appears
// exactly once, and nobody twice.
func TestNodesListEveryoneOnceWhileOthersComeAndGo(t *testing.T) {
	c := newTrio(t)
	var stay []*member
	for range 50 {
		stay = append(stay, c.dialEach("/")...)
	}
	ids := idsOf(stay)
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("stays-%02d", i))
	}
	add := &holdfastv1.AddMembersRequest{Groups: names, ConnectionIds: ids}
	if added, err := c.groups(0).AddMembers(c.patient(), add); err != nil || int(added.Succeeded) != len(ids) {
		t.Fatal(added, err)
	}
	stop := make(chan struct{})
	var coming sync.WaitGroup
	var came atomic.Int64
	defer func() { t.Logf("%d came and went", came.Load()) }()
	defer coming.Wait()
	defer close(stop)
	for node := range c.brokers {
		coming.Go(func() { c.comeAndGo(node, names, stop, &came) })
	}
	rounds := 0
	for came.Load() < 100 || rounds < 9 {
		via := rounds % 3
		once(t, "List", c.listAll(via), ids)
		once(t, "ListMembers", c.listMembers(via, names[0]), ids)
		once(t, "ListGroups", c.listGroups(via), names)
		count, err := c.conns(via).Count(c.patient(), &holdfastv1.CountRequest{})
		if err != nil || int(count.Count) < len(ids) || int(count.Count) > len(ids)+3 || len(count.UnreachableNodes) > 0 {
			t.Errorf("%v, %v; want %d and at most 3 that come and go", count, err, len(ids))
		}
		rounds++
	}
}

// comeAndGo opens connections at a node, makes each a member of many groups, and closes it.
func (c *trio) comeAndGo(node int, groups []string, stop <-chan struct{}, came *atomic.Int64) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		peer := wstest.Dial(c.t, c.brokers[node].URL("/?goes"), nil)
		joins := append([]string{fmt.Sprintf("goes-%d-%d", node, n)}, groups...)
		for _, id := range c.going(node) {
			add := &holdfastv1.AddMembersRequest{Groups: joins, ConnectionIds: []string{id}}
			if _, err := c.groups(node).AddMembers(c.t.Context(), add); err != nil {
				c.t.Error(err)
			}
		}
		peer.Send(wstest.Close(1000, ""))
		peer.ExpectClose(wire.NormalClosure)
		_ = peer.Close()
		for len(c.going(node)) > 0 { // it counts until the node has seen its end
		}
		came.Add(1)
	}
}

// going are the connections of a node that come and go: one at most.
func (c *trio) going(node int) (ids []string) {
	list, err := c.conns(node).List(c.t.Context(), &holdfastv1.ListRequest{
		Filter: &holdfastv1.Filter{Node: c.brokers[node].Node}, PageSize: 1000,
	})
	if err != nil {
		c.t.Error(err)
	}
	for _, conn := range list.GetConnections() {
		if strings.HasSuffix(conn.Url, "?goes") {
			ids = append(ids, conn.Id)
		}
	}
	return ids
}

// once checks that a listing has everything that it must, and nothing twice.
func once(t *testing.T, what string, got, must []string) {
	t.Helper()
	seen := make(map[string]int)
	for _, s := range got {
		if seen[s]++; seen[s] > 1 {
			t.Errorf("%s has %s twice", what, s)
		}
	}
	for _, s := range must {
		if seen[s] == 0 {
			t.Errorf("%s lacks %s", what, s)
		}
	}
}

// listAll reads pages of 7 connections.
func (c *trio) listAll(via int) (ids []string) {
	c.t.Helper()
	req := &holdfastv1.ListRequest{PageSize: 7}
	for first := true; first || req.PageToken != ""; first = false {
		page, err := c.conns(via).List(c.patient(), req)
		if err != nil || len(page.UnreachableNodes) > 0 || len(page.Connections) > 7 {
			c.t.Fatal(page, err)
		}
		for _, conn := range page.Connections {
			ids = append(ids, conn.Id)
		}
		req.PageToken = page.NextPageToken
	}
	return ids
}

func (c *trio) listMembers(via int, group string) (ids []string) {
	c.t.Helper()
	req := &holdfastv1.ListMembersRequest{Group: group, PageSize: 20}
	for first := true; first || req.PageToken != ""; first = false {
		page, err := c.groups(via).ListMembers(c.patient(), req)
		if err != nil || len(page.UnreachableNodes) > 0 {
			c.t.Fatal(page, err)
		}
		ids = append(ids, page.ConnectionIds...)
		req.PageToken = page.NextPageToken
	}
	return ids
}

func (c *trio) listGroups(via int) (names []string) {
	c.t.Helper()
	req := &holdfastv1.ListGroupsRequest{PageSize: 4}
	for first := true; first || req.PageToken != ""; first = false {
		page, err := c.groups(via).ListGroups(c.patient(), req)
		if err != nil || len(page.UnreachableNodes) > 0 {
			c.t.Fatal(page, err)
		}
		for _, g := range page.Groups {
			names = append(names, g.Name)
		}
		req.PageToken = page.NextPageToken
	}
	return names
}

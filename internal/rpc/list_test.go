package rpc

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// listAll lists page by page and answers the IDs in order and the number of pages.
func (b *broker) listAll(t testing.TB, f *holdfastv1.Filter, size uint32) (ids []string, pages int) {
	t.Helper()
	req := &holdfastv1.ListRequest{Filter: f, PageSize: size}
	for {
		resp, err := b.client.List(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		for _, c := range resp.Connections {
			ids = append(ids, c.Id)
		}
		if req.PageToken = resp.NextPageToken; req.PageToken == "" {
			return ids, pages
		}
	}
}

func TestListPages(t *testing.T) {
	b := start(t, Config{})
	for range 1005 {
		b.open(t)
	}
	for size, pages := range map[uint32]int{0: 11, 7: 144, 100: 11, 335: 3, 1000: 2, 1001: 2, 1<<32 - 1: 2} {
		ids, n := b.listAll(t, nil, size)
		seen := make(map[string]bool)
		for _, id := range ids {
			seen[id] = true
		}
		if len(ids) != 1005 || len(seen) != 1005 || n != pages {
			t.Errorf("page size %d: %d connections, %d distinct, in %d pages; want %d", size, len(ids), len(seen), n, pages)
		}
	}
	if resp, err := b.client.Count(t.Context(), &holdfastv1.CountRequest{}); err != nil || resp.Count != 1005 || resp.UnreachableNodes != nil {
		t.Errorf("count: %v, %v", resp, err)
	}
}

func TestListAndCountFilter(t *testing.T) {
	b := start(t, Config{})
	other := &hub.Endpoint{Path: "/other", Namespace: "other"}
	c, _, err := hubtest.Open(b.hub, other)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := b.open(t)
	user := "ann"
	if _, err := b.client.Update(t.Context(), &holdfastv1.UpdateRequest{
		ConnectionId: id, User: &user, SetAttributes: map[string]string{"a": "1", "b": "2"},
	}); err != nil {
		t.Fatal(err)
	}
	in := c.ID().String()
	node := string(b.hub.Node())
	for _, tt := range []struct {
		filter *holdfastv1.Filter
		want   string
	}{
		{&holdfastv1.Filter{Namespace: "other"}, in},
		{&holdfastv1.Filter{User: "ann"}, id},
		{&holdfastv1.Filter{Attributes: map[string]string{"a": "1"}}, id},
		{&holdfastv1.Filter{Attributes: map[string]string{"a": "1", "b": "3"}}, ""},
		{&holdfastv1.Filter{Attributes: map[string]string{"a": ""}}, ""},
		{&holdfastv1.Filter{User: "ann", Namespace: "other"}, ""},
		{&holdfastv1.Filter{Node: node, Namespace: "other"}, in},
		{&holdfastv1.Filter{Node: "aaaaaaaaaa"}, ""},
		{&holdfastv1.Filter{Group: "g"}, ""},
	} {
		ids, _ := b.listAll(t, tt.filter, 0)
		count, err := b.client.Count(t.Context(), &holdfastv1.CountRequest{Filter: tt.filter})
		if strings.Join(ids, " ") != tt.want || err != nil || int(count.Count) != len(ids) {
			t.Errorf("%v: %v, %v, %v", tt.filter, ids, count, err)
		}
	}
}

func TestFilterEdges(t *testing.T) {
	filter := func(name string, reason hub.Reason, field string, f *holdfastv1.Filter) []edge {
		return []edge{
			{"list " + name, func(ctx context.Context, c holdfastv1.ConnectionServiceClient, _ string) error {
				_, err := c.List(ctx, &holdfastv1.ListRequest{Filter: f})
				return err
			}, reason, field},
			{"count " + name, func(ctx context.Context, c holdfastv1.ConnectionServiceClient, _ string) error {
				_, err := c.Count(ctx, &holdfastv1.CountRequest{Filter: f})
				return err
			}, reason, field},
		}
	}
	var edges []edge
	for _, ns := range []string{strings.Repeat("a", 33), "A", "a.b", "é", "a "} {
		edges = append(edges, filter("namespace "+ns, hub.InvalidNamespace, "filter.namespace", &holdfastv1.Filter{Namespace: ns})...)
	}
	for _, g := range []string{strings.Repeat("g", 129), "a.b", "a*", "é", " "} {
		edges = append(edges, filter("group "+g, hub.InvalidGroup, "filter.group", &holdfastv1.Filter{Group: g})...)
	}
	for _, n := range []string{"a", "aaaaaaaaaaa", "AAAAAAAAAA", "aaaaaaaaa1"} {
		edges = append(edges, filter("node "+n, hub.InvalidFilter, "filter.node", &holdfastv1.Filter{Node: n})...)
	}
	for _, u := range []string{strings.Repeat("u", 257), "a\nb"} {
		edges = append(edges, filter("user", hub.InvalidUser, "filter.user", &holdfastv1.Filter{User: u})...)
	}
	edges = append(edges, filter("all valid", 0, "", &holdfastv1.Filter{
		Namespace: strings.Repeat("a", 31) + "9", Group: strings.Repeat("g", 119) + "_=:@-AZaz", User: strings.Repeat("u", 256), Node: "aaaaaaaaaa",
	})...)
	testEdges(t, edges)
}

// A token of another node is fine: any node can go on.
func TestPageTokenFitsOneListingOnly(t *testing.T) {
	b := start(t, Config{})
	for range 3 {
		b.open(t)
	}
	page := func(f *holdfastv1.Filter, token string) (*holdfastv1.ListResponse, error) {
		return b.client.List(t.Context(), &holdfastv1.ListRequest{Filter: f, PageSize: 1, PageToken: token})
	}
	first, err := page(nil, "")
	if err != nil || first.NextPageToken == "" {
		t.Fatalf("first page: %v, %v", first, err)
	}
	token := first.NextPageToken
	if _, err := page(&holdfastv1.Filter{}, token); err != nil {
		t.Errorf("absent and empty filter differ: %v", err)
	}
	raw, _ := base64.RawURLEncoding.DecodeString(token)
	changed := func(i int, c byte) string {
		r := append([]byte(nil), raw...)
		r[i] = c
		return base64.RawURLEncoding.EncodeToString(r)
	}
	for name, tt := range map[string]struct {
		filter *holdfastv1.Filter
		token  string
	}{
		"another filter":  {&holdfastv1.Filter{Namespace: "default"}, token},
		"not base64":      {nil, "?"},
		"short":           {nil, token[:8]},
		"another version": {nil, changed(0, 2)},
		"no ID":           {nil, changed(tokenLen-1, '!')},
	} {
		_, err := page(tt.filter, tt.token)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if md := wantRefusal(t, err, hub.InvalidPageToken); md["field"] != "page_token" {
			t.Errorf("%s: field %q", name, md["field"])
		}
	}
}

func TestFilterHashTellsFieldsApart(t *testing.T) {
	seen := make(map[string]string)
	for _, f := range []hub.Filter{
		{}, {Namespace: "a"}, {User: "a"}, {Group: "a"}, {Node: "a"}, {Namespace: "ab"}, {Namespace: "a", User: "b"},
		{Attributes: map[string]string{"a": "b"}}, {Attributes: map[string]string{"ab": ""}},
		{Attributes: map[string]string{"a": "b", "c": "d"}}, {Attributes: map[string]string{"a": "d", "c": "b"}},
	} {
		h := string(filterHash(&f))
		if other, ok := seen[h]; ok {
			t.Errorf("%+v and %s have one hash", f, other)
		}
		seen[h] = fmt.Sprintf("%+v", f)
		for range 10 { // whatever the order of the map
			if string(filterHash(&f)) != h {
				t.Errorf("%+v has two hashes", f)
			}
		}
	}
}

// 1,000 connections with 8 KiB of attributes each are twice what a stock client accepts in one answer.
func TestPageStaysReadable(t *testing.T) {
	b := start(t, Config{})
	for range 1000 {
		c, _, err := hubtest.Open(b.hub, chat)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Update(hub.Update{Set: map[string]string{"a": strings.Repeat("x", 8000)}}); err != nil {
			t.Fatal(err)
		}
	}
	if ids, pages := b.listAll(t, nil, 1000); len(ids) != 1000 || pages < 2 {
		t.Errorf("%d connections in %d pages", len(ids), pages)
	}
}

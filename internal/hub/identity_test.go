package hub_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
)

// The open event has the identity, and the connection is found by it from then on.
func TestIdentityIsThereFromTheOpenEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, p := node()
		at := time.Now().Add(time.Minute)
		i, err := hub.NewIdentity("ann", map[string]string{"tenant": "t1", "age": "7"}, []string{"b", "a", "b"}, at)
		if err != nil {
			t.Fatal(err)
		}
		pending := h.Expect(&hub.Endpoint{Path: "/e", Namespace: "ns", EventAttributes: []string{"tenant"}})
		s := &hubtest.Socket{}
		c, err := s.OpenAs(pending, i)
		if err != nil || c.ID() != pending.ID() {
			t.Fatalf("%v, %v", c.ID(), err)
		}
		info := p.Events()[0].Info
		if info.User != "ann" || fmt.Sprint(info.Attributes, info.Groups) != "[{age 7} {tenant t1}] [a b]" || !info.ExpireTime.Equal(at) {
			t.Errorf("open event %+v", info)
		}
		if !h.HasMembers("ns", "a") || !h.HasMembers("ns", "b") || h.HasMembers("default", "a") {
			t.Error("it is not in its groups")
		}
		c.Message(hub.Text, nil)
		if e := p.Events()[1]; e.User != "ann" || fmt.Sprint(e.Attributes) != "[{tenant t1}]" {
			t.Errorf("message event %+v", e)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := fmt.Sprint(s.Record().Closes); got != "[{4401 expired EXPIRED}]" {
			t.Errorf("closes %s", got)
		}
		s.End(hub.End{Cause: hub.CauseExpired})
		if h.HasMembers("ns", "a") {
			t.Error("it is in its groups after the end")
		}
	})
}

// What has expired between the grant and the open is closed at once.
func TestIdentityThatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := node()
		i, err := hub.NewIdentity("ann", nil, nil, time.Now().Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		s := &hubtest.Socket{}
		if _, err := s.OpenAs(h.Expect(chat), i); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := fmt.Sprint(s.Record().Closes); got != "[{4401 expired EXPIRED}]" {
			t.Errorf("closes %s", got)
		}
		s.End(hub.End{Cause: hub.CauseExpired})
	})
}

func TestIdentityRefused(t *testing.T) {
	many := make([]string, hub.MaxGroups+1)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	for name, c := range map[string]struct {
		user       string
		attributes map[string]string
		groups     []string
		reason     hub.Reason
		field      string
	}{
		"long user":            {strings.Repeat("u", 10<<10), nil, nil, hub.InvalidUser, "user"},
		"user with a line end": {"a\nb", nil, nil, hub.InvalidUser, "user"},
		"user not UTF-8":       {"a\xff", nil, nil, hub.InvalidUser, "user"},
		"attribute name":       {"", map[string]string{"": "a"}, nil, hub.InvalidAttributes, "attributes"},
		"attribute value":      {"", map[string]string{"a": "\x00"}, nil, hub.InvalidAttributes, "attributes[a]"},
		"attributes too large": {"", map[string]string{"a": strings.Repeat("v", hub.MaxAttributes)}, nil, hub.InvalidAttributes, "attributes"},
		"wildcard group":       {"", nil, []string{"a", "b.*"}, hub.InvalidGroup, "groups"},
		"empty group":          {"", nil, []string{""}, hub.InvalidGroup, "groups"},
		"long group":           {"", nil, []string{strings.Repeat("g", 129)}, hub.InvalidGroup, "groups"},
		"too many groups":      {"", nil, many, hub.TooManyGroups, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hub.NewIdentity(c.user, c.attributes, c.groups, time.Time{})
			refusal, ok := errors.AsType[*hub.Error](err)
			if !ok || refusal.Reason != c.reason || refusal.Field != c.field {
				t.Errorf("%v, %+v", err, refusal)
			}
		})
	}
	if _, err := hub.NewIdentity("", nil, slices.Repeat([]string{"g"}, 2*hub.MaxGroups), time.Time{}); err != nil {
		t.Errorf("one group many times: %v", err)
	}
}

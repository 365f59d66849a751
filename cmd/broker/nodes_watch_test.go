package main_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// account is the events of each connection, in the order in which they came: "OPEN 1", "MESSAGE 2 text" …
type account map[string][]string

// A Watch on one node has every event of every node, a node that joins later included, as a subscriber on NATS has
// them.
func TestNodesWatchHasEveryEventAlsoOfANodeThatJoins(t *testing.T) {
	c := newTrio(t)
	subscribed, closed := make(account), 0
	nats := bustest.RecordFunc(t, c.servers[1].URL, "holdfast.default.>", func(m *nats.Msg) {
		tokens := strings.Split(m.Subject, ".")
		kind, payload := strings.ToUpper(tokens[2]), ""
		if kind == "PROBE" {
			return
		}
		if kind == "MESSAGE" {
			payload = string(m.Data)
		}
		if kind == "CLOSE" {
			closed++
		}
		subscribed[tokens[3]] = append(subscribed[tokens[3]], kind+" "+m.Header.Get("Holdfast-Seq")+" "+payload)
	})
	watch, err := c.conns(0).Watch(c.patient(), &holdfastv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if started, err := watch.Recv(); err != nil || started.GetStarted() == nil {
		t.Fatal(started, err)
	}

	const perNode, lives = 4, 5
	var living sync.WaitGroup
	for _, b := range c.brokers {
		living.Go(func() { live(t, b.URL("/"), perNode, lives) })
	}
	joiner := c.start(c.servers[1].URL) // under load
	living.Go(func() { live(t, c.brokers[joiner].URL("/"), perNode, lives) })
	living.Wait()
	total := (joiner + 1) * perNode * lives
	if !nats.Until(func() bool { return closed == total }) {
		t.Fatalf("%d of %d close events", closed, total)
	}

	watched := make(account)
	for closed := 0; closed < total; {
		resp, err := watch.Recv()
		if err != nil {
			t.Fatalf("watch after %d of %d closes: %v", closed, total, err)
		}
		e := resp.GetEvent()
		payload := ""
		if e.Kind == holdfastv1.Event_MESSAGE {
			payload = string(e.Payload)
		}
		if e.Kind == holdfastv1.Event_CLOSE {
			closed++
		}
		watched[e.ConnectionId] = append(watched[e.ConnectionId], fmt.Sprintf("%v %d %s", e.Kind, e.Seq, payload))
	}
	nats.Until(func() bool {
		if diff := cmp.Diff(subscribed, watched); diff != "" {
			t.Errorf("Watch has not what a subscriber has (-subscriber +watch):\n%s", diff)
		}
		return true
	})
}

// live has clients connect to a node, say a few things and leave, again and again.
func live(t *testing.T, url string, clients, lives int) {
	var living sync.WaitGroup
	defer living.Wait()
	for range clients {
		living.Go(func() {
			for range lives {
				peer := wstest.Dial(t, url, nil)
				for i := range 20 {
					peer.Send(wstest.Text(strconv.Itoa(i)))
				}
				peer.Send(wstest.Close(wire.NormalClosure, ""))
				peer.ExpectClose(wire.NormalClosure)
				_ = peer.Close()
			}
		})
	}
}

//go:build linux

package main_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/bench/client"
	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// crowdSize is how many clients a crowd has, on three nodes.
const crowdSize = 10_000

// probe is a message that only shows who hears it; logs do not keep it.
const probe = "?"

// crowd is many clients, each with a log of what it got: messages of one letter.
type crowd struct {
	*trio

	pools    []*client.Pool
	expected int      // letters
	ids      []string // of all, as they were listed
	indexes  map[string]place
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu     sync.Mutex
	logs   [][]string // per pool and client
	got    int        // letters in them
	probed map[int]bool
	arrive sync.Cond
}

// place is a client in the pools.
type place struct{ pool, index int }

func newCrowd(t *testing.T) *crowd {
	c := &crowd{trio: newTrio(t, brokertest.Config(t, tiny)), indexes: make(map[string]place), probed: make(map[int]bool)}
	c.arrive.L = &c.mu
	ctx, stop := context.WithCancel(t.Context())
	c.stop = stop
	t.Cleanup(func() { // before the brokers stop, which would wait for each client
		c.end()
		for _, p := range c.pools {
			p.Abort()
		}
	})
	for i, b := range c.brokers {
		c.connect(ctx, i, address(b.URL("")))
	}
	c.list()
	for _, p := range c.pools {
		c.running.Go(func() { _ = p.Run(ctx, time.Hour) })
	}
	return c
}

// end stops the clients: nobody reads any more.
func (c *crowd) end() {
	c.stop()
	c.running.Wait()
}

// connect opens this node's part of the crowd.
func (c *crowd) connect(ctx context.Context, node int, at string) {
	c.t.Helper()
	p, err := client.New(at)
	if err != nil {
		c.t.Fatal(err)
	}
	c.pools = append(c.pools, p)
	n := (crowdSize + node) / len(c.brokers)
	c.logs = append(c.logs, make([]string, n))
	p.OnMessage = func(conn *client.Conn, _ int64, payload []byte) { c.keep(node, conn.Index, string(payload)) }
	if err := p.Connect(ctx, n); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crowd) keep(node, index int, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if message == probe {
		c.probed[node] = true
	} else {
		c.logs[node][index] += message
		c.got++
	}
	c.arrive.Broadcast()
}

// list learns the IDs, page by page, through one node; each must come once.
func (c *crowd) list() {
	c.t.Helper()
	eventually(c.t, "count of the crowd", func() bool { // a handshake is answered before the connection counts
		count, err := c.conns(0).Count(c.patient(), &holdfastv1.CountRequest{})
		return err == nil && count.Count == crowdSize
	})
	req := &holdfastv1.ListRequest{PageSize: 1000}
	for {
		page, err := c.conns(0).List(c.patient(), req)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, conn := range page.Connections {
			_, n, _ := strings.Cut(conn.Url, "?n=")
			index, _ := strconv.Atoi(n)
			c.indexes[conn.Id] = place{c.indexOf(conn.Node), index}
			c.ids = append(c.ids, conn.Id)
		}
		if req.PageToken = page.NextPageToken; req.PageToken == "" {
			break
		}
	}
	if len(c.ids) != crowdSize || len(c.indexes) != crowdSize {
		c.t.Fatalf("%d connections listed, %d different ones, want %d", len(c.ids), len(c.indexes), crowdSize)
	}
}

// await waits until something is so.
func (c *crowd) await(what string, met func() bool) {
	c.t.Helper()
	over := false
	late := time.AfterFunc(brokertest.Patience, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		over = true
		c.arrive.Broadcast()
	})
	defer late.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !met() {
		if over {
			c.t.Fatalf("no %s; %d messages have come", what, c.got)
		}
		c.arrive.Wait()
	}
}

// publish publishes through a node and checks the counts, and that as many messages more arrive in the crowd as
// should.
func (c *crowd) publish(via int, req *holdfastv1.PublishRequest, want *holdfastv1.PublishResponse, arriving int) {
	c.t.Helper()
	begin := time.Now()
	resp, err := c.groups(via).Publish(c.patient(), req)
	if err != nil || !proto.Equal(resp, want) {
		c.t.Errorf("%s through node %d: %v, %v; want %v", req.Message.GetText(), via, resp, err, want)
	}
	c.arrives(arriving)
	c.t.Logf("%s: %v in %v", req.Message.GetText(), resp, time.Since(begin))
}

// arrives waits for that many messages more than were waited for before.
func (c *crowd) arrives(more int) {
	c.t.Helper()
	c.expected += more
	c.await("all that was published", func() bool { return c.got >= c.expected })
}

// check compares every client's log with what it should be.
func (c *crowd) check(want func(id string) string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	wrong := 0
	for id, at := range c.indexes {
		if got := c.logs[at.pool][at.index]; got != want(id) {
			if wrong++; wrong < 10 {
				c.t.Errorf("client %s got %q, want %q", id, got, want(id))
			}
		}
	}
	if wrong > 0 {
		c.t.Errorf("%d clients did not get what they should, each once and in order", wrong)
	}
}

// spread publishes probes on a group's subject until every node hears them.
func (c *crowd) spread(nc *nats.Conn, subject string) {
	c.t.Helper()
	eventually(c.t, "interest in the group's subject at every node", func() bool {
		if err := nc.Publish(subject, []byte(probe)); err != nil {
			c.t.Fatal(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.probed) == len(c.pools)
	})
}

// A message to 10,000 members on three nodes reaches everyone once and in the order in which it was published, over
// gRPC and over plain NATS, and the counts are right: with members that are paused, full or closing, with
// exceptions, for a user and for everyone.
func TestGroupOf10000OnThreeNodes(t *testing.T) {
	c := newCrowd(t)
	begin := time.Now()
	added, err := c.groups(1).AddMembers(c.patient(), &holdfastv1.AddMembersRequest{Groups: []string{"hall"}, ConnectionIds: c.ids})
	if err != nil || added.Succeeded != crowdSize {
		t.Fatal(added, err)
	}
	t.Logf("joined in %v", time.Since(begin))
	hall := &holdfastv1.Target{To: &holdfastv1.Target_Group{Group: "hall"}}
	all := &holdfastv1.PublishResponse{Matched: crowdSize, Succeeded: crowdSize}
	c.publish(0, &holdfastv1.PublishRequest{Target: hall, Message: text("A")}, all, crowdSize)

	c.publishAmongOthers(hall)

	except := []string{c.ids[0], c.ids[crowdSize/2], c.ids[crowdSize-1]} // of three nodes: IDs are listed by node
	left := uint64(crowdSize - len(except))
	c.publish(1, &holdfastv1.PublishRequest{Target: hall, Message: text("C"), ExceptConnectionIds: except},
		&holdfastv1.PublishResponse{Matched: left, Succeeded: left}, int(left))

	nc := bustest.Dial(t, c.servers[2].URL)
	c.spread(nc, "holdfast-in.default.group.hall")
	message := nats.NewMsg("holdfast-in.default.group.hall")
	message.Data = []byte("D")
	message.Header.Set("Holdfast-Except", strings.Join(except, ","))
	begin = time.Now()
	if err := nc.PublishMsg(message); err != nil {
		t.Fatal(err)
	}
	c.arrives(int(left))
	t.Logf("D: over NATS in %v", time.Since(begin))

	users := []string{c.ids[1], c.ids[crowdSize/2+1], c.ids[crowdSize-2]}
	ann := "ann"
	for i, id := range users {
		if _, err := c.conns(i).Update(c.patient(), &holdfastv1.UpdateRequest{ConnectionId: id, User: &ann}); err != nil {
			t.Fatal(err)
		}
	}
	c.publish(0, &holdfastv1.PublishRequest{Target: &holdfastv1.Target{To: &holdfastv1.Target_User{User: ann}}, Message: text("E")},
		&holdfastv1.PublishResponse{Matched: 3, Succeeded: 3}, 3)
	c.publish(2, &holdfastv1.PublishRequest{Target: everyone, Message: text("F")}, all, crowdSize)

	c.check(func(id string) string {
		log := "ABCDF"
		if slices.Contains(except, id) {
			log = "ABF"
		}
		if slices.Contains(users, id) {
			log = "ABCDEF"
		}
		return log
	})
	c.closeEveryone()
}

// publishAmongOthers publishes while one member is paused, which takes the message and cannot confirm it, one is full
// and one is closing.
func (c *crowd) publishAmongOthers(hall *holdfastv1.Target) {
	c.t.Helper()
	paused, full, closing := c.dial(0, "/"), c.dial(1, "/tiny"), c.dial(2, "/")
	others := []*member{paused, full, closing}
	if _, err := c.groups(0).AddMembers(c.patient(), &holdfastv1.AddMembersRequest{Groups: []string{"hall"}, ConnectionIds: idsOf(others)}); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.conns(1).Pause(c.patient(), &holdfastv1.PauseRequest{ConnectionId: paused.id}); err != nil {
		c.t.Fatal(err)
	}
	c.fill(full)
	c.beginClose(closing)
	c.publish(2, &holdfastv1.PublishRequest{Target: hall, Message: text("B"), Confirmation: holdfastv1.Confirmation_RECEIVED},
		&holdfastv1.PublishResponse{Matched: crowdSize + 3, Succeeded: crowdSize, Failed: 1, Full: 1, Gone: 1}, crowdSize)
	for _, m := range others {
		if _, err := c.conns(0).Terminate(c.patient(), &holdfastv1.TerminateRequest{ConnectionId: m.id}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// closeEveryone empties the namespace, and sees every client leave.
func (c *crowd) closeEveryone() {
	c.t.Helper()
	begin := time.Now()
	resp, err := c.groups(1).Close(c.patient(), &holdfastv1.GroupServiceCloseRequest{Target: everyone})
	if err != nil || resp.Matched != crowdSize || len(resp.UnreachableNodes) > 0 {
		c.t.Errorf("Close: %v, %v; want all of %d", resp, err, crowdSize)
	}
	if !c.heard.Until(func() bool { return len(c.heard.closings) == crowdSize+3 }) {
		c.t.Errorf("%d of %d close events", c.closings(), crowdSize+3)
	}
	c.t.Logf("closed in %v", time.Since(begin))
	count, err := c.conns(0).Count(c.patient(), &holdfastv1.CountRequest{})
	if err != nil || count.Count != 0 {
		c.t.Errorf("%v, %v are left", count, err)
	}
	c.end()
	for _, p := range c.pools {
		if p.Broken != len(p.Conns) {
			c.t.Errorf("%d of %d clients were closed", p.Broken, len(p.Conns))
		}
	}
}

func (c *trio) closings() (n int) {
	c.saw(func() bool { n = len(c.heard.closings); return true })
	return n
}

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// trio is three brokers, each on its own server of a NATS cluster.
type trio struct {
	t       *testing.T
	servers []*bustest.Process
	brokers []*brokertest.Broker
	ccs     []*grpc.ClientConn
	heard   *heard
	dialed  int
}

// heard is what a subscriber on all events of all nodes hears.
type heard struct {
	*bustest.Recorder

	events   int
	probes   map[string]bool
	opened   map[string]string // the number in a handshake's query: connection ID
	ids      []string          // of all that opened
	strayed  []string          // subjects that are not those of events
	closings map[string]closedEvent
}

// probeSubject is for a test's own messages.
const probeSubject = "holdfast.default.probe."

var eventSubject = regexp.MustCompile(`^holdfast\.default\.(open|message|close|ping|pong|writable)\.[a-z2-7]{10}-[a-z2-7]{16}$`)

func (h *heard) keep(m *nats.Msg) {
	if server, ok := cutPrefix(m.Subject, probeSubject); ok {
		h.probes[server] = true
		return
	}
	h.events++
	if !eventSubject.MatchString(m.Subject) {
		h.strayed = append(h.strayed, m.Subject)
		return
	}
	if id, ok := cutPrefix(m.Subject, "holdfast.default.close."); ok {
		var c closedEvent
		_ = json.Unmarshal(m.Data, &c)
		h.closings[id] = c
	}
	id, ok := cutPrefix(m.Subject, "holdfast.default.open.")
	if !ok {
		return
	}
	var facts struct {
		URL string `json:"url"`
	}
	_ = json.Unmarshal(m.Data, &facts)
	if at, err := url.Parse(facts.URL); err == nil {
		h.opened[at.Query().Get("c")] = id
	}
	h.ids = append(h.ids, id)
}

func cutPrefix(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || s[:len(prefix)] != prefix {
		return "", false
	}
	return s[len(prefix):], true
}

// newTrio starts a cluster; the servers tell no client of each other, so that a broker stays with its own.
func newTrio(t *testing.T, args ...string) *trio {
	t.Helper()
	c := &trio{t: t, servers: bustest.StartCluster(t, 3, "--no_advertise")}
	c.hear()
	for i := range c.servers {
		c.start(c.servers[i].URL, args...)
	}
	return c
}

// hear subscribes at the first server, and waits until what is published at the others comes there.
func (c *trio) hear() {
	c.t.Helper()
	h := &heard{probes: make(map[string]bool), opened: make(map[string]string), closings: make(map[string]closedEvent)}
	h.Recorder = bustest.RecordFunc(c.t, c.servers[0].URL, "holdfast.>", h.keep)
	c.heard = h
	for i, s := range c.servers {
		nc := bustest.Dial(c.t, s.URL)
		name := strconv.Itoa(i)
		eventually(c.t, "route between the servers", func() bool {
			_ = nc.Publish(probeSubject+name, nil)
			return c.saw(func() bool { return h.probes[name] })
		})
	}
	c.t.Cleanup(func() {
		c.saw(func() bool {
			if len(h.strayed) > 0 {
				c.t.Errorf("a subscriber on all events hears %d other messages, the first on %s", len(h.strayed), h.strayed[0])
			}
			return true
		})
	})
}

// saw asks what was heard so far.
func (c *trio) saw(met func() bool) (is bool) {
	c.heard.Until(func() bool { is = met(); return true })
	return is
}

// start starts one more broker.
func (c *trio) start(natsURL string, args ...string) int {
	c.t.Helper()
	b := brokertest.Start(c.t, append([]string{"--nats-url=" + natsURL, "--drain-timeout=2s"}, args...)...)
	c.brokers = append(c.brokers, b)
	c.ccs = append(c.ccs, b.GRPC())
	if metric(c.t, b, "holdfast_life_enabled") != "1" {
		c.t.Fatalf("no life record; stderr:\n%s", b.Stderr())
	}
	c.meet()
	return len(c.brokers) - 1
}

// meet waits until all brokers know each other, which is so when they are ready, unless the machine stood still while the
// last of them waited for answers.
func (c *trio) meet() {
	c.t.Helper()
	for via := range c.brokers {
		eventually(c.t, "list of all nodes", func() bool {
			list, err := c.nodes(via).ListNodes(c.patient(), &holdfastv1.ListNodesRequest{})
			return err == nil && !slices.ContainsFunc(c.brokers, func(b *brokertest.Broker) bool {
				return !slices.ContainsFunc(list.Nodes, func(n *holdfastv1.Node) bool { return n.Id == b.Node })
			})
		})
	}
}

func (c *trio) conns(via int) holdfastv1.ConnectionServiceClient {
	return holdfastv1.NewConnectionServiceClient(c.ccs[via])
}

func (c *trio) groups(via int) holdfastv1.GroupServiceClient {
	return holdfastv1.NewGroupServiceClient(c.ccs[via])
}

func (c *trio) nodes(via int) holdfastv1.NodeServiceClient {
	return holdfastv1.NewNodeServiceClient(c.ccs[via])
}

// patient is the context of a call that must not fail for want of time.
func (c *trio) patient() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), brokertest.Patience)
	c.t.Cleanup(cancel)
	return ctx
}

// member is a client and the ID of its connection.
type member struct {
	*wstest.Peer

	id    string
	owner int
}

// dial connects a client to a node and waits for its open event.
func (c *trio) dial(owner int, path string) *member {
	c.t.Helper()
	return c.dialWith(owner, path, nil)
}

func (c *trio) dialWith(owner int, path string, header http.Header) *member {
	c.t.Helper()
	c.dialed++
	n := strconv.Itoa(c.dialed)
	m := &member{owner: owner, Peer: wstest.Dial(c.t, c.brokers[owner].URL(path)+"?c="+n, header)}
	if !c.heard.Until(func() bool { m.id = c.heard.opened[n]; return m.id != "" }) {
		c.t.Fatalf("no open event from node %d; stderr:\n%s", owner, c.brokers[owner].Stderr())
	}
	return m
}

// dialEach connects a client to each node.
func (c *trio) dialEach(path string) (all []*member) {
	c.t.Helper()
	for i := range c.brokers {
		all = append(all, c.dial(i, path))
	}
	return all
}

// indexOf is the number of a node.
func (c *trio) indexOf(node string) int {
	return slices.IndexFunc(c.brokers, func(b *brokertest.Broker) bool { return b.Node == node })
}

func idsOf(members []*member) (ids []string) {
	for _, m := range members {
		ids = append(ids, m.id)
	}
	return ids
}

// eventually asks again and again: what a process counts, nobody is told of.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.Now().Add(brokertest.Patience)
	for !met() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Every call of ConnectionService does through every node what it does through the owner, for a client of
// every node.
func TestNodesServeEveryVerbForEachOther(t *testing.T) {
	c := newTrio(t)
	for _, b := range c.brokers {
		g := newGeneric(t, b.GRPC())
		for owner := range c.brokers {
			everyVerb(c, g, owner)
		}
	}
}

func everyVerb(c *trio, g *generic, owner int) {
	t := c.t
	t.Helper()
	peer := c.dial(owner, "/")
	request := func(rest string) string { return fmt.Sprintf(`{"connection_id":%q%s}`, peer.id, rest) }
	expect := func(method, req, want string) {
		t.Helper()
		if got, ok := g.call(method, req), regexp.MustCompile("^"+want); !ok.MatchString(got) {
			t.Errorf("%s %s through %s: %s, want %s", method, req, g.cc.Target(), got, want)
		}
	}
	expect("Send", request(`,"message":{"text":"a"}`), `{}$`)
	expect("Send", request(`,"message":{"binary":"AQI="},"confirmation":"WRITTEN"`), `{}$`)
	expect("SendStream", `{"batch_id":"7","sends":[`+request(`,"message":{"text":"b"}`)+`]}`, `{"batch_id":"7"}$`)
	expect("SendMany", fmt.Sprintf(`{"connection_ids":[%q,%q],"message":{"text":"c"}}`, peer.id, peer.id), `{"succeeded":2}$`)
	peer.Expect(wire.Text, "a")
	peer.Expect(wire.Binary, "\x01\x02")
	for _, text := range []string{"b", "c", "c"} {
		peer.Expect(wire.Text, text)
	}
	answered := make(chan struct{}) // the pongs
	go func() {
		defer close(answered)
		answerPings(peer, 2)
	}()
	expect("Send", request(`,"message":{"text":"d"},"confirmation":"RECEIVED"`), `{"rtt":"`)
	expect("Ping", request(`,"payload":"cGluZw=="`), `{"rtt":"`)
	<-answered
	expect("Pong", request(``), `{}$`)
	peer.Expect(wire.Pong, "")

	expect("Pause", request(`,"resume_after":"60s"`), `{"resume_time":"20`)
	expect("Ping", request(``), "FailedPrecondition CONNECTION_PAUSED$")
	expect("Get", request(``), fmt.Sprintf(`{"connection":{"id":%q,"node":%q`, peer.id, c.brokers[owner].Node))
	expect("Resume", request(``), `{}$`)
	expect("Update", request(`,"set_attributes":{"room":"7"},"user":"ann"`), `{"connection":{"id"`)
	expect("Count", `{"filter":{"user":"ann","attributes":{"room":"7"}}}`, `{"count":"1"}$`)
	expect("List", `{"filter":{"user":"ann"}}`, fmt.Sprintf(`{"connections":\[{"id":%q`, peer.id))
	expect("Watch", request(``), `{"started":{"node":"[a-z2-7]{10}"}}$`)

	go func() {
		peer.ExpectClose(4000)
		peer.Send(wstest.Close(4001, "bye"))
	}()
	expect("Close", request(`,"code":4000,"reason":"enough"`), `{"code":4001,"reason":"bye","was_clean":true}$`)
	expect("Get", request(``), "NotFound CONNECTION_NOT_FOUND$")

	peer = c.dial(owner, "/")
	expect("Terminate", request(``), `{}$`)
	peer.ExpectEnd()
}

// answerPings reads until it has answered n pings.
func answerPings(m *member, n int) {
	for n > 0 {
		if f := m.Receive(); f.Opcode == wire.Ping {
			m.Send(wstest.Pong(string(f.Payload)))
			n--
		}
	}
}

func text(s string) *holdfastv1.Message {
	return &holdfastv1.Message{Payload: &holdfastv1.Message_Text{Text: s}}
}

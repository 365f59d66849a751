package main_test

import (
	"slices"
	"testing"

	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Every node knows all of them with their addresses, and drains any: the node is DRAINING while its connections
// are closed, messages reach them until then, and afterwards it is gone.
func TestNodesAreKnownAndDrainedThroughEachOther(t *testing.T) {
	t.Parallel() // it waits most of the time
	c := newTrio(t)
	drained := c.start(c.servers[2].URL, "--drain-delay=10s") // time to see it drain
	ready := holdfastv1.Node_READY
	for via := range c.brokers {
		c.knowsAll(via, ready)
	}
	peers := []*member{c.dial(drained, "/"), c.dial(drained, "/")}
	id := c.brokers[drained].Node
	node := func(via int) *holdfastv1.Node {
		resp, err := c.nodes(via).GetNode(c.patient(), &holdfastv1.GetNodeRequest{Node: id})
		if err != nil {
			t.Fatal(err)
		}
		return resp.Node
	}
	eventually(t, "count of its connections", func() bool { return node(0).Connections == 2 })

	resp, err := c.nodes(0).DrainNode(c.patient(), &holdfastv1.DrainNodeRequest{Node: id})
	if err != nil || resp.Connections != 2 {
		t.Fatalf("DrainNode: %v, %v", resp, err)
	}
	for via := range c.brokers {
		eventually(t, "DRAINING", func() bool { return node(via).State == holdfastv1.Node_DRAINING })
	}
	for via := range c.brokers {
		if err := c.send(c.patient(), via, peers[0].id); err != nil {
			t.Errorf("a send to a connection that is draining: %v", err)
		}
		peers[0].Expect(wire.Text, "x")
	}
	if again, err := c.nodes(1).DrainNode(c.patient(), &holdfastv1.DrainNodeRequest{Node: id}); err != nil || again.Connections != 2 {
		t.Errorf("DrainNode once more: %v, %v", again, err)
	}
	for _, m := range peers {
		m.ExpectClose(wire.ServiceRestart)
		m.Send(wstest.Close(wire.ServiceRestart, ""))
	}
	if code := c.brokers[drained].Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	c.brokers = c.brokers[:drained]
	for via := range c.brokers {
		c.knowsAll(via, ready)
		_, err := c.nodes(via).GetNode(c.patient(), &holdfastv1.GetNodeRequest{Node: id})
		if reason := reasonIn(status.Convert(err)); reason != "NODE_NOT_FOUND" {
			t.Errorf("GetNode of a node that has stopped: %v", err)
		}
		if reason := reasonIn(status.Convert(c.send(c.patient(), via, peers[1].id))); reason != "CONNECTION_GONE" {
			t.Errorf("a send to a node that has stopped: %s", reason)
		}
	}
}

func (c *trio) knowsAll(via int, state holdfastv1.Node_State) {
	c.t.Helper()
	list, err := c.nodes(via).ListNodes(c.patient(), &holdfastv1.ListNodesRequest{})
	if err != nil || list.Node != c.brokers[via].Node || len(list.Nodes) != len(c.brokers) {
		c.t.Fatalf("ListNodes through node %d: %v, %v", via, list, err)
	}
	for _, n := range list.Nodes {
		b := c.brokers[c.indexOf(n.Id)]
		if n.State != state || n.Control != b.Control || n.Ops != b.Ops || !slices.Equal(n.Listen, b.Listen) || n.Version == "" {
			c.t.Errorf("node %d says of %s: %v", via, b.Node, n)
		}
	}
}

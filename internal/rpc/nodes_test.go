package rpc

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func TestNodes(t *testing.T) {
	c, nodes := newCluster(t, 3)
	c.silence(nodes[2])
	list, err := nodes[1].nodes.ListNodes(t.Context(), &holdfastv1.ListNodesRequest{})
	if err != nil || len(list.Nodes) != 3 || list.Node != "cccccccccc" || list.Nodes[0].Id != "bbbbbbbbbb" || list.Nodes[2].State != holdfastv1.Node_SILENT {
		t.Fatalf("%v, %v", list, err)
	}
	want := &holdfastv1.Node{
		Id: "bbbbbbbbbb", ServerName: "server-b", Version: "1", State: holdfastv1.Node_READY, Listen: []string{"ws://bbbbbbbbbb"},
		Control: "control", Ops: "ops", StartTime: timestamppb.New(time.Unix(1, 0)), Connections: 7, SeenTime: timestamppb.New(time.Unix(2, 0)),
	}
	got, err := nodes[1].nodes.GetNode(t.Context(), &holdfastv1.GetNodeRequest{Node: "bbbbbbbbbb"})
	if err != nil || !proto.Equal(got.Node, want) {
		t.Errorf("%v, %v", got, err)
	}
	if own, err := nodes[1].nodes.GetNode(t.Context(), &holdfastv1.GetNodeRequest{}); err != nil || own.Node.Id != "cccccccccc" {
		t.Errorf("own: %v, %v", own, err)
	}
	_, err = nodes[1].nodes.GetNode(t.Context(), &holdfastv1.GetNodeRequest{Node: "x"})
	if md := wantRefusal(t, err, hub.InvalidNodeID); md["field"] != "node" {
		t.Errorf("metadata %v", md)
	}
	_, err = nodes[1].nodes.GetNode(t.Context(), &holdfastv1.GetNodeRequest{Node: "zzzzzzzzzz"})
	if md := wantRefusal(t, err, hub.NodeNotFound); md["node"] != "zzzzzzzzzz" {
		t.Errorf("metadata %v", md)
	}
}

func TestNodeTellsItsLife(t *testing.T) {
	got := nodeOf(&hub.Node{Life: &hub.Life{LeaseLeft: time.Second, Waiting: 2, Freezes: 3, Claims: 4, Lost: 5, Repeated: 6}}).Life
	want := &holdfastv1.Node_Life{
		LeaseLeft: durationpb.New(time.Second), Waiting: 2, Freezes: 3, Claims: 4, Lost: 5, RepeatedCloses: 6,
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEveryNodeStateHasItsName(t *testing.T) {
	for s := hub.NodeReady; s <= hub.NodeFrozen; s++ {
		if nodeStates[s].String() != s.String() {
			t.Errorf("%s is told as %s", s, nodeStates[s])
		}
	}
	if len(nodeStates) != len(holdfastv1.Node_State_name)-1 {
		t.Errorf("%d states of %d", len(nodeStates), len(holdfastv1.Node_State_name)-1)
	}
}

func TestDrainNode(t *testing.T) {
	c, nodes := newCluster(t, 3)
	fill(t, nodes, 1, 2, 3)
	for range 2 { // the second changes nothing
		for i, id := range []string{"bbbbbbbbbb", "cccccccccc"} {
			resp, err := nodes[0].nodes.DrainNode(t.Context(), &holdfastv1.DrainNodeRequest{Node: id})
			if err != nil || resp.Connections != uint64(i+1) {
				t.Errorf("%s: %v, %v", id, resp, err)
			}
		}
	}
	if nodes[0].drains != 1 || nodes[1].drains != 1 || nodes[2].drains != 0 {
		t.Errorf("drained %d, %d, %d times", nodes[0].drains, nodes[1].drains, nodes[2].drains)
	}
	drain := func(id string) error {
		_, err := nodes[0].nodes.DrainNode(t.Context(), &holdfastv1.DrainNodeRequest{Node: id})
		return err
	}
	wantRefusal(t, drain(""), hub.InvalidNodeID)
	wantRefusal(t, drain("zzzzzzzzzz"), hub.NodeNotFound)
	c.change(nodes[2], func(m *member) { m.fails = hub.ErrUnreachable })
	if md := wantRefusal(t, drain("dddddddddd"), hub.NodeUnreachable); md["node"] != "dddddddddd" {
		t.Errorf("metadata %v", md)
	}
	c.change(nodes[2], func(m *member) { m.fails = hub.ErrGone })
	if md := wantRefusal(t, drain("dddddddddd"), hub.NodeNotFound); md["node"] != "dddddddddd" {
		t.Errorf("metadata %v", md)
	}
}

// A broker that was given neither peers nor a drain is a node by itself.
func TestNodeAlone(t *testing.T) {
	b := start(t, Config{})
	b.open(t)
	client := holdfastv1.NewNodeServiceClient(b.conn)
	list, err := client.ListNodes(t.Context(), &holdfastv1.ListNodesRequest{})
	if err != nil || len(list.Nodes) != 1 || list.Nodes[0].Id != string(b.hub.Node()) || list.Nodes[0].Connections != 1 {
		t.Errorf("%v, %v", list, err)
	}
	_, err = client.DrainNode(t.Context(), &holdfastv1.DrainNodeRequest{Node: string(b.hub.Node())})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("drain: %v", err)
	}
}

package bus

import (
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// nodeMessage is a node as nodes tell it to each other. Newer ones may add fields.
func nodeMessage(n *hub.Node) *holdfastv1.Node {
	m := &holdfastv1.Node{
		Id: string(n.ID), ServerName: n.ServerName, Version: n.Version, State: holdfastv1.Node_State(n.State),
		Listen: n.Listen, Control: n.Control, Ops: n.Ops, StartTime: timestamppb.New(n.StartTime),
		Connections: n.Connections,
	}
	if l := n.Life; l != nil {
		m.Life = &holdfastv1.Node_Life{
			LeaseLeft: durationpb.New(l.LeaseLeft), Waiting: l.Waiting, Freezes: l.Freezes, Claims: l.Claims, Lost: l.Lost,
			RepeatedCloses: l.Repeated,
		}
	}
	return m
}

// nodeOf reads it.
func nodeOf(n *holdfastv1.Node) hub.Node {
	state := hub.NodeReady
	switch n.GetState() {
	case holdfastv1.Node_DRAINING:
		state = hub.NodeDraining
	case holdfastv1.Node_FROZEN:
		state = hub.NodeFrozen
	}
	node := hub.Node{
		ID: hub.NodeID(n.GetId()), ServerName: n.GetServerName(), Version: n.GetVersion(), State: state,
		Listen: n.GetListen(), Control: n.GetControl(), Ops: n.GetOps(), StartTime: n.GetStartTime().AsTime(),
		Connections: n.GetConnections(),
	}
	if l := n.GetLife(); l != nil {
		node.Life = &hub.Life{
			LeaseLeft: l.GetLeaseLeft().AsDuration(), Waiting: l.GetWaiting(), Freezes: l.GetFreezes(),
			Claims: l.GetClaims(), Lost: l.GetLost(), Repeated: l.GetRepeatedCloses(),
		}
	}
	return node
}

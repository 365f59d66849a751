package bus

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// nodeMessage is a node as nodes tell it to each other. Newer ones may add fields.
func nodeMessage(n *hub.Node) *holdfastv1.Node {
	return &holdfastv1.Node{
		Id: string(n.ID), ServerName: n.ServerName, Version: n.Version, State: holdfastv1.Node_State(n.State),
		Listen: n.Listen, Control: n.Control, Ops: n.Ops, StartTime: timestamppb.New(n.StartTime),
		Connections: n.Connections,
	}
}

// nodeOf reads it.
func nodeOf(n *holdfastv1.Node) hub.Node {
	state := hub.NodeReady
	if n.GetState() == holdfastv1.Node_DRAINING {
		state = hub.NodeDraining
	}
	return hub.Node{
		ID: hub.NodeID(n.GetId()), ServerName: n.GetServerName(), Version: n.GetVersion(), State: state,
		Listen: n.GetListen(), Control: n.GetControl(), Ops: n.GetOps(), StartTime: n.GetStartTime().AsTime(),
		Connections: n.GetConnections(),
	}
}

package bus

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

func TestNodesTellEachOtherEverything(t *testing.T) {
	node := hub.Node{
		ID: "aaaaaaaaaa", ServerName: "server", Version: "1", State: hub.NodeFrozen, Listen: []string{"ws://a", "wss://b"},
		Control: "c", Ops: "d", StartTime: time.Unix(1, 2).UTC(), Connections: 3,
		Life: &hub.Life{LeaseLeft: 4, Waiting: 5, Freezes: 6, Claims: 7, Lost: 8, Repeated: 9},
	}
	if diff := cmp.Diff(node, nodeOf(nodeMessage(&node))); diff != "" {
		t.Error(diff)
	}
	node.Life = nil
	if diff := cmp.Diff(node, nodeOf(nodeMessage(&node))); diff != "" {
		t.Errorf("without JetStream: %s", diff)
	}
}

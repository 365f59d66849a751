package hub

import "time"

// NodeState is what is known of a node's health.
type NodeState uint8

// The states, in the order of the public schema.
const (
	_ NodeState = iota
	NodeReady
	NodeDraining
	NodeSilent // not heard of for a while: it hangs, was killed, or is cut off
	NodeFrozen // its lease is over
)

// String is the state's name in the public schema.
func (s NodeState) String() string {
	switch s {
	case NodeReady:
		return "READY"
	case NodeDraining:
		return "DRAINING"
	case NodeSilent:
		return "SILENT"
	case NodeFrozen:
		return "FROZEN"
	}
	return "STATE_UNSPECIFIED"
}

// Node is one broker process, as it describes itself to the others.
type Node struct {
	ID         NodeID
	ServerName string // of the embedded NATS server; empty with an external one
	Version    string
	State      NodeState
	Listen     []string // URLs for clients
	Control    string   // host:port
	Ops        string   // URL
	StartTime  time.Time
	// Connections open when it was last heard of.
	Connections uint64
	// SeenTime is when that was, on our clock.
	SeenTime time.Time
	Life     *Life // nil without JetStream
}

// Life is how the record stands by which every open event of a node has exactly one close.
type Life struct {
	LeaseLeft time.Duration // 0 when it is frozen
	Waiting   uint64        // opens and closes that are not recorded yet
	Freezes   uint64
	Claims    uint64 // of dead nodes
	Lost      uint64 // closes published for them
	Repeated  uint64 // closes that they had recorded, published in their place
}

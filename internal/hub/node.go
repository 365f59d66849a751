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
}

package hub

import "time"

// Endpoint is what the core needs to know of a configured path. One value is shared by all its
// connections and never changes.
type Endpoint struct {
	Path      string
	Namespace string
	// PingEvents and PongEvents: publish the client's pings and unmatched pongs.
	PingEvents, PongEvents bool
	// EventAttributes are the attribute names that message events carry.
	EventAttributes []string
	// MaxPause bounds a Pause and is its default.
	MaxPause time.Duration
	// StartPaused: connections are not read until a backend resumes them.
	StartPaused bool
}

// Info is a connection at one moment.
type Info struct {
	ID        ID
	Namespace string
	Endpoint  string
	Closing   bool
	Paused    bool
	Facts     *Facts // shared, not to be modified
	User      string
	// Attributes are sorted by name. Not to be modified.
	Attributes []Attribute
	Groups     []string // sorted
	OpenTime   time.Time
	ExpireTime time.Time     // zero: never
	RTT        time.Duration // zero: not measured yet
	Buffered   uint64        // bytes
	Traffic    Traffic
	Seq        uint64
}

// Filter chooses connections; a zero field matches all.
type Filter struct {
	Namespace  string
	Namespaces []string // one of them; nil: any
	User       string
	Group      string
	Node       NodeID
	Attributes map[string]string
}

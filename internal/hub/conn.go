package hub

import (
	"sync"
	"time"
)

// Conn is one connection from its open event to its close event. There are very many of them, most of which do nothing
// most of the time: what few have lies in extras.
type Conn struct {
	// static after Open
	hub      *Hub
	endpoint *Endpoint
	socket   Socket
	facts    packedFacts
	opened   int64 // nanoseconds since 1970
	key      key

	Backlog Backlog

	// guarded by mu
	ended     bool
	recording bool // the open event is not published yet: nothing else may be
	writable  bool // a writable event waits for that

	// mu orders the events: whoever publishes holds it. The Publisher does not block, and nothing
	// else that could is called under it.
	mu     sync.Mutex
	seq    uint64
	in     struct{ messages, bytes uint64 }
	extras *extras // nil: there is none
}

// Backlog is what the Publisher notes of a connection at every event, in the bytes that are left of a Conn. It is guarded
// by a lock of the Publisher's; nobody else looks at it.
type Backlog struct {
	Express uint8 // how much of its waits to be published soon, in a unit of the Publisher's
	Bulk    bool  // some waits to be published later
	Waits   bool  // to be told that there is room
}

// extras are what a connection has only once somebody has given it something, guarded by Conn.mu.
type extras struct {
	user       string
	attributes []Attribute // sorted by name; replaced, never changed
	carried    []Attribute // those that message events carry
	tls        *TLS
	expiry     *time.Timer // ends the connection; nil without expiry
	expireTime time.Time
	closers    []func(*Closed) // waiting for the end
	requests   *requests       // nil until a request_id is used
	sets       *memberships    // nil until it is in a group or has a user
	pause      *pause          // nil: was never paused
}

// noExtras stand for those of a connection that has none. Nobody changes them.
var noExtras extras

// extrasLocked are there to be read.
func (c *Conn) extrasLocked() *extras {
	if c.extras == nil {
		return &noExtras
	}
	return c.extras
}

// changeExtrasLocked are there to be changed.
func (c *Conn) changeExtrasLocked() *extras {
	if c.extras == nil {
		c.extras = new(extras)
	}
	return c.extras
}

// ID is the connection's ID.
func (c *Conn) ID() ID { return ID{node: c.hub.node, key: c.key} }

// AppendID appends the text form of the ID, without an allocation.
func (c *Conn) AppendID(dst []byte) []byte { return c.ID().append(dst) }

// OpenTime is when the connection was accepted.
func (c *Conn) OpenTime() time.Time { return time.Unix(0, c.opened) }

// Endpoint is what the connection was accepted under.
func (c *Conn) Endpoint() *Endpoint { return c.endpoint }

// Room is called by the Publisher when it has room again, and once after it kept an open event back.
func (c *Conn) Room() {
	c.mu.Lock()
	c.recording = false
	if c.writable && !c.ended {
		c.publishLocked(Event{Kind: KindWritable, Seq: c.seq})
	}
	c.writable = false
	c.mu.Unlock()
	c.socket.Room()
}

// Recording reports whether the open event is kept back: the socket must not be read before its Room is
// called.
func (c *Conn) Recording() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recording
}

// open publishes the first event. Nobody but the registry knows the connection yet.
func (c *Conn) open(i *Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adoptLocked(i)
	c.seq = 1
	info := c.infoLocked()
	c.recording = !c.publishLocked(Event{Kind: KindOpen, Seq: 1, Info: &info})
}

// publishLocked fills in what every event has in common and hands it to the bus, then to watches.
func (c *Conn) publishLocked(e Event) bool {
	e.Conn = c
	e.User = c.extrasLocked().user
	taken := c.hub.publisher.Publish(e)
	if taken || e.Kind == KindOpen {
		c.hub.watches.deliver(&e)
	}
	return taken
}

// Message publishes a message of the client. On false the bus had no room: the socket keeps the message,
// reads no further, and tries again after its Room was called.
func (c *Conn) Message(op Opcode, payload []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return true
	}
	e := Event{Kind: KindMessage, Opcode: op, Seq: c.seq + 1, Payload: payload, Attributes: c.extrasLocked().carried}
	if !c.publishLocked(e) {
		return false
	}
	c.seq++
	c.in.messages++
	c.in.bytes += uint64(len(payload))
	return true
}

// Ping publishes a ping of the client, where the endpoint wants to know. False as in Message.
func (c *Conn) Ping(payload []byte) bool {
	return !c.endpoint.PingEvents || c.control(KindPing, payload)
}

// Pong publishes a pong that confirms nothing, where the endpoint wants to know. False as in Message.
func (c *Conn) Pong(payload []byte) bool {
	return !c.endpoint.PongEvents || c.control(KindPong, payload)
}

// Writable publishes that a send queue which refused a message is empty.
func (c *Conn) Writable() { c.control(KindWritable, nil) }

func (c *Conn) control(k Kind, payload []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
		return true
	case c.recording: // only a writable: nothing is read yet
		c.writable = true
		return true
	}
	return c.publishLocked(Event{Kind: k, Seq: c.seq, Payload: payload})
}

// Closed publishes the close event and forgets the connection. The socket calls it once, after
// everything else.
func (c *Conn) Closed(end End) {
	state := c.socket.State()
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended = true
	c.seq++
	x := c.extrasLocked()
	closed := &Closed{
		ID: c.ID(), Namespace: c.endpoint.Namespace, Endpoint: c.endpoint.Path,
		User: x.user, Attributes: x.attributes, End: end,
		OpenTime: c.OpenTime(), CloseTime: time.Now(), Traffic: c.trafficLocked(state),
	}
	stopTimer(x.expiry)
	closers := x.closers
	// Forgotten first: who has seen the close event does not find the connection any more, and who
	// still finds it, after beginning to watch, will see the event.
	c.leaveAllLocked()
	c.hub.forget(c, closed)
	c.publishLocked(Event{Kind: KindClose, Seq: c.seq, Closed: closed})
	p := x.pause
	c.mu.Unlock()
	if p != nil {
		p.mu.Lock()
		p.disarm()
		p.mu.Unlock()
	}
	for _, f := range closers {
		f(closed)
	}
	c.hub.live.Done()
}

func (c *Conn) trafficLocked(s SocketState) Traffic {
	return Traffic{
		MessagesIn: c.in.messages, BytesIn: c.in.bytes, MessagesOut: s.MessagesOut, BytesOut: s.BytesOut,
	}
}

// stats are what Hub.Stats adds up.
func (c *Conn) stats() (SocketState, Traffic) {
	s := c.socket.State()
	c.mu.Lock()
	defer c.mu.Unlock()
	return s, c.trafficLocked(s)
}

// Info is the connection as it is now.
func (c *Conn) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.infoLocked()
}

func (c *Conn) infoLocked() Info {
	s, x := c.socket.State(), c.extrasLocked()
	return Info{
		ID: c.ID(), Namespace: c.endpoint.Namespace, Endpoint: c.endpoint.Path,
		Closing: s.Closing, Paused: s.Paused, Facts: c.facts.unpack(x.tls),
		User: x.user, Attributes: x.attributes, Groups: c.groupNamesLocked(),
		OpenTime: c.OpenTime(), ExpireTime: x.expireTime,
		RTT: s.RTT, Buffered: s.Buffered, Traffic: c.trafficLocked(s), Seq: c.seq,
	}
}

func stopTimer(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

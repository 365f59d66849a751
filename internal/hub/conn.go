package hub

import (
	"sync"
	"time"
)

// Conn is one connection from its open event to its close event.
type Conn struct {
	// static after Open
	hub      *Hub
	key      key
	endpoint *Endpoint
	facts    *Facts
	socket   Socket
	openTime time.Time

	// mu orders the events: whoever publishes holds it. The Publisher does not block, and nothing
	// else that could is called under it.
	mu         sync.Mutex
	seq        uint64
	in         Traffic // only MessagesIn and BytesIn
	user       string
	attributes []Attribute // sorted by name; replaced, never changed
	carried    []Attribute // those that message events carry
	ended      bool
	recording  bool        // the open event is not published yet: nothing else may be
	writable   bool        // a writable event waits for that
	expiry     *time.Timer // ends the connection; nil without expiry
	expireTime time.Time
	closers    []func(*Closed) // waiting for the end
	requests   *requests       // nil until a request_id is used
	sets       *memberships    // nil until it is in a group or has a user

	// pauseMu makes a change of the timer and of the socket one step. The reading side, which a Pause
	// waits for, never takes it.
	pauseMu sync.Mutex
	resume  *time.Timer // ends a pause; nil while not paused
}

// ID is the connection's ID.
func (c *Conn) ID() ID { return ID{node: c.hub.node, key: c.key} }

// AppendID appends the text form of the ID, without an allocation.
func (c *Conn) AppendID(dst []byte) []byte { return c.ID().append(dst) }

// OpenTime is when the connection was accepted.
func (c *Conn) OpenTime() time.Time { return c.openTime }

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
	e.User = c.user
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
	e := Event{Kind: KindMessage, Opcode: op, Seq: c.seq + 1, Payload: payload, Attributes: c.carried}
	if !c.publishLocked(e) {
		return false
	}
	c.seq++
	c.in.MessagesIn++
	c.in.BytesIn += uint64(len(payload))
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
	closed := &Closed{
		ID: c.ID(), Namespace: c.endpoint.Namespace, Endpoint: c.endpoint.Path,
		User: c.user, Attributes: c.attributes, End: end,
		OpenTime: c.openTime, CloseTime: time.Now(), Traffic: c.trafficLocked(state),
	}
	stopTimer(c.expiry)
	closers := c.closers
	c.closers = nil
	// Forgotten first: who has seen the close event does not find the connection any more, and who
	// still finds it, after beginning to watch, will see the event.
	c.leaveAllLocked()
	c.hub.forget(c, closed)
	c.publishLocked(Event{Kind: KindClose, Seq: c.seq, Closed: closed})
	c.mu.Unlock()
	c.stopResume()
	for _, f := range closers {
		f(closed)
	}
	c.hub.live.Done()
}

func (c *Conn) trafficLocked(s SocketState) Traffic {
	t := c.in
	t.MessagesOut, t.BytesOut = s.MessagesOut, s.BytesOut
	return t
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
	s := c.socket.State()
	return Info{
		ID: c.ID(), Namespace: c.endpoint.Namespace, Endpoint: c.endpoint.Path,
		Closing: s.Closing, Paused: s.Paused, Facts: c.facts,
		User: c.user, Attributes: c.attributes, Groups: c.groupNamesLocked(),
		OpenTime: c.openTime, ExpireTime: c.expireTime,
		RTT: s.RTT, Buffered: s.Buffered, Traffic: c.trafficLocked(s), Seq: c.seq,
	}
}

func stopTimer(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

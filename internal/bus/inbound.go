package bus

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// inbound is the connection for what flows towards the broker from backends and publishers.
type inbound struct {
	link
	config     Config
	subjects   Subjects
	replies    Replies // set before the subscription
	groups     *groups
	handshakes *handshakes

	held      int // replies since the last Flush; of the goroutine that takes them
	delivered atomic.Uint64
	acks      atomic.Uint64

	mu      sync.Mutex
	refused map[hub.Reason]uint64
	streams map[string]struct{} // those whose acknowledgements were logged
}

// InboundStats are totals since the start, and the present.
type InboundStats struct {
	Connected    bool
	Delivered    uint64                // replies that a connection took
	Refused      map[hub.Reason]uint64 // replies that it did not
	Acks         uint64                // JetStream acknowledgements dropped
	SlowConsumer uint64                // times nats.go had to drop replies or group messages because they came too fast
	Denied       uint64                // permission errors of the server
	Reconnects   uint64
}

func newInbound(c Config, s Subjects) (*inbound, error) {
	in := &inbound{
		config: c, subjects: s, refused: make(map[hub.Reason]uint64), streams: make(map[string]struct{}),
	}
	in.groups = newGroups(in)
	in.handshakes = &handshakes{in: in, asking: make(map[string]*asking)}
	in.onSlow = in.groups.lost
	return in, in.connect(c, "replies")
}

// serve subscribes to the replies of a node. When it returns the server knows.
func (in *inbound) serve(node hub.NodeID, r Replies) error {
	in.replies = r
	if _, err := in.nc.Subscribe(in.subjects.Replies(node), in.reply); err != nil {
		return fmt.Errorf("nats: subscribe to replies: %w", err)
	}
	if err := in.nc.FlushTimeout(in.config.ConnectTimeout); err != nil {
		return fmt.Errorf("nats: subscribe to replies: %w", err)
	}
	return nil
}

// maxHeld bounds the replies that wait for each other.
const maxHeld = 64

// reply is called for one message after the other. Where the next has arrived already, what it sends waits for that:
// several replies to one connection are then written together.
func (in *inbound) reply(m *nats.Msg) {
	waiting, _, err := m.Sub.Pending() // m among them
	more := err == nil && waiting > 1 && in.held < maxHeld
	in.handle(m, more && m.Reply == "") // who asked is told how much is left after the write
	switch {
	case more:
		in.held++
	case in.held > 0:
		in.held = 0
		in.replies.Flush()
	}
}

func (in *inbound) handle(m *nats.Msg, later bool) {
	if stream, ok := ackOf(m); ok {
		in.acked(stream)
		return
	}
	sent, err := in.deliver(m, later)
	for p, pending := errors.AsType[*hub.Pending](err); pending; p, pending = errors.AsType[*hub.Pending](err) {
		waits, full := p.Then(len(m.Data), func(c *hub.Conn, err error) { in.deliverTo(c, err, m) })
		if waits {
			return
		}
		if err = full; err == nil { // it is pending no longer
			sent, err = in.deliver(m, later)
		}
	}
	in.settle(m, sent, err)
}

// deliverTo is for a reply that has waited for its connection.
func (in *inbound) deliverTo(c *hub.Conn, err error, m *nats.Msg) {
	var sent hub.Sent
	if err == nil {
		var message *hub.Message
		if _, message, err = in.read(m); err == nil {
			sent, err = c.Send(message, "", nil)
		}
	}
	in.settle(m, sent, err)
}

// settle counts a reply, and answers one that is a request. Where the answer goes, whoever asks has chosen: it must not be
// where he may not publish himself.
func (in *inbound) settle(m *nats.Msg, sent hub.Sent, err error) {
	if err != nil {
		in.mu.Lock()
		in.refused[reasonOf(err)]++
		in.mu.Unlock()
	} else {
		in.delivered.Add(1)
	}
	if m.Reply == "" || in.subjects.reserved(m.Reply) {
		return
	}
	if err := m.Respond(appendVerdict(nil, verdictOf(sent, err))); err != nil {
		in.config.Logger.Debug("nats: verdict of a reply not sent", "error", err)
	}
}

func (in *inbound) deliver(m *nats.Msg, later bool) (hub.Sent, error) {
	target, message, err := in.read(m)
	if err != nil {
		return hub.Sent{}, err
	}
	message.Later = later
	return in.replies.Reply(target.ID, target.Namespace, message)
}

// read answers what shall be sent, and to whom.
func (in *inbound) read(m *nats.Msg) (ReplyTarget, *hub.Message, error) {
	target, ok := in.subjects.ParseReply(m.Subject)
	if !ok {
		return ReplyTarget{}, nil, hub.Invalid(hub.InvalidConnectionID, "subject", m.Subject,
			"<namespace>.reply.<node>.<id>.t or .b behind the prefix")
	}
	message, err := replyMessage(target, m)
	return target, message, err
}

func (in *inbound) acked(stream string) {
	in.acks.Add(1)
	in.mu.Lock()
	_, known := in.streams[stream]
	const enough = 1000 // somebody makes up names
	if !known && len(in.streams) < enough {
		in.streams[stream] = struct{}{}
	}
	in.mu.Unlock()
	if !known {
		in.config.Logger.Warn("nats: a JetStream stream over message events acknowledges each of them to the reply subject; "+
			"the acknowledgements are dropped; set no_ack on the stream", "stream", stream)
	}
}

func (in *inbound) stats() InboundStats {
	in.mu.Lock()
	refused := make(map[hub.Reason]uint64, len(in.refused))
	maps.Copy(refused, in.refused)
	in.mu.Unlock()
	return InboundStats{
		Connected: in.up.Load(), Delivered: in.delivered.Load(), Refused: refused, Acks: in.acks.Load(),
		SlowConsumer: in.slow.Load(), Denied: in.denied.Load(), Reconnects: in.reconnects.Load(),
	}
}

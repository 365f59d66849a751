package rpc

import (
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// feeder gives the sends of one SendStream to the connections of this node and knows which messages of
// the stream are unfinished. It is used by one goroutine at a time, but for sends that wait for a connection
// to open: these are fed by whoever opens it.
type feeder struct {
	service *service
	caller  *caller // whose stream it is; nil: may do everything

	mu         sync.Mutex            // also guards what the batches know of their failures
	unfinished map[string]unfinished // by connection ID
	abandoned  bool                  // nobody will continue a message
	cork       hub.Cork
}

// unfinished is a message in fragments that belongs to a stream.
type unfinished struct {
	conn     *hub.Conn
	fragment uint64
	opcode   hub.Opcode
}

func (s *service) newFeeder(c *caller) feeder {
	return feeder{service: s, caller: c, unfinished: make(map[string]unfinished)}
}

// abandon gives up the unfinished messages: nobody will continue them.
func (f *feeder) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abandoned = true
	for _, u := range f.unfinished {
		u.conn.Abandon(u.fragment)
	}
	clear(f.unfinished)
}

// feedAll gives a whole batch to the core.
func (f *feeder) feedAll(b *batch) {
	b.begin()
	f.feed(b, nil)
	b.end()
}

// feed gives those sends of a batch to the core that keep wants; nil wants all. What goes to one connection is
// written together.
func (f *feeder) feed(b *batch, keep func(index int, r *holdfastv1.SendRequest) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.cork.Flush()
	messages := make([]hub.Message, len(b.sends))
	for i, r := range b.sends {
		if keep != nil && !keep(i, r) {
			continue
		}
		if err := f.feedOne(b, i, r, &messages[i]); err != nil {
			b.fail(i, err)
		}
	}
}

func (f *feeder) feedOne(b *batch, index int, r *holdfastv1.SendRequest, m *hub.Message) error {
	id := r.GetConnectionId()
	if b.hasFailed(id) {
		return hub.ErrSkipped
	}
	c, err := f.service.lookupFor(f.caller, id)
	if p, ok := pendingOf(err); ok {
		waits, err := f.feedLater(b, index, r, m, p)
		if err != nil || waits {
			return err
		}
		return f.feedOne(b, index, r, m) // it is pending no longer
	}
	if err != nil {
		delete(f.unfinished, id)
		return err
	}
	return f.feedTo(c, b, index, r, m)
}

// feedLater feeds a send when its connection is open. Those behind it that are for others go on.
func (f *feeder) feedLater(b *batch, index int, r *holdfastv1.SendRequest, m *hub.Message, p *hub.Pending) (waits bool, err error) {
	done := b.expect(index)
	waits, err = p.Then(proto.Size(r), func(c *hub.Conn, err error) {
		f.mu.Lock()
		switch {
		case err != nil:
		case b.hasFailed(r.GetConnectionId()):
			err = hub.ErrSkipped
		default:
			err = f.feedTo(c, b, index, r, m)
			f.cork.Flush()
		}
		f.mu.Unlock()
		done(hub.Outcome{Err: err})
	})
	if !waits {
		b.withdraw()
	}
	return waits, err
}

// feedTo feeds a send to its connection.
func (f *feeder) feedTo(c *hub.Conn, b *batch, index int, r *holdfastv1.SendRequest, m *hub.Message) error {
	id := r.GetConnectionId()
	if err := readSend(m, r); err != nil {
		return err
	}
	if fragment := r.GetMessage().GetFragmentId(); fragment != "" {
		return invalidFragment(fragment, "empty: the next send of the stream to the connection continues its message")
	}
	if err := f.proceed(id, m); err != nil {
		return err
	}
	m.Later = true
	sent, err := b.give(index, c, m, r.GetRequestId())
	f.cork.Hold(c, sent)
	f.remember(id, c, m, sent, err)
	return err
}

// proceed makes m a fragment of the connection's unfinished message, if there is one.
func (f *feeder) proceed(id string, m *hub.Message) error {
	u, ok := f.unfinished[id]
	if !ok {
		return nil
	}
	if u.opcode != m.Opcode { // refused here, so that a refusal by the socket means that the message is gone
		return hub.Invalid(hub.InvalidFragment, "message", m.Opcode.String(), "a fragment of the kind of the first, "+u.opcode.String())
	}
	m.Fragment = u.fragment
	return nil
}

// remember keeps which message of the connection is unfinished now. After a refusal for want of room
// the same fragment can be tried again; when the message is gone the next send begins a new one.
func (f *feeder) remember(id string, c *hub.Conn, m *hub.Message, sent hub.Sent, err error) {
	switch {
	case err == nil && m.More && f.abandoned:
		c.Abandon(sent.Fragment)
	case err == nil && m.More:
		f.unfinished[id] = unfinished{c, sent.Fragment, m.Opcode}
	case err == nil && m.Fragment != 0, errors.Is(err, gone), errors.Is(err, hub.ErrClosing):
		delete(f.unfinished, id)
	}
}

// gone is how a socket refuses a fragment of a message that it no longer has, or never had.
var gone = &hub.Error{Reason: hub.InvalidFragment}

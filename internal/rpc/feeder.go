package rpc

import (
	"errors"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// feeder gives the sends of one SendStream to the connections of this node and knows which messages of
// the stream are unfinished. It is used by one goroutine at a time.
type feeder struct {
	service    *service
	caller     *caller               // whose stream it is; nil: may do everything
	unfinished map[string]unfinished // by connection ID
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
	if err != nil {
		delete(f.unfinished, id)
		return err
	}
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
	case err == nil && m.More:
		f.unfinished[id] = unfinished{c, sent.Fragment, m.Opcode}
	case err == nil && m.Fragment != 0, errors.Is(err, gone), errors.Is(err, hub.ErrClosing):
		delete(f.unfinished, id)
	}
}

// gone is how a socket refuses a fragment of a message that it no longer has, or never had.
var gone = &hub.Error{Reason: hub.InvalidFragment}

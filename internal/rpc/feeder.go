package rpc

import (
	"errors"
	"strings"
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
	window     []feeding             // at most feedWindow
	last       map[*hub.Conn]int     // where in the window the last send to a connection stands
	cork       hub.Cork
}

// feedWindow is how many sends are looked at before they are sent: as many as make the writing a tight loop, which saves
// a quarter of the CPU (measured), and few enough to bound what a batch takes beside itself.
const feedWindow = 64

// feeding is a send of the window.
type feeding struct {
	index   int       // in the batch
	conn    *hub.Conn // nil: there is none
	err     error     // why it cannot be sent
	message hub.Message
}

// unfinished is a message in fragments that belongs to a stream.
type unfinished struct {
	conn     *hub.Conn
	fragment uint64
	opcode   hub.Opcode
}

func (s *service) newFeeder(c *caller) feeder {
	return feeder{
		service: s, caller: c, unfinished: make(map[string]unfinished),
		window: make([]feeding, 0, feedWindow), last: make(map[*hub.Conn]int, feedWindow),
	}
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
	defer f.emptyWindow() // whatever happens
	for i, r := range b.sends {
		if keep != nil && !keep(i, r) {
			continue
		}
		f.look(b, i)
		if len(f.window) == feedWindow {
			f.feedWindow(b)
		}
	}
	f.feedWindow(b)
}

// look takes a send into the window.
func (f *feeder) look(b *batch, index int) {
	f.window = append(f.window, feeding{index: index})
	s := &f.window[len(f.window)-1]
	if s.conn, s.err = f.service.lookupFor(f.caller, b.sends[index].GetConnectionId()); s.err == nil {
		s.err = s.read(b)
		f.last[s.conn] = len(f.window) - 1
	}
}

// read fills in the message.
func (s *feeding) read(b *batch) error {
	r := b.sends[s.index]
	if err := readSend(&s.message, r); err != nil {
		return err
	}
	if fragment := r.GetMessage().GetFragmentId(); fragment != "" {
		return invalidFragment(fragment, "empty: the next send of the stream to the connection continues its message")
	}
	s.message.Lent = b.lends(s.message.Payload)
	return nil
}

// feedWindow sends what is in the window, and empties it.
func (f *feeder) feedWindow(b *batch) {
	defer f.cork.Flush() // where the last send to a connection has failed, or one of its own time is later
	for i := range f.window {
		s := &f.window[i]
		s.message.Later = f.last[s.conn] != i
		if err := f.feedOne(b, s); err != nil {
			b.fail(s.index, err)
		}
	}
	f.emptyWindow()
}

func (f *feeder) emptyWindow() {
	clear(f.window) // hold nothing back from the garbage collector
	f.window = f.window[:0]
	clear(f.last)
}

func (f *feeder) feedOne(b *batch, s *feeding) error {
	id := b.sends[s.index].GetConnectionId()
	if b.hasFailed(id) {
		return hub.ErrSkipped
	}
	if p, ok := pendingOf(s.err); ok {
		waits, err := f.feedLater(b, s.index, p)
		if err != nil || waits {
			return err
		}
		if s.conn, s.err = f.service.lookupFor(f.caller, id); s.err == nil { // it is pending no longer
			s.err = s.read(b)
		}
	}
	if s.conn == nil {
		delete(f.unfinished, id)
	}
	if s.err != nil {
		return s.err
	}
	return f.feedTo(b, s)
}

// feedLater feeds a send when its connection is open. Those behind it that are for others go on.
func (f *feeder) feedLater(b *batch, index int, p *hub.Pending) (waits bool, err error) {
	r := b.sends[index]
	done := b.expect(index)
	waits, err = p.Then(proto.Size(r), func(c *hub.Conn, err error) {
		f.mu.Lock()
		s := feeding{index: index, conn: c, err: err}
		switch {
		case err != nil:
		case b.hasFailed(r.GetConnectionId()):
			err = hub.ErrSkipped
		default:
			if err = s.read(b); err == nil {
				err = f.feedTo(b, &s)
			}
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
func (f *feeder) feedTo(b *batch, s *feeding) error {
	r := b.sends[s.index]
	id := r.GetConnectionId()
	if err := f.proceed(id, &s.message); err != nil {
		return err
	}
	sent, err := b.give(s.index, s.conn, &s.message, r.GetRequestId())
	f.cork.Hold(s.conn, sent)
	f.remember(id, s.conn, &s.message, sent, err)
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
		f.unfinished[strings.Clone(id)] = unfinished{c, sent.Fragment, m.Opcode} // the batch is not kept for it
	case err == nil && m.Fragment != 0, errors.Is(err, gone), errors.Is(err, hub.ErrClosing):
		delete(f.unfinished, id)
	}
}

// gone is how a socket refuses a fragment of a message that it no longer has, or never had.
var gone = &hub.Error{Reason: hub.InvalidFragment}

package bus

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// maxPending bounds the calls that wait for their answers.
const maxPending = 1 << 17

// errTooLarge refuses a request, or a part of an answer.
var errTooLarge = &hub.Error{Reason: hub.MessageTooLarge, Text: "call between nodes: at most 16 MiB in one piece"}

// calls are those that were begun here and have not ended.
type calls struct {
	mu      sync.Mutex
	pending map[uint64]*call
	last    uint64 // number of the newest
	closed  bool
	scan    []*call // owned by the clock
	asking  []*call // owned by who tells that we work
	budget  budget
}

// call is one that was begun here, to one node or to all.
type call struct {
	p       *Peers
	id      uint64
	subject string // where the request and its cancel go
	all     bool

	// mu is held while on and done run, which are called one at a time.
	mu    sync.Mutex
	begun bool  // the request has left
	legs  []leg // one for each node that shall answer, by ID
	one   [1]leg
	open  int // legs that have not ended
	// prompt are the open legs of nodes that were not silent; since is when it became 0.
	prompt int
	since  int64
	onOne  func(part []byte, more bool, err error)
	onAll  func(node hub.NodeID, part []byte, more bool, err error)
	done   func()
	stop   func() bool // forgets the context
}

// leg is what one node answers.
type leg struct {
	node     *member
	heard    int64 // tick of the last sign
	next     uint32
	parts    assembly
	taken    uint64 // bytes of the parts for which on has returned
	credited uint64
	ended    bool
	silent   bool // not waited for longer than for the others
	signs    bool // it has given one
	// asked: since the last sign the server was asked whether the node is there; absent: it is not.
	asked, absent bool
}

// Begin starts a call to a node. Calls that one goroutine begins to one node reach its handler in that
// order. on is called for each part of the answer, one at a time, and once last with more=false; its err,
// with which there is no part, is hub.ErrUnreachable, hub.ErrBusAway, hub.ErrGone, or the context's.
//
// on may be called before Begin has returned. It runs on the goroutine that reads all answers, so it must
// not block; the callee sends no more than 1 MiB ahead of it. The parts are its own. The request may be
// used again when Begin has returned.
func (p *Peers) Begin(ctx context.Context, node hub.NodeID, request []byte, on func(part []byte, more bool, err error)) {
	p.counts.begun.Add(1)
	c := &call{p: p, onOne: on, open: 1, prompt: 1}
	c.legs = c.one[:]
	m := p.table.member(node)
	if m == nil {
		p.counts.failed(hub.ErrGone)
		on(nil, false, hub.ErrGone)
		return
	}
	c.legs[0].node, c.subject = m, m.to
	c.begin(ctx, request)
}

// BeginAll starts a call to all other nodes, with one message that every one of them hears. on is called for
// what each node answers as Begin says, and not for two nodes at a time; the nodes in the table at the
// beginning are expected. done is called once, after the last on.
//
// A node that says goodbye meanwhile ends with hub.ErrGone: it has no connections any more. One that was silent is
// not waited for when the others have answered.
func (p *Peers) BeginAll(ctx context.Context, request []byte, on func(node hub.NodeID, part []byte, more bool, err error), done func()) {
	p.counts.begunAll.Add(1)
	if !p.joinBegan.Load() {
		done()
		return
	}
	c := &call{p: p, all: true, onAll: on, done: done, subject: subjectAll}
	for _, m := range p.table.others() {
		silent := m.silent.Load()
		c.legs = append(c.legs, leg{node: m, silent: silent})
		if !silent {
			c.prompt++
		}
	}
	c.open = len(c.legs)
	if c.open == 0 {
		_ = c.request(ctx, request) // somebody may be there whom we do not know yet
		done()
		return
	}
	c.begin(ctx, request)
}

func (c *call) begin(ctx context.Context, request []byte) {
	err := ctx.Err()
	if err == nil && len(request) > maxWhole {
		err = errTooLarge
	}
	if err == nil {
		err = c.p.calls.add(c)
	}
	if err != nil {
		c.fail(err)
		return
	}
	c.mu.Lock()
	c.stop = context.AfterFunc(ctx, func() { c.abandon(ctx.Err()) })
	c.mu.Unlock()
	if err := c.request(ctx, request); err != nil {
		c.fail(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun, c.since = true, c.p.now.Load()
	for i := range c.legs {
		c.legs[i].heard = c.since
	}
}

// request publishes the request.
func (c *call) request(ctx context.Context, request []byte) error {
	deadline, limited := ctx.Deadline()
	e := envelope{kind: kindRequest, call: c.id, size: uint32(len(request))}
	return pieces(request, c.p.chunkSize(), func(piece []byte, _ bool) error {
		e.body = piece
		if limited {
			e.value = uint64(max(1, time.Until(deadline).Microseconds()))
		}
		noted := c.id
		if e.seq > 0 {
			noted = 0
		}
		err := c.p.publish(c.subject, noted, &e)
		e.seq++
		return err
	})
}

func (cs *calls) add(c *call) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return hub.ErrBusAway
	}
	if len(cs.pending) >= maxPending {
		c.p.counts.full.Add(1)
		return hub.ErrBusAway
	}
	cs.last++
	c.id = cs.last
	cs.pending[c.id] = c
	return nil
}

func (cs *calls) find(id uint64) *call {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.pending[id]
}

func (cs *calls) remove(id uint64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.pending, id)
}

func (cs *calls) size() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.pending)
}

// expire ends what was not heard of for too long.
func (cs *calls) expire(now int64) { cs.each(&cs.scan, func(c *call) { c.expire(now) }) }

// inquire looks after nodes of calls to all that say nothing.
func (cs *calls) inquire(now int64) { cs.each(&cs.asking, func(c *call) { c.inquire(now) }) }

// each visits all, by way of a list that is used again.
func (cs *calls) each(list *[]*call, visit func(c *call)) {
	cs.mu.Lock()
	for _, c := range cs.pending {
		*list = append(*list, c)
	}
	cs.mu.Unlock()
	for _, c := range *list {
		visit(c)
	}
	clear(*list)
	*list = (*list)[:0]
}

// close ends all calls.
func (cs *calls) close() {
	cs.mu.Lock()
	cs.closed = true
	open := make([]*call, 0, len(cs.pending))
	for _, c := range cs.pending {
		open = append(open, c)
	}
	cs.mu.Unlock()
	for _, c := range open {
		c.fail(hub.ErrUnreachable) // whether they were served nobody will know
	}
}

// find answers the leg of a node; nil: it was not asked.
func (c *call) find(node []byte) *leg {
	i, ok := slices.BinarySearchFunc(c.legs, view(node), func(l leg, id string) int {
		return strings.Compare(string(l.node.id), id)
	})
	if !ok {
		return nil
	}
	return &c.legs[i]
}

// peerCounts are the counters of calls.
type peerCounts struct {
	begun, begunAll, served atomic.Uint64
	unreachable, away, gone atomic.Uint64
	ended                   atomic.Uint64 // by their context
	chunksOut, chunksIn     atomic.Uint64
	garbage, late, lost     atomic.Uint64
	refused, full, unsent   atomic.Uint64
	removed                 atomic.Uint64
}

func (n *peerCounts) failed(err error) {
	if err == nil {
		return
	}
	switch reasonOf(err) {
	case hub.NodeUnreachable:
		n.unreachable.Add(1)
	case hub.BusUnavailable:
		n.away.Add(1)
	case hub.ConnectionGone:
		n.gone.Add(1)
	default:
		n.ended.Add(1)
	}
}

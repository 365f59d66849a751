package bus

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// CallHandler serves the calls of other nodes. It is called in order of arrival per calling node (calls of
// Begin and calls of BeginAll are each in order), on a goroutine of the bus, and must not block. The
// request is its own. It, or whom it hands the answer to, calls Answer.End exactly once, also when the
// context has ended.
type CallHandler func(ctx context.Context, from hub.NodeID, request []byte, answer *Answer)

// Bounds of what one node may ask of us at a time.
const (
	maxServing  = 1 << 16
	maxIncoming = 1 << 10 // requests of which pieces are missing
	maxCallers  = 1 << 12
)

// callers are the nodes that call us. They are not the table: a call may come before the announcement.
type callers struct {
	mu     sync.Mutex
	nodes  map[hub.NodeID]*caller
	budget budget
}

// caller is one of them.
type caller struct {
	id      hub.NodeID
	answers string // subject
	budget  budget
	heard   atomic.Int64 // tick of its last request

	// order is held while the handler runs: requests to us and to all come on two goroutines.
	order sync.Mutex

	mu       sync.Mutex
	incoming map[uint64]*incoming
	serving  map[uint64]*Answer
	refused  uint64 // the last call that was refused while it arrived
	gone     bool
}

// incoming is a request of which pieces are missing.
type incoming struct {
	assembly
	next  uint32
	heard int64 // tick
}

// caller answers who sent a message; nil when there are too many.
func (p *Peers) caller(id []byte) *caller {
	cs := &p.callers
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.nodes[hub.NodeID(view(id))]; c != nil {
		return c
	}
	if len(cs.nodes) >= maxCallers {
		return nil
	}
	node := hub.NodeID(string(id))
	c := &caller{
		id: node, answers: subjectAnswers + string(node) + "." + answerToken,
		budget:   budget{limit: maxAssemblingNode, parent: &cs.budget},
		incoming: make(map[uint64]*incoming), serving: make(map[uint64]*Answer),
	}
	cs.nodes[node] = c
	return c
}

func (cs *callers) find(id []byte) *caller {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.nodes[hub.NodeID(view(id))]
}

func (cs *callers) all() []*caller {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := make([]*caller, 0, len(cs.nodes))
	for _, c := range cs.nodes {
		all = append(all, c)
	}
	return all
}

// request takes one chunk of a request, and serves it when it is complete.
func (p *Peers) request(e *envelope) {
	p.counts.chunksIn.Add(1)
	c := p.caller(e.from)
	if c == nil || p.handler == nil {
		p.counts.refused.Add(1)
		return
	}
	c.heard.Store(p.now.Load())
	c.order.Lock()
	defer c.order.Unlock()
	request, complete, refused := c.assemble(e, p.now.Load())
	if refused {
		p.refuse(c, e.call)
	}
	if !complete {
		return
	}
	a := p.newAnswer(c, e)
	if !c.add(a) {
		a.cancel()
		p.refuse(c, e.call)
		return
	}
	p.counts.served.Add(1)
	p.handler(a.ctx, c.id, request, a)
}

// refuse tells the caller that it need not wait.
func (p *Peers) refuse(c *caller, id uint64) {
	p.counts.refused.Add(1)
	_ = p.publish(c.answers, 0, &envelope{kind: kindFail, call: id})
}

// assemble puts the pieces of a request together. It is refused, once, when one is missing.
func (c *caller) assemble(e *envelope, now int64) (request []byte, complete, refused bool) {
	if e.seq == 0 && int(e.size) == len(e.body) {
		return e.body, true, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == e.call {
		return nil, false, false
	}
	in := c.incoming[e.call]
	if in == nil && e.seq == 0 && len(c.incoming) < maxIncoming {
		in = &incoming{}
		c.incoming[e.call] = in
	}
	if in == nil || in.next != e.seq {
		c.refuseLocked(e.call)
		return nil, false, true
	}
	in.next++
	in.heard = now
	request, complete, err := in.add(e.body, e.size, &c.budget)
	if err != nil {
		c.refuseLocked(e.call)
		return nil, false, true
	}
	if complete {
		delete(c.incoming, e.call)
	}
	return request, complete, false
}

func (c *caller) refuseLocked(id uint64) {
	c.refused = id
	if in := c.incoming[id]; in != nil {
		in.drop()
		delete(c.incoming, id)
	}
}

func (c *caller) add(a *Answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, twice := c.serving[a.id]; twice || len(c.serving) >= maxServing || c.gone {
		return false
	}
	c.serving[a.id] = a
	return true
}

func (c *caller) remove(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.serving, id)
}

func (c *caller) find(id uint64) *Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.serving[id]
}

// control handles what a caller says of a call that we serve.
func (cs *callers) control(e *envelope) {
	c := cs.find(e.from)
	if c == nil {
		return
	}
	a := c.find(e.call)
	switch {
	case a == nil: // it has ended meanwhile
	case e.kind == kindCancel:
		a.unwanted()
	default:
		a.credited(e.value)
	}
}

// expireCallers drops requests whose next piece does not come, and nodes that call no more and are not known.
func (p *Peers) expireCallers(now int64) {
	for _, c := range p.callers.all() {
		if c.expire(now) && now-c.heard.Load() > p.inTicks(p.config.RemoveAfter) && p.table.member(c.id) == nil {
			p.callers.drop(c.id)
		}
	}
}

// expire reports whether nothing of the caller is left here.
func (c *caller) expire(now int64) (idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, in := range c.incoming {
		if now-in.heard > ticks {
			c.refuseLocked(id)
		}
	}
	return len(c.incoming)+len(c.serving) == 0
}

// drop ends the calls of a node that can no longer want their answers: it is silent for longer than it
// would wait itself, or gone.
func (cs *callers) drop(node hub.NodeID) {
	cs.mu.Lock()
	c := cs.nodes[node]
	delete(cs.nodes, node)
	cs.mu.Unlock()
	if c == nil {
		return
	}
	c.mu.Lock()
	c.gone = true
	answers := make([]*Answer, 0, len(c.serving))
	for _, a := range c.serving {
		answers = append(answers, a)
	}
	for id := range c.incoming {
		c.refuseLocked(id)
	}
	c.mu.Unlock()
	for _, a := range answers {
		a.unwanted()
	}
}

// tellWorking tells each caller which of its calls are still being worked on, and looks after those who do not tell us.
func (p *Peers) tellWorking() {
	t := time.NewTicker(p.config.Working)
	defer t.Stop()
	var list []byte
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
		}
		p.calls.inquire(p.now.Load())
		for _, c := range p.callers.all() {
			list = c.working(list[:0])
			room := max(1, p.chunkSize()/aliveLen) * aliveLen
			for len(list) > 0 {
				n := min(room, len(list))
				_ = p.publish(c.answers, 0, &envelope{kind: kindAlive, body: list[:n]})
				list = list[n:]
			}
		}
	}
}

// working lists the calls that have been served since the last list at least.
func (c *caller) working(list []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, a := range c.serving {
		if a.old && a.ctx.Err() == nil {
			list = aliveEntry{id, a.next.Load(), a.blocked.Load()}.append(list)
		}
		a.old = true
	}
	return list
}

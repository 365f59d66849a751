package bus

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Join makes this node part of the broker; self describes it, is called about every second and must not
// block. alone says that no other node can be there yet: then nobody is waited for.
//
// When it has returned this node knows the others, and every one that answered in time knows it, has run its
// OnJoin for it, and is heard by it on the subject of BeginAll: interest spreads between NATS servers only
// after a subscription has returned. So every later BeginAll of any node is heard here.
func (p *Peers) Join(ctx context.Context, self func() hub.Node, alone bool) error {
	p.describe = self
	p.self = self().ID
	p.joinBegan.Store(true)
	if err := p.subscribe(); err != nil {
		close(p.announcing)
		return err
	}
	p.lastFlush.Store(time.Now().UnixNano())
	p.wg.Go(p.tickClock)
	p.wg.Go(p.tellWorking)
	p.wg.Go(p.announceForever)
	if alone {
		return nil
	}
	return p.findOthers(ctx)
}

// asks is how often a node that joins asks, in the time in which it waits for the next answer.
const asks = 5

// findOthers asks who is there until nobody new has answered for a while and all have greeted.
func (p *Peers) findOthers(ctx context.Context) error {
	began := time.Now()
	t := time.NewTicker(p.config.Settle / asks)
	defer t.Stop()
	for {
		p.say(subjectAll, kindWho)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ctx.Done():
			return hub.ErrBusAway
		case <-t.C:
		case <-p.table.news:
		}
		now := time.Now()
		quiet := now.Sub(p.table.lastNew(began)) >= p.config.Settle
		strangers := p.table.strangers()
		if quiet && len(strangers) == 0 {
			return nil
		}
		if now.Sub(began) >= p.config.Settle+p.config.Greet {
			p.logger.Warn("nodes do not answer; going on without them", "nodes", strangers)
			return nil
		}
	}
}

// lastNew is when the last node was found, at least since.
func (t *table) lastNew(since time.Time) time.Time {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.newest.After(since) {
		return t.newest
	}
	return since
}

// strangers are the nodes that do not know us yet, or we them.
func (t *table) strangers() (ids []string) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, m := range t.sorted {
		if !m.greets || !m.greeted {
			ids = append(ids, string(m.id))
		}
	}
	return ids
}

// hear handles what nodes say of themselves.
func (p *Peers) hear(e *envelope) {
	switch e.kind {
	case kindGoodbye:
		p.table.farewell(e.from)
	case kindProbe:
		if m := p.table.memberOf(e.from); m != nil && string(e.body) == string(p.self) {
			_ = p.publish(m.to, 0, &envelope{kind: kindEcho})
		}
	case kindEcho:
		if m := p.table.memberOf(e.from); m != nil {
			m.echoOnce.Do(func() { close(m.echoed) })
		}
	default:
		p.hearNode(e)
	}
}

// hearNode handles what carries a node's description.
func (p *Peers) hearNode(e *envelope) {
	var n holdfastv1.Node
	if proto.Unmarshal(e.body, &n) != nil || n.GetId() != view(e.from) {
		p.counts.garbage.Add(1)
		return
	}
	m := p.table.hear(nodeOf(&n), e.value, time.Now())
	if m == nil {
		return
	}
	switch e.kind {
	case kindWho:
		if p.table.greeted(m, false) {
			p.say(m.to, kindHello)
		} else {
			p.say(m.to, kindHere)
		}
	case kindHello:
		p.table.greets(m)
	}
}

// greets notes that a node knows us.
func (t *table) greets(m *member) {
	t.mu.Lock()
	m.greets = true
	t.mu.Unlock()
	t.stir()
}

// greeted reports, or notes, that we know a node.
func (t *table) greeted(m *member, now bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.greeted = m.greeted || now
	return m.greeted
}

// greet makes a node known here, and then tells it so.
func (p *Peers) greet(m *member) {
	p.wg.Go(func() {
		// First, so that calls that OnJoin begins arrive.
		heard := p.within(func(ctx context.Context) bool { return p.probe(ctx, m) })
		if !heard && p.ctx.Err() == nil && !m.left.Load() {
			p.logger.Warn("node does not answer; going on without it", "node", string(m.id))
		}
		p.within(func(ctx context.Context) bool {
			if p.onJoin != nil {
				p.onJoin(ctx, p.table.node(m))
			}
			return true
		})
		p.table.greeted(m, true)
		if heard {
			p.say(m.to, kindHello)
		}
		p.table.stir()
	})
}

// within runs a step of a greeting.
func (p *Peers) within(step func(ctx context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(p.ctx, p.config.Greet)
	defer cancel()
	return step(ctx)
}

// The times between two probes.
const (
	firstProbe = 5 * time.Millisecond
	lastProbe  = 50 * time.Millisecond
)

// probe repeats on the subject that all hear until a node has heard it.
func (p *Peers) probe(ctx context.Context, m *member) bool {
	for wait := firstProbe; ; wait = min(2*wait, lastProbe) {
		_ = p.publish(subjectAll, 0, &envelope{kind: kindProbe, body: []byte(m.id)})
		again := time.NewTimer(wait)
		select {
		case <-m.echoed:
			again.Stop()
			return true
		case <-ctx.Done():
			again.Stop()
			return false
		case <-again.C:
		}
	}
}

// say sends our description. They are numbered, because who hears us takes them from several subscriptions: what is older
// may come later.
func (p *Peers) say(subject string, k kind) {
	p.saying.Lock()
	defer p.saying.Unlock()
	own := p.describe()
	p.said++
	body, err := proto.Marshal(nodeMessage(&own))
	if err == nil {
		err = p.publish(subject, 0, &envelope{kind: k, value: p.said, body: body})
	}
	if err != nil {
		p.logger.Debug("nats: other nodes not told", "error", err)
	}
}

// Announce tells the others at once what has changed of this node. It does not block.
func (p *Peers) Announce() {
	select {
	case p.announceNow <- struct{}{}:
	default:
	}
}

// announceForever says that we are there, and watches thereby whether our connection works.
func (p *Peers) announceForever() {
	defer close(p.announcing)
	for {
		p.say(subjectNode+string(p.self), kindAnnounce)
		if p.nc.FlushTimeout(p.config.Announce) == nil {
			p.lastFlush.Store(time.Now().UnixNano())
		}
		// Nodes that started together shall not speak together for ever.
		pause := time.NewTimer(p.config.Announce*9/10 + rand.N(p.config.Announce/5+1))
		select {
		case <-pause.C:
		case <-p.announceNow:
		case <-p.leaving:
			pause.Stop()
			return
		}
		pause.Stop()
	}
}

// works reports whether our server has answered of late.
func (p *Peers) works(now time.Time) bool {
	return now.UnixNano()-p.lastFlush.Load() <= 3*int64(p.config.Announce)
}

// Bury says goodbye in the name of a node that is dead for certain.
func (p *Peers) Bury(node hub.NodeID) {
	goodbye := (&envelope{kind: kindGoodbye}).append(nil, node)
	if err := p.nc.Publish(subjectNode+string(node), goodbye); err != nil {
		p.logger.Debug("nats: other nodes not told of a dead one", "node", string(node), "error", err)
	}
	p.table.farewell([]byte(node))
}

// Leave says goodbye to the other nodes, which forget this one at once: after its last connection was
// closed. Calls are still served, until Close.
func (p *Peers) Leave(ctx context.Context) {
	if !p.joinBegan.Load() {
		return
	}
	p.leaveOnce.Do(func() { close(p.leaving) })
	<-p.announcing
	_ = p.publish(subjectNode+string(p.self), 0, &envelope{kind: kindGoodbye})
	ctx, cancel := context.WithTimeout(ctx, p.flush) // nats.go wants a deadline
	defer cancel()
	if err := p.nc.FlushWithContext(ctx); err != nil {
		p.logger.Warn("nats: other nodes may not know that this one has left", "error", err)
	}
}

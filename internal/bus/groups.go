package bus

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// Groups is what the bus asks of the application about groups.
type Groups interface {
	// HasMembers reports whether a group has members on this node.
	HasMembers(namespace, group string) bool
	// Publish sends to every member on this node but those of the IDs, which are valid. Group messages wait
	// for it one after the other. The payload may be kept.
	Publish(namespace, group string, m *hub.Message, except []string)
}

const (
	// maxArriving messages wait to be put into the queue, which never blocks; nats.go drops what is more.
	maxArriving = 1 << 8
	// maxExcept is as in the control API.
	maxExcept = 1000
)

// groups subscribes to the groups that have members on this node, through the connection for inbound, and
// gives their messages to the application.
//
// Its goroutines: one subscribes and unsubscribes, one queues what arrives, and one delivers, so that a
// message for very many members holds up no reply. close waits for them.
type groups struct {
	in       *inbound
	to       Groups // set by serve
	arriving chan *nats.Msg
	queue    groupQueue
	stop     chan struct{}
	wg       sync.WaitGroup

	mu    sync.Mutex
	dirty map[groupName]struct{} // what may have changed
	some  chan struct{}          // has an element when dirty is not empty

	subscribed atomic.Int64
	delivered  atomic.Uint64
	slow       atomic.Uint64
	overflow   atomic.Uint64
	failed     atomic.Uint64 // subscriptions

	refusedMu sync.Mutex
	refused   map[hub.Reason]uint64
}

type groupName struct{ namespace, group string }

// GroupStats are totals since the start, and the present.
type GroupStats struct {
	Subscribed   int                   // groups with members here
	Delivered    uint64                // messages given to the members
	Refused      map[hub.Reason]uint64 // messages that were not
	Overflow     uint64                // messages dropped because too many waited
	SlowConsumer uint64                // times nats.go had to drop messages because they came too fast
	Failed       uint64                // subscriptions that could not be made
}

func newGroups(in *inbound) *groups {
	g := &groups{
		in: in, arriving: make(chan *nats.Msg, maxArriving), stop: make(chan struct{}),
		dirty: make(map[groupName]struct{}), some: make(chan struct{}, 1), refused: make(map[hub.Reason]uint64),
	}
	g.queue.some.L = &g.queue.mu
	return g
}

func (g *groups) serve(to Groups) {
	g.to = to
	g.wg.Go(g.follow)
	g.wg.Go(g.queueForever)
	g.wg.Go(g.deliverForever)
}

// Changed implements hub.Interest. What waits is bounded by the number of groups.
func (g *groups) Changed(namespace, group string) {
	g.mu.Lock()
	g.dirty[groupName{namespace, group}] = struct{}{}
	g.mu.Unlock()
	select {
	case g.some <- struct{}{}:
	default:
	}
}

// follow makes the subscriptions what the groups are.
func (g *groups) follow() {
	subscriptions := make(map[groupName]*nats.Subscription)
	for {
		select {
		case <-g.stop:
			return
		case <-g.some:
		}
		g.mu.Lock()
		dirty := g.dirty
		g.dirty = make(map[groupName]struct{})
		g.mu.Unlock()
		for name := range dirty {
			g.reconcile(subscriptions, name)
		}
	}
}

// reconcile looks at what is, not at what changed: changes come late and fold into one.
func (g *groups) reconcile(subscriptions map[groupName]*nats.Subscription, name groupName) {
	has, sub := g.to.HasMembers(name.namespace, name.group), subscriptions[name]
	switch {
	case has && sub == nil:
		sub, err := g.subscribe(name)
		if err != nil {
			g.failed.Add(1)
			g.in.logger.Error("nats: group not subscribed", "namespace", name.namespace, "group", name.group, "error", err)
			return
		}
		subscriptions[name] = sub
		g.subscribed.Add(1)
	case !has && sub != nil:
		_ = sub.Unsubscribe() // fails when the connection has ended, and the subscription with it
		delete(subscriptions, name)
		g.subscribed.Add(-1)
	}
}

func (g *groups) subscribe(name groupName) (*nats.Subscription, error) {
	subject, ok := g.in.subjects.Group(name.namespace, name.group)
	if !ok {
		return nil, fmt.Errorf("not the name of a group: %q in %q", name.group, name.namespace)
	}
	return g.in.nc.ChanSubscribe(subject, g.arriving)
}

// queueForever is quick, so that what arrives waits where its bytes are counted.
func (g *groups) queueForever() {
	for {
		select {
		case <-g.stop:
			return
		case m := <-g.arriving:
			if len(m.Data) > maxReply {
				g.refuse(hub.MessageTooLarge)
			} else if !g.queue.put(m) {
				g.overflowed(m)
			}
		}
	}
}

func (g *groups) overflowed(m *nats.Msg) {
	if n := g.overflow.Add(1); n&(n-1) == 0 { // the 1st, 2nd, 4th, 8th …
		g.in.logger.Error("nats: group messages come faster than they can be delivered; dropped", "subject", m.Subject, "times", n)
	}
}

func (g *groups) deliverForever() {
	var messages []*nats.Msg
	for {
		var ok bool
		if messages, ok = g.queue.take(messages); !ok {
			return
		}
		for _, m := range messages {
			g.deliver(m)
			g.queue.done(m)
		}
	}
}

func (g *groups) deliver(m *nats.Msg) {
	namespace, group, ok := g.in.subjects.ParseGroup(m.Subject)
	if !ok {
		g.refuse(hub.InvalidGroup)
		return
	}
	message, except, err := groupMessage(m)
	if err != nil {
		g.refuse(reasonOf(err))
		return
	}
	g.delivered.Add(1)
	g.to.Publish(namespace, group, message, except)
}

func (g *groups) refuse(r hub.Reason) {
	g.refusedMu.Lock()
	defer g.refusedMu.Unlock()
	g.refused[r]++
}

// groupMessage reads what shall be sent, and who shall not get it.
func groupMessage(m *nats.Msg) (*hub.Message, []string, error) {
	opcode := hub.Binary
	if _, set := m.Header[HeaderOpcode]; !set && utf8.Valid(m.Data) {
		opcode = hub.Text
	}
	message, err := inboundMessage(opcode, m)
	if err != nil {
		return nil, nil, err
	}
	except, err := exceptOf(m.Header[HeaderExcept])
	return message, except, err
}

// exceptOf reads connection IDs separated by commas or spaces, in one header or several.
func exceptOf(values []string) (ids []string, err error) {
	for _, v := range values {
		for id := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ',' || r == ' ' }) {
			if _, err := hub.ParseID(id); err != nil {
				return nil, err
			}
			if len(ids) >= maxExcept {
				return nil, hub.Invalid(hub.InvalidBatch, HeaderExcept, "more", "at most 1,000 connection IDs")
			}
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// lost is told of a subscription that lost messages, of groups or not.
func (g *groups) lost(sub *nats.Subscription) {
	if _, _, ok := g.in.subjects.ParseGroup(sub.Subject); ok {
		g.slow.Add(1)
	}
}

func (g *groups) stats() GroupStats {
	g.refusedMu.Lock()
	refused := maps.Clone(g.refused)
	g.refusedMu.Unlock()
	return GroupStats{
		Subscribed: int(g.subscribed.Load()), Delivered: g.delivered.Load(), Refused: refused,
		Overflow: g.overflow.Load(), SlowConsumer: g.slow.Load(), Failed: g.failed.Load(),
	}
}

// close ends the goroutines; the connection is closed before.
func (g *groups) close() {
	close(g.stop)
	g.queue.end()
	g.wg.Wait()
}

package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// PeersConfig has the times and sizes of what nodes say to each other; what is zero gets its default.
type PeersConfig struct {
	// Announce is how often a node says that it is there; who is unheard for SilentAfter is silent, and who
	// is unheard for RemoveAfter is removed.
	Announce, SilentAfter, RemoveAfter time.Duration
	// Settle is how long a node that joins waits for the next one to be found, and Greet how long a node
	// may take to make another one known.
	Settle, Greet time.Duration
	// Working is how often a callee says that it works on a call, and CallSilence how long a caller waits
	// for the next sign. SilentGrace is how much longer than for the others a call to all waits for nodes
	// that were silent.
	Working, CallSilence, SilentGrace time.Duration
	// Window bounds the bytes of an answer that the caller has not taken.
	Window int
}

// DefaultAnnounce is the default of PeersConfig.Announce. Who is unheard for a little longer is looked after.
const DefaultAnnounce = 500 * time.Millisecond

func (c PeersConfig) withDefaults() PeersConfig {
	c.Announce = cmp.Or(c.Announce, DefaultAnnounce)
	c.SilentAfter = cmp.Or(c.SilentAfter, 5*time.Second)
	c.RemoveAfter = cmp.Or(c.RemoveAfter, 70*time.Second)
	c.Settle = cmp.Or(c.Settle, 250*time.Millisecond)
	c.Greet = cmp.Or(c.Greet, 2*time.Second)
	c.Working = cmp.Or(c.Working, 500*time.Millisecond)
	c.CallSilence = cmp.Or(c.CallSilence, 2*time.Second)
	c.SilentGrace = cmp.Or(c.SilentGrace, 200*time.Millisecond)
	c.Window = cmp.Or(c.Window, 1<<20)
	return c
}

// ticks is how often in CallSilence the clock ticks.
const ticks = 20

// Peers is what a node knows of the others and says to them. It has a NATS connection of its own, so
// that a reply to a client does not wait on the wire behind forwarded batches of 9 MiB (its 95th percentile
// beside them on one machine, where nothing but the processor is shared: 8 ms instead of 10), and that a
// server which takes nothing holds callers for no longer than they would wait for an answer.
//
// Its goroutines: those of the four subscriptions, which end with the connection; the clock, which finds
// what does not answer; one that tells callers that their calls are being worked on; the announcer; and a
// greeting for each node that joins. Close ends them all and waits.
type Peers struct {
	link
	config PeersConfig
	flush  time.Duration

	// static after Join began
	self      hub.NodeID
	describe  func() hub.Node
	handler   CallHandler
	onJoin    func(context.Context, hub.Node)
	onChange  func(hub.Node, NodeChange)
	toSelf    string
	answers   string // prefix of the subjects for answers to us
	joinBegan atomic.Bool

	table   table
	calls   calls
	callers callers
	now     atomic.Int64 // ticks of the clock

	announceNow chan struct{}
	leaving     chan struct{}
	leaveOnce   sync.Once
	saying      sync.Mutex
	said        uint64        // descriptions; guarded by saying
	announcing  chan struct{} // closed when the announcer has ended
	lastFlush   atomic.Int64  // when the server last answered the announcer, by the clock

	ctx    context.Context // of everything that is served
	cancel context.CancelFunc
	wg     sync.WaitGroup

	// gate is held shared by those who handle messages: nats.go does not wait for them at the end.
	gate   sync.RWMutex
	closed bool

	buffers sync.Pool // of *outgoing
	counts  peerCounts
}

// outgoing is memory for one message.
type outgoing struct{ message, reply []byte }

func newPeers(c Config) (*Peers, error) {
	p := &Peers{
		config: c.Peers.withDefaults(), flush: c.ConnectTimeout,
		announceNow: make(chan struct{}, 1), leaving: make(chan struct{}), announcing: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.buffers.New = func() any { return new(outgoing) }
	p.table.init(p)
	p.calls.pending = make(map[uint64]*call)
	p.callers.nodes = make(map[hub.NodeID]*caller)
	p.callers.budget.limit, p.calls.budget.limit = maxAssembling, maxAssembling
	p.onReconnect = p.Announce
	err := p.connect(c, "other nodes",
		nats.NoEcho(), // what we tell all others we know
		// A server that is stopped must not hold those who call for longer than they would wait anyway.
		nats.FlusherTimeout(p.config.CallSilence))
	return p, err
}

// Serve sets the handler of calls, before Join.
func (p *Peers) Serve(h CallHandler) { p.handler = h }

// The subjects of nodes. Each node hears those of its ID, and all hear "all" and "node.*".
const (
	peerPrefix     = "_HOLDFAST."
	subjectAll     = peerPrefix + "all"
	subjectTo      = peerPrefix + "to."
	subjectNode    = peerPrefix + "node."
	subjectAnswers = peerPrefix + "answer."
	// answerToken stands for all answers; tokens of digits are calls, and NATS says there that nobody
	// hears their subject.
	answerToken = "a"
	// askSeparator is between call and node where only whether that node is there was asked.
	askSeparator = "-"
)

// What may wait for each subscription's goroutine.
const (
	maxWaiting      = 1 << 16
	maxWaitingBytes = 128 << 20
)

// subscribe makes us hear the others. When it returns our server knows.
func (p *Peers) subscribe() error {
	p.toSelf, p.answers = subjectTo+string(p.self), subjectAnswers+string(p.self)+"."
	for _, s := range []struct {
		subject string
		f       func(*nats.Msg)
	}{
		{subjectNode + "*", p.receive},
		{p.toSelf, p.receive},
		{p.answers + "*", p.receiveAnswer},
		// The last one: who is heard on it is heard on all of them, see probe.
		{subjectAll, p.receive},
	} {
		sub, err := p.nc.Subscribe(s.subject, func(m *nats.Msg) { p.handle(m, s.f) })
		if err == nil {
			err = sub.SetPendingLimits(maxWaiting, maxWaitingBytes)
		}
		if err != nil {
			return fmt.Errorf("nats: subscribe to other nodes: %w", err)
		}
	}
	if err := p.nc.FlushTimeout(p.flush); err != nil {
		return fmt.Errorf("nats: subscribe to other nodes: %w", err)
	}
	return nil
}

// handle lets nothing be handled after close.
func (p *Peers) handle(m *nats.Msg, f func(*nats.Msg)) {
	p.gate.RLock()
	defer p.gate.RUnlock()
	if !p.closed {
		f(m)
	}
}

// receive is called for one message of a subject after the other.
func (p *Peers) receive(m *nats.Msg) {
	e, err := parseEnvelope(m.Data)
	if err != nil {
		p.counts.garbage.Add(1)
		return
	}
	switch e.kind {
	case kindRequest:
		p.request(&e)
	case kindCancel, kindCredit:
		p.callers.control(&e)
	case kindAnnounce, kindGoodbye, kindWho, kindHere, kindHello, kindProbe, kindEcho:
		p.hear(&e)
	default:
		p.counts.garbage.Add(1)
	}
}

// receiveAnswer is called for one message after the other that is about a call of ours.
func (p *Peers) receiveAnswer(m *nats.Msg) {
	if len(m.Header) > 0 {
		p.nobodyHears(m)
		return
	}
	e, err := parseEnvelope(m.Data)
	if err != nil {
		p.counts.garbage.Add(1)
		return
	}
	switch e.kind {
	case kindPart, kindFail:
		if c := p.calls.find(e.call); c != nil {
			c.answer(&e)
		} else {
			p.counts.late.Add(1)
		}
	case kindAlive:
		p.alive(&e)
	default:
		p.counts.garbage.Add(1)
	}
}

// publish sends one message. call is the number of the call that the server's "no responders" belongs to;
// 0: none.
func (p *Peers) publish(subject string, call uint64, e *envelope) error {
	out := p.buffers.Get().(*outgoing)
	defer p.buffers.Put(out)
	out.reply = out.reply[:0]
	if call != 0 {
		out.reply = strconv.AppendUint(append(out.reply, p.answers...), call, 10)
	}
	return p.send(subject, out, e)
}

// ask is publish to one node, whose "no responders" belongs to what that node answers alone.
func (p *Peers) ask(m *member, e *envelope) error {
	out := p.buffers.Get().(*outgoing)
	defer p.buffers.Put(out)
	out.reply = strconv.AppendUint(append(out.reply[:0], p.answers...), e.call, 10)
	out.reply = append(append(out.reply, askSeparator...), m.id...)
	return p.send(m.to, out, e)
}

// send publishes an envelope, as a request if there is a subject for the reply.
func (p *Peers) send(subject string, out *outgoing, e *envelope) error {
	out.message = e.append(out.message[:0], p.self)
	p.counts.chunksOut.Add(1)
	var err error
	if len(out.reply) == 0 {
		err = p.nc.Publish(subject, out.message)
	} else {
		err = p.nc.PublishRequest(subject, view(out.reply), out.message) // it copies both
	}
	if err != nil {
		p.counts.unsent.Add(1)
	}
	return busError(err)
}

// busError is what callers are told of an error of nats.go. The message may have left all the same.
func busError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected):
		return hub.ErrBusAway
	}
	return hub.ErrUnreachable
}

// Sizes of chunks: so that others get between them, and below what the server takes.
const (
	maxChunk    = 256 << 10
	payloadRoom = 64 << 10
)

// chunkSize is how much of a message fits into a chunk.
func (p *Peers) chunkSize() int {
	limit := int(p.nc.MaxPayload())
	room := limit - payloadRoom
	if limit < 2*payloadRoom {
		room = limit / 2
	}
	return max(1, min(room, maxChunk)-headerLen)
}

// pieces cuts a message; an empty one is one empty piece.
func pieces(whole []byte, size int, f func(piece []byte, last bool) error) error {
	for {
		n := min(size, len(whole))
		piece := whole[:n]
		whole = whole[n:]
		if err := f(piece, len(whole) == 0); err != nil || len(whole) == 0 {
			return err
		}
	}
}

// tickClock counts time for calls and nodes; it publishes nothing, so that a server that is stopped does
// not hold it.
func (p *Peers) tickClock() {
	t := time.NewTicker(p.config.CallSilence / ticks)
	defer t.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
		}
		now := p.now.Add(1)
		p.calls.expire(now)
		p.expireCallers(now)
		p.table.sweep(time.Now())
	}
}

// inTicks is how many ticks of the clock a time is, at least one.
func (p *Peers) inTicks(d time.Duration) int64 {
	return max(1, int64(d/(p.config.CallSilence/ticks)))
}

// close ends all calls and the connection.
func (p *Peers) close() {
	p.leaveOnce.Do(func() { close(p.leaving) })
	p.cancel()
	p.calls.close()
	p.gate.Lock()
	p.closed = true
	p.gate.Unlock()
	p.link.close()
	p.wg.Wait()
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/life"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// LifeConfig is what the life record needs to know. The callbacks must not block.
type LifeConfig struct {
	Node hub.NodeID
	// Instance, Lease and Renew as in life.Config.
	Instance     string
	Lease, Renew time.Duration
	// EachOpen visits every open connection, as hub.Hub.EachOpen does.
	EachOpen func(visit func(c *hub.Conn, user string))
	// Frozen is told when the node may not act any more, and when it may again.
	Frozen func(frozen bool)
	// Claimed is told that another node has published the closes of all our connections.
	Claimed func()
	// Healthy reports whether another node was heard of lately and is not frozen.
	Healthy func(hub.NodeID) bool
	// Gone is told of another node whose connections have ended with it.
	Gone func(hub.NodeID)
}

// LifeStats is how the record is.
type LifeStats struct {
	Enabled bool
	Record  life.Stats
	Watcher life.WatcherStats
	Denied  uint64 // permission errors of the server
}

// keeper is the life record of this node, and the eye on those of others.
type keeper struct {
	log     *lifeLog
	record  *life.Record
	watcher *life.Watcher
	stop    context.CancelFunc
	running sync.WaitGroup
}

// OpenLife makes opens and closes be recorded from now on, before they are published, and publishes the closes of
// earlier processes of this instance before it returns. It waits for JetStream until ctx ends; it fails with
// ErrNoJetStream when there is none. It is called once, before the first connection.
func (b *Bus) OpenLife(ctx context.Context, c LifeConfig) error {
	log, err := openLifeLog(ctx, b.config)
	if err != nil {
		return err
	}
	config := life.Config{
		Node: c.Node, Instance: c.Instance, Lease: c.Lease, Renew: c.Renew, Logger: b.config.Logger,
		Frozen:  func(frozen bool) { b.publisher.freeze(frozen); c.Frozen(frozen) },
		Claimed: c.Claimed, Healthy: c.Healthy, Gone: c.Gone,
	}
	k := &keeper{log: log}
	rewind := func(r *life.Record) {
		c.EachOpen(func(conn *hub.Conn, user string) { r.Opened(openOf(conn, user), nil) })
	}
	if k.record, err = life.Start(ctx, log, config, b.publisher, rewind); err != nil {
		log.link.close()
		return fmt.Errorf("nats: life record: %w", err)
	}
	k.watcher = life.NewWatcher(log, config, k.record, &lostCloses{log, b.publisher.subjects})
	if err := k.watcher.Recover(ctx); err != nil {
		_ = k.close(ctx)
		return fmt.Errorf("nats: closes of an earlier process: %w", err)
	}
	b.publisher.record.Store(k.record)
	watching, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.running.Go(func() { k.watcher.Run(watching) })
	k.running.Go(func() { k.replicate(watching, b) })
	b.life.Store(k)
	return nil
}

// replicatePause is how often is looked whether there are servers enough for more replicas.
const replicatePause = 10 * time.Second

func (k *keeper) replicate(ctx context.Context, b *Bus) {
	for sleep(ctx, replicatePause) {
		attempt, cancel := context.WithTimeout(ctx, dialTimeout)
		k.log.raise(attempt, b.config.Logger)
		cancel()
	}
}

// CloseLife says goodbye: when every close is recorded and published, the record of this node is forgotten. Before
// that nobody may close the bus.
func (b *Bus) CloseLife(ctx context.Context) error {
	if k := b.life.Load(); k != nil {
		return k.close(ctx)
	}
	return nil
}

func (k *keeper) close(ctx context.Context) error {
	if k.stop != nil {
		k.stop()
		k.running.Wait()
	}
	err := k.record.Stop(ctx)
	k.log.link.close()
	return err
}

// LifeStats answers how the record is. It may be called before OpenLife has returned: nodes ask as soon as they have met.
func (b *Bus) LifeStats() LifeStats {
	k := b.life.Load()
	if k == nil {
		return LifeStats{}
	}
	return LifeStats{
		Enabled: true, Record: k.record.Stats(), Watcher: k.watcher.Stats(), Denied: k.log.link.denied.Load(),
	}
}

// Taken implements life.Events.
func (p *Publisher) Taken() uint64 {
	taken, _ := p.outbox.progress()
	return taken
}

// Confirmed implements life.Events.
func (p *Publisher) Confirmed() uint64 {
	_, confirmed := p.outbox.progress()
	return confirmed
}

// mayPublish asks the clock: a process that was stopped beyond its lease goes on in the middle of something, before
// any timer has told it.
func (p *Publisher) mayPublish() bool {
	r := p.record.Load()
	return r == nil || r.Valid()
}

func (p *Publisher) freeze(frozen bool) {
	if frozen {
		p.outbox.freeze()
		return
	}
	p.tellRoom(p.outbox.thaw())
}

// recordFirst gives an open or close event to the outbox once it is recorded.
func (p *Publisher) recordFirst(r *life.Record, e hub.Event) bool {
	if e.Kind == hub.KindOpen {
		r.Opened(openOf(e.Conn, e.User), func() {
			p.publishJSON(&e)
			p.notices.add(e.Conn.Room)
		})
		return false
	}
	payload := AppendClosed(nil, e.Closed)
	c := &life.Close{Key: keyOf(e.Conn.ID()), Namespace: e.Conn.Endpoint().Namespace, Seq: e.Seq, Event: payload}
	r.Closed(c, func() { p.outbox.put(&e, payload) })
	return true
}

func openOf(c *hub.Conn, user string) *life.Open {
	ep := c.Endpoint()
	return &life.Open{Key: keyOf(c.ID()), Namespace: ep.Namespace, Endpoint: ep.Path, User: user, Time: c.OpenTime()}
}

// keyOf is the part of an ID behind the node.
func keyOf(id hub.ID) string { return id.String()[nodeIDLen+1:] }

// lostCloses publishes the closes of nodes that are dead.
type lostCloses struct {
	log      *lifeLog
	subjects Subjects
}

// errInterrupted: the connection was lost between the first publish and the confirmation.
var errInterrupted = errors.New("nats: connection lost while closes were published")

// PublishClosed implements life.Publisher.
func (l *lostCloses) PublishClosed(ctx context.Context, node hub.NodeID, closes []life.Lost) error {
	nc := l.log.link.nc
	before := nc.Stats().Reconnects
	for i := range closes {
		m, err := l.message(node, &closes[i])
		if err != nil {
			return err
		}
		if err := nc.PublishMsg(m); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultStaleAfter)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		return err
	}
	if nc.Stats().Reconnects != before {
		return errInterrupted
	}
	return nil
}

// message makes of the same record the same bytes, whoever makes it.
func (l *lostCloses) message(node hub.NodeID, c *life.Lost) (*nats.Msg, error) {
	key, namespace := c.Open.Key, c.Open.Namespace
	if c.Recorded != nil {
		key, namespace = c.Recorded.Key, c.Recorded.Namespace
	}
	id := string(node) + "-" + key
	m := nats.NewMsg(string(l.subjects.AppendEvent(nil, namespace, hub.KindClose, []byte(id))))
	m.Header[HeaderMsgID] = []string{id + "." + hub.KindClose.String()}
	if c.Recorded != nil {
		m.Header[HeaderSeq] = []string{strconv.FormatUint(c.Recorded.Seq, 10)}
		m.Data = c.Recorded.Event
		return m, nil
	}
	parsed, err := hub.ParseID(id)
	if err != nil {
		return nil, fmt.Errorf("life record: %w", err)
	}
	m.Data = AppendClosed(nil, lostOf(parsed, c))
	return m, nil
}

// lostOf says what is known of a connection whose node is lost: how it opened. Counters are unknown.
func lostOf(id hub.ID, c *life.Lost) *hub.Closed {
	return &hub.Closed{
		ID: id, Namespace: c.Open.Namespace, Endpoint: c.Open.Endpoint, User: c.Open.User,
		OpenTime: c.Open.Time, CloseTime: c.Time,
		End: hub.End{
			Code: codeAbnormal, Cause: hub.CauseNodeLost,
			Detail: "the node that held the connection was lost: when it ended, and what passed through it, is not known",
		},
	}
}

// codeAbnormal: no close frame came (RFC 6455 7.4.1).
const codeAbnormal = 1006

// Package app builds the broker of its parts, starts it, waits, and stops it in order. It is the only
// package that knows all others.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/bus"
	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/rpc"
	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/opening"
)

// broker is a running broker: everything that Run starts, in the order in which it starts.
type broker struct {
	cfg    Config
	logger *slog.Logger

	data    *dataDir    // nil with an external NATS server
	nats    *bus.Server // nil with an external NATS server
	natsURL string
	// natsCerts of the embedded server; nil without TLS.
	natsCerts *certificates
	bus       *bus.Bus
	hub       *hub.Hub
	engine    *ws.Engine
	control   *rpc.Server
	edge      *edge
	memory    *memory // nil: there is no budget

	controlListener net.Listener
	opsListener     net.Listener
	clientListeners []net.Listener
	ops             *http.Server
	clients         *http.Server
	tlsReloads      counters // by result
	proxyRefused    counters // by reason
	remoteKeys      remoteKeys
	tokensRefused   counters // of the control API, by reason

	startTime time.Time
	askToStop context.CancelFunc // called by DrainNode
	claimed   chan struct{}      // closed when other nodes hold this one dead
	dropper   dropper

	started  atomic.Bool    // bus, hub and control API are there, for the operations port to ask
	ready    atomic.Bool    // clients are served
	stopping atomic.Bool    // not ready any more
	serving  sync.WaitGroup // the goroutines that accept
	failed   chan error     // the first one that could not
	stopDemo func()

	stopReclaiming func()
}

// Run runs a broker until ctx ends, or a call drains it, then stops it in order and returns nil. When it is
// ready it writes one line of JSON with the real addresses to ready. An error is one line for the operator.
//
// A broker that others held dead, because it was stopped or cut off for longer than its lease, cannot go on: its
// connections are closed for everybody. It starts again as a new node, and writes a new line.
func Run(ctx context.Context, cfg Config, ready io.Writer, logger *slog.Logger) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	for {
		err := run(ctx, cfg, ready, logger)
		if !errors.Is(err, errClaimed) {
			return err
		}
		logger.Warn("starting again as a new node")
	}
}

// run is one life of a node.
func run(ctx context.Context, cfg Config, ready io.Writer, logger *slog.Logger) error {
	ctx, askToStop := context.WithCancel(ctx)
	defer askToStop()
	b := &broker{
		cfg: cfg, logger: logger, failed: make(chan error, 8), startTime: time.Now(),
		stopDemo: func() {}, stopReclaiming: func() {},
		askToStop: askToStop, claimed: make(chan struct{}), remoteKeys: remoteKeys{logger: logger},
	}
	if err := b.start(ctx); err != nil {
		_ = b.stopInTime(ctx) // what failed first is what counts
		if errors.Is(err, context.Canceled) {
			return nil // told to stop before it was ready, which may be long in a cluster that lacks a majority
		}
		return err
	}
	b.ready.Store(true)
	if err := b.writeReady(ready); err != nil {
		_ = b.stopInTime(ctx)
		return fmt.Errorf("ready line: %w", err)
	}
	var failure error
	select {
	case <-ctx.Done():
		logger.Info("stopping", "connections", b.hub.Len())
	case <-b.claimed:
		return b.abandon()
	case failure = <-b.failed:
		logger.Error("stopping: the broker is not whole any more", "error", failure)
	}
	return errors.Join(failure, b.stopInTime(ctx))
}

// abandon ends a node whose connections have ended for everybody else: without an event.
func (b *broker) abandon() error {
	b.hub.TerminateAll(hub.CauseNodeLost)
	now, cancel := context.WithCancel(context.Background())
	cancel()
	_ = b.stop(now) // nothing can be published any more
	return errClaimed
}

// stopInTime stops although ctx may have ended, in the time that there is for it.
func (b *broker) stopInTime(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.stopTime())
	defer cancel()
	return b.stop(ctx)
}

// stopTime bounds the whole stop: delay, closing of connections, and what comes after. Before clients were served there
// is nothing but the last.
func (b *broker) stopTime() time.Duration {
	if !b.ready.Load() {
		return afterDrain
	}
	return time.Duration(b.cfg.Drain.Delay) + time.Duration(b.cfg.Drain.Timeout) + afterDrain
}

// afterDrain is the time for the last events, gRPC and the embedded server once no connection is left.
const afterDrain = 10 * time.Second

// start opens every port before it serves any: a port in use costs no client a connection.
func (b *broker) start(ctx context.Context) error {
	steps := []func(context.Context) error{
		b.openListeners, b.startOps, b.startNATS, b.connectBus, b.makeControl, b.joinNodes, b.startControl, b.startLife,
		b.startClients, b.startDemo, b.startReclaiming,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *broker) openListeners(context.Context) (err error) {
	if b.controlListener, err = listen(Listener{Address: b.cfg.Control.Listen}); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	if b.opsListener, err = listen(Listener{Address: b.cfg.Ops.Listen}); err != nil {
		return fmt.Errorf("ops: %w", err)
	}
	for _, l := range b.cfg.Listen {
		nl, err := b.listenClients(l)
		if err != nil {
			return err
		}
		b.clientListeners = append(b.clientListeners, nl)
	}
	return nil
}

func (b *broker) connectBus(ctx context.Context) (err error) {
	node := hub.NewNodeID()
	b.bus, err = bus.Connect(ctx, bus.Config{
		URLs: strings.Split(b.natsURL, ","), OnlyURLs: b.nats != nil, Name: "holdfast-" + string(node),
		Auth: b.natsAuth(), TLS: b.natsTLS(),
		OutboxSize: int(b.cfg.NATS.Outbox), Logger: b.logger,
		OnUnsendable: b.unsendable, OnMaxPayload: b.maxPayloadChanged, OnLost: func(err error) { b.failed <- err },
	})
	if err != nil {
		return err
	}
	b.engine = ws.NewEngine(ws.EngineConfig{
		Driver: drivers[b.cfg.Clients.Driver], Logger: b.logger, CompressionMemory: int64(b.cfg.Clients.CompressionMemory),
	})
	b.hub = hub.New(node, b.bus.Publisher())
	b.hub.SetInterest(b.bus.Interest())
	b.edge = newEdge(b.hub, b.engine, b.logger, &b.cfg)
	budget := b.cfg.Memory.Budget.bytes()
	setMemoryLimit(budget)
	b.memory = watchMemory(budget, b.hub, b.logger)
	b.edge.memory = b.memory
	b.bus.ServeGroups(groups{b.hub})
	return b.bus.ServeReplies(node, &replies{hub: b.hub})
}

// unsendable closes a connection whose message the bus cannot carry: nothing is swallowed silently.
func (b *broker) unsendable(c *hub.Conn, size, max int) {
	b.logger.Warn("message does not fit into the bus: closing its connection",
		"connection", c.ID().String(), "size", size, "max_payload", max)
	_ = c.Close(1009, "message too large for the bus", hub.CauseMessageTooLarge, nil, nil)
}

// makeControl makes the control API, which serves other nodes first.
func (b *broker) makeControl(context.Context) error {
	cfg, err := b.controlConfig()
	if err != nil {
		return err
	}
	b.control = rpc.New(b.hub, cfg)
	b.started.Store(true)
	return nil
}

// startControl serves backends once the other nodes are known: until then connections of theirs would be told to be gone,
// and a message for many would reach nobody there.
func (b *broker) startControl(context.Context) error {
	b.serve("control", func() error { return b.control.Serve(b.controlListener) })
	return nil
}

// startOps comes first: a broker that waits long for its cluster is alive, and says so.
func (b *broker) startOps(context.Context) error {
	metrics := newMetrics(func() snapshot {
		if !b.started.Load() {
			return snapshot{}
		}
		s := snapshotOf(b.hub, b.bus, b.control, b.edge, b.engine)
		if s.memory.used = usedMemory(); b.memory != nil {
			s.memory.budget, s.memory.shed = b.memory.budget, b.memory.shed.Load()
		}
		s.tlsReloads, s.notProxied = b.tlsReloads.all(), b.proxyRefused.all()
		s.tlsReloads, s.tokensRefused, s.remoteKeys = b.tlsReloads.all(), b.tokensRefused.all(), b.remoteKeys.status()
		return s
	})
	b.ops = &http.Server{
		Handler: opsHandler(metrics, b.missing), ReadHeaderTimeout: headerTimeout,
		ErrorLog: httpLog(b.logger),
	}
	b.serve("ops", func() error { return b.ops.Serve(b.opsListener) })
	return nil
}

// missing says why the broker is not ready, or nothing.
func (b *broker) missing() string {
	switch {
	case b.stopping.Load():
		return "stopping"
	case !b.ready.Load():
		return "starting"
	case !b.bus.Connected():
		return "no connection to NATS"
	case b.hub.Frozen():
		return "frozen: the life record cannot be written"
	}
	return ""
}

// Limits of plain HTTP on the client port.
const (
	headerTimeout  = 10 * time.Second
	maxHeaderBytes = 64 << 10
)

func (b *broker) startClients(context.Context) error {
	endpoints, err := b.endpoints()
	if err != nil {
		return err
	}
	b.clients = &http.Server{
		Handler:      withClient(b.cfg.Clients.forwarding(), b.edge.handler(endpoints, b.pages())),
		ReadTimeout:  time.Duration(b.cfg.Clients.HandshakeTimeout), // of TLS, and of a request with its body
		WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: httpLog(b.logger), ConnState: b.edge.unfinished(b.cfg.Clients).track,
	}
	for i, l := range b.clientListeners {
		if b.cfg.Listen[i].TLS != nil { // for which net/http costs little more
			b.serve("clients", func() error { return b.clients.Serve(l) })
			continue
		}
		plain := opening.Listen(l, b.clients)
		b.serve("clients", func() error {
			defer plain.Wait()
			return b.clients.Serve(plain)
		})
	}
	return nil
}

// serve runs a listener until it is stopped; another end of it stops the broker.
func (b *broker) serve(name string, run func() error) {
	b.serving.Go(func() {
		if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			b.failed <- fmt.Errorf("%s: %w", name, err)
		}
	})
}

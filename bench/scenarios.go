//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-broker/holdfast/bench/client"
)

// messageSize is that of all messages but where a scenario says another, in bytes.
const messageSize = 128

// patience bounds the wait for what must come.
const patience = 10 * time.Second

// row is one line of a scenario's table.
type row struct {
	scenario, name string
	run            measurement
}

type measurement func(context.Context, *lab) (figures, faults, error)

// rows are all there is to measure, in the order of the report.
func rows() []row {
	all := []row{
		{"idle", withNATS, idle(withNATS)},
		{"idle", bareEcho, idle(bareEcho)},
		{"mixed", withNATS, func(ctx context.Context, l *lab) (figures, faults, error) {
			return load{peer: withNATS, idle: l.idleConns, busy: l.busyConns, depth: 1}.measure(ctx, l)
		}},
	}
	for _, shape := range []struct{ conns, depth int }{{100, 8}, {1000, 1}} {
		name := func(what string) string {
			return fmt.Sprintf("%s × %d, %s", number(float64(shape.conns)), shape.depth, what)
		}
		of := func(peer string) load { return load{peer: peer, busy: shape.conns, depth: shape.depth} }
		counted := of(withNATS)
		counted.counted = true
		all = append(all,
			row{"inbound", name("answered"), of(withNATS).measure},
			row{"inbound", name("answered, NATS embedded"), of(withEmbedded).measure},
			row{"inbound", name("counted"), counted.measure},
			row{"inbound", name(bareEcho), of(bareEcho).measure})
	}
	all = append(all,
		row{"push", "SendStream, 4 streams, batches of 64", pushStreams},
		row{"push", "Send, 32 callers", pushCalls})
	all = append(all, nodesRows()...)
	all = append(all, lifeRows()...)
	for _, peer := range []string{withNATS, withEmbedded, bareEcho} {
		all = append(all, row{"roundtrip", "10 × 1, " + peer, load{peer: peer, busy: 10, depth: 1}.measure})
	}
	return all
}

// nodesRows are those of three brokers that are one.
func nodesRows() []row {
	calls, stream := (*caller).calls, (*caller).stream
	return []row{
		{"nodes", "Send, 1 caller, p50 µs", through{3, 1, calls, p50}.measure},
		{"nodes", "Send, 1 caller, p50 µs, one NATS server", through{1, 1, calls, p50}.measure},
		{"nodes", "Send, 16 callers, p50 µs", through{3, 16, calls, p50}.measure},
		{"nodes", "SendStream, 1 stream, batches of 64, sends/s", through{3, 1, stream, perSecond}.measure},
		{"nodes", "SendStream, 4 streams, batches of 64, sends/s", through{3, 4, stream, perSecond}.measure},
		{"fanout", "1,000 members on one node", fanOut{1000, 1}.measure},
		{"fanout", "10,000 members over three nodes", fanOut{10_000, clusterNodes}.measure},
	}
}

// load is traffic on busy connections, each with depth messages under way, beside idle ones that must
// stay undisturbed.
type load struct {
	peer              string
	idle, busy, depth int
	// counted: the backend sends no answer. A subscriber counts, and tells the client that it may send
	// the next.
	counted bool
}

func (w load) measure(ctx context.Context, l *lab) (f figures, bad faults, err error) {
	s, err := l.set(ctx, w.peer)
	if err != nil {
		return nil, bad, err
	}
	defer func() { err = errors.Join(err, s.strike()) }()
	pool, err := s.connect(ctx, w.idle+w.busy)
	if err != nil {
		return nil, bad, err
	}
	defer pool.Abort()
	t := newTraffic(pool, w.busy, w.depth)
	if w.counted {
		s.backend.counter.Store(pool)
	}
	if f, err = t.run(ctx, s, l.duration); err != nil {
		return nil, bad, err
	}
	err = endOf(ctx, s, pool, &t.faults)
	return f, t.faults, err
}

// idle opens connections and looks at the memory: held for a while, and again after one message of 1 KiB
// on each and another while.
func idle(peer string) measurement {
	return func(ctx context.Context, l *lab) (f figures, bad faults, err error) {
		s, err := l.set(ctx, peer)
		if err != nil {
			return nil, bad, err
		}
		defer func() { err = errors.Join(err, s.strike()) }()
		fresh, err := s.measured()
		if err != nil {
			return nil, bad, err
		}
		pool, err := s.connect(ctx, l.idleConns)
		if err != nil {
			return nil, bad, err
		}
		defer pool.Abort()
		f, bad, err = l.hold(ctx, s, pool, fresh)
		err = errors.Join(err, endOf(ctx, s, pool, &bad))
		return f, bad, err
	}
}

func (l *lab) hold(ctx context.Context, s *stage, pool *client.Pool, fresh sample) (f figures, bad faults, err error) {
	opened, err := s.sample()
	if err != nil {
		return nil, bad, err
	}
	once := &onceEach{pool: pool}
	pool.OnMessage = once.message
	if err = pool.Run(ctx, l.held); err != nil {
		return nil, bad, err
	}
	held, err := s.sample()
	if err != nil {
		return nil, bad, err
	}
	if err = once.run(ctx); err != nil {
		return nil, bad, err
	}
	if err = pool.Run(ctx, l.held); err != nil {
		return nil, bad, err
	}
	after, err := s.sample()
	n := float64(len(pool.Conns))
	f.add(memoryFigure, float64(held.server.RSS-fresh.server.RSS)/n)
	f.add("after 1 message each", float64(after.server.RSS-fresh.server.RSS)/n)
	f.add("handshakes/s", n/opened.at.Sub(fresh.at).Seconds())
	f.add("server CPU ms/1000 handshakes", (opened.server.CPU-fresh.server.CPU).Seconds()*1e6/n)
	f.add("idle cores", (held.server.CPU-opened.server.CPU).Seconds()/held.at.Sub(opened.at).Seconds())
	f.add(othersFigure, others(fresh, opened))
	f.add("RSS MB before", float64(fresh.server.RSS)/1e6)
	return f, once.faults, err
}

// onceEach sends one message on each connection of a pool, 64 of them at a time.
type onceEach struct {
	pool   *client.Pool
	next   int
	faults faults
}

func (o *onceEach) send() {
	if o.next == len(o.pool.Conns) {
		return
	}
	c := o.pool.Conns[o.next]
	o.next++
	c.Send(client.Stamp{Index: uint32(c.Index), Sent: client.Now()}.AppendMessage(nil, 1024))
	c.Sent++
}

func (o *onceEach) message(c *client.Conn, _ int64, payload []byte) {
	stamp, ok := client.ReadStamp(payload)
	switch {
	case !ok || len(payload) != 1024:
		o.faults.Wrong++
	case int(stamp.Index) != c.Index || c.Sent == 0 || c.Received > 0:
		o.faults.Stray++
	}
	c.Received++
	o.send()
}

func (o *onceEach) run(ctx context.Context) error {
	for range 64 {
		o.send()
	}
	unanswered := func() (n uint64) {
		for _, c := range o.pool.Conns {
			n += 1 - min(c.Received, 1)
		}
		return n
	}
	err := o.pool.Until(ctx, patience, func() bool { return o.next == len(o.pool.Conns) && unanswered() == 0 })
	o.faults.Lost += unanswered()
	return err
}

//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-broker/holdfast/bench/client"
	"github.com/holdfast-broker/holdfast/bench/report"
)

// idle opens connections as a browser does and looks at the memory: meanwhile, when they were held for a while, and
// again after one message of 1 KiB on each and another while.
type idle struct {
	peer  string
	conns int
	// busy: afterwards the connections take turns with messages that a backend counts.
	busy bool
}

// rssSteps is how often the memory is looked at while connections come.
const rssSteps = 10

func (w idle) measure(ctx context.Context, l *lab) (f figures, bad faults, err error) {
	s, err := l.set(ctx, w.peer)
	if err != nil {
		return nil, bad, err
	}
	defer func() { err = errors.Join(err, s.strike()) }()
	pool, err := s.pool()
	if err != nil {
		return nil, bad, err
	}
	defer pool.Abort()
	pool.Browser = true
	m := memory{stage: s, held: l.heldOn(s), wait: pool.Run}
	if err := m.begin(); err != nil {
		return nil, bad, err
	}
	for i := range rssSteps {
		if err := s.open(ctx, pool, w.conns*(i+1)/rssSteps-len(pool.Conns)); err != nil {
			return nil, bad, err
		}
		if err := m.look(len(pool.Conns)); err != nil {
			return nil, bad, err
		}
	}
	once := &onceEach{pool: pool}
	pool.OnMessage = once.message
	f, err = m.hold(ctx, w.conns, once.run)
	bad = once.faults
	if err == nil && w.busy {
		var more figures
		t := load{busy: w.conns, depth: 1, turns: true, counted: true}.traffic(s, pool)
		more, err = t.run(ctx, s, l.duration)
		bad.Add(t.faults)
		f = append(f, more...)
	}
	err = errors.Join(err, endOf(ctx, s, pool, &bad))
	return f, bad, err
}

// heldOn is how long connections are held. The broker gives memory back when a burst has been over for a while; what the
// others hold does not change.
func (l *lab) heldOn(s *stage) time.Duration {
	if s.broker || s.server == nil {
		return l.held
	}
	return l.held / 3
}

// memory looks at a server's while connections come, and are held.
type memory struct {
	stage *stage
	held  time.Duration
	wait  func(context.Context, time.Duration) error

	fresh, opened sample
	steps         figures
}

func (m *memory) begin() (err error) {
	m.fresh, err = m.stage.measured()
	m.opened = m.fresh
	m.steps.add(report.RSSAt(0), float64(m.fresh.server.RSS)/1e6)
	return err
}

func (m *memory) look(conns int) (err error) {
	m.opened, err = m.stage.sample()
	m.steps.add(report.RSSAt(conns), float64(m.opened.server.RSS)/1e6)
	return err
}

// hold measures n idle connections before and after each had a message.
func (m *memory) hold(ctx context.Context, n int, message func(context.Context) error) (f figures, err error) {
	var samples [2]sample
	for i := range samples {
		if i > 0 {
			if err := message(ctx); err != nil {
				return nil, err
			}
		}
		if err := m.wait(ctx, m.held); err != nil {
			return nil, err
		}
		if samples[i], err = m.stage.sample(); err != nil {
			return nil, err
		}
	}
	held, after, conns := samples[0], samples[1], float64(n)
	f.add(report.Held, float64(held.server.RSS-m.fresh.server.RSS)/conns)
	f.add(report.AfterMessage, float64(after.server.RSS-m.fresh.server.RSS)/conns)
	f.add(report.Handshake, micros(m.opened.server.CPU-m.fresh.server.CPU)/conns)
	f.add("handshakes/s", conns/m.opened.at.Sub(m.fresh.at).Seconds())
	f.add("idle cores", (held.server.CPU-m.opened.server.CPU).Seconds()/held.at.Sub(m.opened.at).Seconds())
	f.add(report.OthersOpening, others(m.fresh, m.opened))
	return append(f, m.steps...), nil
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

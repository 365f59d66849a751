//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-broker/holdfast/bench/client"
	"github.com/holdfast-broker/holdfast/bench/report"
)

const (
	// warmUp comes before every measurement under load.
	warmUp = 300 * time.Millisecond
	// underWay is how many messages there are of each depth at most.
	underWay = 1000
)

// faults are what must not be: each is a bug of the broker or of this program.
type faults = report.Faults

// traffic keeps messages under way on the first connections of a pool: after each answer it sends the
// next. The other connections must stay silent.
type traffic struct {
	pool        *client.Pool
	busy, depth int
	// turns: what is sent after an answer goes to the next connection, so that all are busy in turn with fewer
	// messages under way than there are connections.
	turns bool
	// paced: nothing is sent because of an answer.
	paced bool

	next     int
	stopping bool
	answered uint64
	rtt      *client.Histogram // nil: do not record
	faults   faults
	buf      []byte
}

func newTraffic(pool *client.Pool, busy, depth int) *traffic {
	t := &traffic{pool: pool, busy: busy, depth: depth}
	pool.OnMessage = func(c *client.Conn, now int64, payload []byte) {
		stamp, ok := client.ReadStamp(payload)
		if !ok {
			t.faults.Wrong++
			return
		}
		t.answer(c, now, stamp)
	}
	pool.OnPost = func(now int64, stamps []client.Stamp) {
		for _, s := range stamps {
			t.answer(pool.Conns[s.Index], now, s)
		}
	}
	return t
}

func (t *traffic) send(c *client.Conn, now int64) {
	stamp := client.Stamp{Index: uint32(c.Index), Seq: c.Sent, Sent: now}
	t.buf = stamp.AppendMessage(t.buf[:0], messageSize)
	c.Send(t.buf)
	c.Sent++
}

func (t *traffic) answer(c *client.Conn, now int64, s client.Stamp) {
	if c.Index >= t.busy || int(s.Index) != c.Index {
		t.faults.Stray++
		return
	}
	if s.Seq != c.Received {
		t.faults.Wrong++
	}
	c.Received++
	t.answered++
	if t.rtt != nil {
		t.rtt.Record(now - s.Sent)
	}
	switch {
	case t.stopping || t.paced:
	case t.turns:
		t.send(t.turn(), now)
	default:
		t.send(c, now)
	}
}

// turn answers the connection whose turn it is.
func (t *traffic) turn() *client.Conn {
	c := t.pool.Conns[t.next]
	t.next = (t.next + 1) % t.busy
	return c
}

// run measures for a time, and then waits for every answer.
func (t *traffic) run(ctx context.Context, s *stage, d time.Duration) (figures, error) {
	for range t.depth {
		for range min(t.busy, underWay) {
			t.send(t.turn(), client.Now())
		}
	}
	if err := t.pool.Run(ctx, warmUp); err != nil {
		return nil, err
	}
	before, err := s.measured()
	if err != nil {
		return nil, err
	}
	t.rtt = &client.Histogram{}
	if err := t.pool.Run(ctx, d); err != nil {
		return nil, err
	}
	after, err := s.sample()
	if err != nil {
		return nil, err
	}
	f := perMessage(before, after, t.rtt.Count())
	f.add(report.RTT, micros(t.rtt.Quantile(0.5)))
	f.add("RTT p99 µs", micros(t.rtt.Quantile(0.99)))
	return f, t.finish(ctx)
}

// finish waits until nothing is under way and counts what is missing.
func (t *traffic) finish(ctx context.Context) error {
	t.stopping, t.rtt = true, nil
	missing := func() (n uint64) {
		for _, c := range t.pool.Conns[:t.busy] {
			n += c.Sent - c.Received
		}
		return n
	}
	if err := t.pool.Until(ctx, patience, func() bool { return missing() == 0 }); err != nil {
		return err
	}
	t.faults.Lost += missing()
	// What comes now is one too many.
	return t.pool.Run(ctx, 100*time.Millisecond)
}

// endOf closes the connections in order and adds what the pool and the backend have to complain about.
func endOf(ctx context.Context, s *stage, pool *client.Pool, f *faults) error {
	f.Errors += uint64(pool.Broken)
	if pool.Err != nil {
		return fmt.Errorf("%d connections broke: %w", pool.Broken, pool.Err)
	}
	if !s.broker {
		pool.Abort() // the bare peers know no close
		if s.backend != nil {
			s.backend.faults(f)
		}
		return nil
	}
	if err := pool.Close(ctx, patience); err != nil {
		return err
	}
	opened := uint64(len(pool.Conns))
	for end := time.Now().Add(patience); s.backend.closes.Load() < opened && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	s.backend.faults(f)
	// One open, one close event each, and the last number counts all events of the connection.
	f.Lost += missing(opened, s.backend.opens.Load()) + missing(opened, s.backend.closes.Load())
	if want := s.backend.messages.Load() + 2*opened; s.backend.closeSeqs.Load() != want {
		f.Wrong++
	}
	return nil
}

// missing counts both too few and too many.
func missing(want, got uint64) uint64 { return max(want, got) - min(want, got) }

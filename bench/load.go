//go:build linux

package main

import (
	"context"
	"errors"

	"github.com/holdfast-broker/holdfast/bench/client"
)

// load is traffic on busy connections, each with depth messages under way, beside idle ones that must
// stay undisturbed.
type load struct {
	peer              string
	idle, busy, depth int
	// turns: no more than underWay messages are, and the connections take turns with them.
	turns bool
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
	t := w.traffic(s, pool)
	if f, err = t.run(ctx, s, l.duration); err != nil {
		return nil, bad, err
	}
	err = endOf(ctx, s, pool, &t.faults)
	return f, t.faults, err
}

func (w load) traffic(s *stage, pool *client.Pool) *traffic {
	t := newTraffic(pool, w.busy, w.depth)
	t.turns = w.turns
	if w.counted {
		s.backend.counter.Store(pool)
	}
	return t
}

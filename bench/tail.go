//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-broker/holdfast/bench/client"
	"github.com/holdfast-broker/holdfast/bench/report"
)

const (
	tailConns = 100
	// tailTick is how often messages are sent, several at once.
	tailTick = 500 * time.Microsecond
)

// tail saturates the broker, whose every message a backend answers, and then looks at the latency at half that rate: of
// the broker, and of the bare echo peer.
func tail(ctx context.Context, l *lab) (f figures, bad faults, err error) {
	saturated, bad, err := shape{tailConns, 8}.load(withNATS).measure(ctx, l)
	if err != nil {
		return nil, bad, err
	}
	rate := saturated.value(report.Rate) / 2
	f.add("saturated, messages/s", 2*rate)
	for _, peer := range []string{withNATS, bareEcho} {
		rtt, worse, err := l.paced(ctx, peer, rate)
		bad.Add(worse)
		if err != nil {
			return nil, bad, err
		}
		for _, q := range report.Quantiles {
			f.add(report.Latency(peer, q), micros(rtt.Quantile(q)))
		}
	}
	return f, bad, nil
}

// paced measures echoes at a rate that does not depend on how fast they come back.
func (l *lab) paced(ctx context.Context, peer string, rate float64) (rtt *client.Histogram, bad faults, err error) {
	s, err := l.set(ctx, peer)
	if err != nil {
		return nil, bad, err
	}
	defer func() { err = errors.Join(err, s.strike()) }()
	pool, err := s.connect(ctx, tailConns)
	if err != nil {
		return nil, bad, err
	}
	defer pool.Abort()
	t := newTraffic(pool, tailConns, 0)
	t.paced, t.rtt = true, &client.Histogram{} // also for a machine that stands still until the time is over
	due, warmed := 0.0, false
	warm := client.Now() + int64(warmUp)
	err = pool.Pace(ctx, warmUp+2*l.duration, tailTick, func(at int64) {
		if !warmed && at >= warm {
			warmed, t.rtt = true, &client.Histogram{}
		}
		for due += rate * tailTick.Seconds(); due >= 1; due-- {
			t.send(t.turn(), at)
		}
	})
	if rtt = t.rtt; err == nil {
		err = t.finish(ctx)
	}
	err = errors.Join(err, endOf(ctx, s, pool, &t.faults))
	return rtt, t.faults, err
}

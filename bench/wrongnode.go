//go:build linux

package main

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-broker/holdfast/bench/client"
	"github.com/holdfast-broker/holdfast/bench/report"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const (
	// throughConns are the connections that are sent to, half of them through each node.
	throughConns = 200
	// turns is how often the two ways take turns in one measurement.
	turns = 8
)

// through compares sends through the owner of the connections and through another node, in turns, so that both
// have the same machine.
type through struct {
	servers int // of NATS
	callers int // for each way
	run     func(*caller, context.Context) error
	// of one way, from its callers and the time that their turns took
	figure func(answered *client.Histogram, took time.Duration) float64
}

func p50(answered *client.Histogram, _ time.Duration) float64 { return micros(answered.Quantile(0.5)) }

func perSecond(answered *client.Histogram, took time.Duration) float64 {
	return float64(answered.Count()*batchSize) / took.Seconds()
}

func (w through) measure(ctx context.Context, l *lab) (f figures, bad faults, err error) {
	c, err := l.setCluster(ctx, clusterNodes, w.servers)
	if err != nil {
		return nil, bad, err
	}
	defer func() { err = errors.Join(err, c.strike()) }()
	pool, err := c.nodes[0].connect(ctx, throughConns)
	if err != nil {
		return nil, bad, err
	}
	defer pool.Abort()
	targets, err := targetsOf(ctx, holdfastv1.NewConnectionServiceClient(c.nodes[0].cc), throughConns)
	if err != nil {
		return nil, bad, err
	}
	p := &pushes{pool: pool, targets: targets, run: w.run}
	pool.OnMessage = p.message
	ways := [2]*way{w.way(c.nodes[0], targets[:throughConns/2]), w.way(c.nodes[1], targets[throughConns/2:])}
	for _, one := range ways {
		if err := one.turn(ctx, p, warmUp); err != nil {
			return nil, bad, err
		}
		one.forget()
	}
	before, err := l.measured(c)
	if err != nil {
		return nil, bad, err
	}
	for n := range 2 * turns {
		if err := ways[n%2].turn(ctx, p, l.duration/turns); err != nil {
			return nil, bad, err
		}
	}
	after, err := c.sample()
	owner, other := w.of(ways[0]), w.of(ways[1])
	f.add("owner", owner)
	f.add("another node", other)
	f.add("another ÷ owner", other/owner)
	f.add(report.Others, others(before, after))
	p.faults.Errors += uint64(pool.Broken)
	return f, p.faults, err
}

// way is the callers that go one way.
type way struct {
	callers []*caller
	took    time.Duration
}

func (w through) way(n node, targets []*target) *way {
	one := &way{callers: make([]*caller, w.callers)}
	for i := range one.callers {
		one.callers[i] = &caller{api: holdfastv1.NewConnectionServiceClient(n.cc)}
	}
	for i, t := range targets {
		c := one.callers[i%w.callers]
		c.targets = append(c.targets, t)
	}
	return one
}

// turn lets the callers of a way go for a time, and waits until all that they sent has arrived.
func (o *way) turn(ctx context.Context, p *pushes, d time.Duration) error {
	p.callers, p.stop = o.callers, make(chan struct{})
	ended := make(chan error, len(o.callers))
	begin := time.Now()
	for _, c := range o.callers {
		c.stop = p.stop
		go func() { ended <- p.run(c, ctx) }()
	}
	err := p.pool.Run(ctx, d)
	err = errors.Join(err, p.finish(ctx, ended))
	o.took += time.Since(begin)
	for _, c := range o.callers {
		p.faults.Errors += c.failed
		c.failed = 0
	}
	return err
}

func (o *way) forget() {
	o.took = 0
	for _, c := range o.callers {
		c.answered = client.Histogram{}
	}
}

func (w through) of(o *way) float64 {
	var answered client.Histogram
	for _, c := range o.callers {
		answered.Add(&c.answered)
	}
	return w.figure(&answered, o.took)
}

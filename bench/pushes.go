//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-broker/holdfast/bench/client"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// push is callers that send to connections by ID.
type push struct {
	peer    string
	callers int
	run     func(*caller, context.Context) error
}

func (w push) measure(ctx context.Context, l *lab) (f figures, bad faults, err error) {
	s, err := l.set(ctx, w.peer)
	if err != nil {
		return nil, bad, err
	}
	defer func() { err = errors.Join(err, s.strike()) }()
	pool, err := s.connect(ctx, pushConns)
	if err != nil {
		return nil, bad, err
	}
	defer pool.Abort()
	cc, err := dial(s.control)
	if err != nil {
		return nil, bad, err
	}
	defer cc.Close()
	api := holdfastv1.NewConnectionServiceClient(cc)
	if err := awaitOpen(ctx, api, "", pushConns); err != nil {
		return nil, bad, err
	}
	targets, err := targetsOf(ctx, api, pushConns)
	if err != nil {
		return nil, bad, err
	}
	stop := make(chan struct{})
	all := make([]*caller, w.callers)
	for i := range all {
		all[i] = &caller{api: api, stop: stop}
	}
	for i, t := range targets {
		c := all[i%w.callers]
		c.targets = append(c.targets, t)
	}
	p := &pushes{pool: pool, targets: targets, callers: all, run: w.run, stop: stop}
	f, err = p.measure(ctx, s, l.duration)
	err = errors.Join(err, endOf(ctx, s, pool, &p.faults))
	return f, p.faults, err
}

// targetsOf lists the connections and reads from each one's URL which of ours it is.
func targetsOf(ctx context.Context, api holdfastv1.ConnectionServiceClient, want int) (targets []*target, err error) {
	request := &holdfastv1.ListRequest{PageSize: 1000}
	for {
		page, err := api.List(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		for _, c := range page.Connections {
			_, query, _ := strings.Cut(c.Url, "?n=")
			index, err := strconv.ParseUint(query, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("list: URL %q: %w", c.Url, err)
			}
			targets = append(targets, &target{id: c.Id, index: uint32(index)})
		}
		if request.PageToken = page.NextPageToken; request.PageToken == "" {
			break
		}
	}
	if len(targets) != want {
		return nil, fmt.Errorf("list: %d connections, want %d", len(targets), want)
	}
	return targets, nil
}

// pushes is one run of all callers.
type pushes struct {
	pool    *client.Pool
	targets []*target
	callers []*caller
	run     func(*caller, context.Context) error
	stop    chan struct{}

	arrived *client.Histogram // nil: do not record
	faults  faults
}

func (p *pushes) message(c *client.Conn, now int64, payload []byte) {
	stamp, ok := client.ReadStamp(payload)
	switch {
	case !ok:
		p.faults.Wrong++
	case int(stamp.Index) != c.Index:
		p.faults.Stray++
	case stamp.Seq != c.Received:
		p.faults.Wrong++
	}
	c.Received++
	if p.arrived != nil {
		p.arrived.Record(now - stamp.Sent)
	}
}

func (p *pushes) measure(ctx context.Context, s *stage, d time.Duration) (f figures, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.pool.OnMessage = p.message
	ended := make(chan error, len(p.callers))
	for _, c := range p.callers {
		go func() { ended <- p.run(c, ctx) }()
	}
	before, after, err := p.window(ctx, s, d)
	arrived := p.arrived
	p.arrived = nil
	if err = errors.Join(err, p.finish(ctx, ended)); err != nil {
		return nil, err
	}
	f = perMessage(before, after, arrived.Count())
	f.add("arrival p50 µs", micros(arrived.Quantile(0.5)))
	f.add("arrival p99 µs", micros(arrived.Quantile(0.99)))
	var answered client.Histogram
	for _, c := range p.callers {
		answered.Add(&c.answered)
		p.faults.Errors += c.failed
	}
	f.add("answer p50 µs", micros(answered.Quantile(0.5)))
	f.add("answer p99 µs", micros(answered.Quantile(0.99)))
	return f, nil
}

// window is the time that counts.
func (p *pushes) window(ctx context.Context, s *stage, d time.Duration) (before, after sample, err error) {
	if err = p.pool.Run(ctx, warmUp); err != nil {
		return before, after, err
	}
	if before, err = s.measured(); err != nil {
		return before, after, err
	}
	p.arrived = &client.Histogram{}
	if err = p.pool.Run(ctx, d); err != nil {
		return before, after, err
	}
	after, err = s.sample()
	return before, after, err
}

// finish stops the callers and waits for them and for every message; somebody must read meanwhile.
func (p *pushes) finish(ctx context.Context, ended <-chan error) error {
	close(p.stop)
	var errs []error
	err := p.pool.Until(ctx, patience, func() bool {
		for len(ended) > 0 {
			errs = append(errs, <-ended)
		}
		return len(errs) == len(p.callers)
	})
	if err != nil || len(errs) < len(p.callers) {
		return errors.Join(append(errs, err, errors.New("callers did not end in time"))...)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	lost := func() (n uint64) {
		for _, t := range p.targets {
			n += missing(t.seq, p.pool.Conns[t.index].Received)
		}
		return n
	}
	err = p.pool.Until(ctx, patience, func() bool { return lost() == 0 })
	p.faults.Lost += lost()
	return err
}

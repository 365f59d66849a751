//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/bench/client"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const fanOutGroup = "all"

// fanOut publishes to a group, one message after the other: the next when the last member has got it.
type fanOut struct {
	members, nodes int // all nodes have as many
	peer           string
}

// audience is the members of the group.
type audience struct {
	pools    []*client.Pool
	running  sync.WaitGroup
	stop     context.CancelFunc
	expected atomic.Int64 // messages that all pools together shall have got
	got      atomic.Int64
	whole    chan struct{} // has an element when they have
	wrong    atomic.Uint64
}

func (w fanOut) measure(ctx context.Context, l *lab) (f figures, bad faults, err error) {
	c, err := w.set(ctx, l)
	if err != nil {
		return nil, bad, err
	}
	defer func() { err = errors.Join(err, c.strike()) }()
	a, err := w.gather(ctx, c)
	defer a.leave()
	if err != nil {
		return nil, bad, err
	}
	if err := a.join(ctx, c, w.members); err != nil {
		return nil, bad, err
	}
	f, err = w.publish(ctx, l, c, a)
	a.leave()
	bad.Wrong = a.wrong.Load()
	for _, p := range a.pools {
		bad.Errors += uint64(p.Broken)
	}
	return f, bad, err
}

// set starts as many nodes as have members: the broker, or its bare prototype.
func (w fanOut) set(ctx context.Context, l *lab) (*cluster, error) {
	if w.peer == bareControl {
		return l.setBare(ctx)
	}
	return l.setCluster(ctx, w.nodes, w.nodes)
}

// gather connects the members.
func (w fanOut) gather(ctx context.Context, c *cluster) (*audience, error) {
	ctx, stop := context.WithCancel(ctx)
	a := &audience{whole: make(chan struct{}, 1), stop: stop}
	for i := range w.nodes {
		p, err := c.nodes[i].connect(ctx, (w.members+i)/w.nodes)
		if err != nil {
			return a, err
		}
		a.pools = append(a.pools, p)
		p.OnMessage = a.message
	}
	for _, p := range a.pools {
		a.running.Go(func() { _ = p.Run(ctx, time.Hour) })
	}
	return a, nil
}

func (a *audience) message(c *client.Conn, _ int64, payload []byte) {
	stamp, ok := client.ReadStamp(payload)
	if !ok || stamp.Seq != c.Received {
		a.wrong.Add(1)
	}
	c.Received++
	if a.got.Add(1) == a.expected.Load() {
		a.whole <- struct{}{}
	}
}

// leave ends the members. It may be called again.
func (a *audience) leave() {
	a.stop()
	a.running.Wait()
	for _, p := range a.pools {
		p.Abort()
	}
}

func (a *audience) join(ctx context.Context, c *cluster, n int) error {
	targets, err := targetsOf(ctx, holdfastv1.NewConnectionServiceClient(c.nodes[0].cc), n)
	if err != nil {
		return err
	}
	req := &holdfastv1.AddMembersRequest{Groups: []string{fanOutGroup}}
	for _, t := range targets {
		req.ConnectionIds = append(req.ConnectionIds, t.id)
	}
	added, err := holdfastv1.NewGroupServiceClient(c.nodes[0].cc).AddMembers(ctx, req)
	if err == nil && len(added.Failures) > 0 {
		err = fmt.Errorf("%d of %d are no members: %v", len(added.Failures), n, added.Failures[0])
	}
	return err
}

func (w fanOut) publish(ctx context.Context, l *lab, c *cluster, a *audience) (f figures, err error) {
	var seq uint64
	for end := time.Now().Add(warmUp); time.Now().Before(end); seq++ {
		if _, _, err := w.once(ctx, c, a, seq); err != nil {
			return nil, err
		}
	}
	before, err := l.measured(c)
	if err != nil {
		return nil, err
	}
	var answered, arrived client.Histogram
	for end := before.at.Add(l.duration); time.Now().Before(end); seq++ {
		answer, last, err := w.once(ctx, c, a, seq)
		if err != nil {
			return nil, err
		}
		answered.Record(int64(answer))
		arrived.Record(int64(last))
	}
	after, err := c.sample()
	deliveries := arrived.Count() * uint64(w.members)
	f = perMessage(before, after, deliveries)
	f.add("answer p50 ms", micros(answered.Quantile(0.5))/1000)
	f.add("last arrival p50 ms", micros(arrived.Quantile(0.5))/1000)
	f.add("µs/delivery", after.at.Sub(before.at).Seconds()*1e6/float64(deliveries))
	return f, err
}

// once publishes one message, and answers when the call was answered and when the last member had it.
func (w fanOut) once(ctx context.Context, c *cluster, a *audience, seq uint64) (answer, last time.Duration, err error) {
	a.expected.Add(int64(w.members))
	begin := time.Now()
	resp, err := holdfastv1.NewGroupServiceClient(c.nodes[0].cc).Publish(ctx, &holdfastv1.PublishRequest{
		Target: &holdfastv1.Target{To: &holdfastv1.Target_Group{Group: fanOutGroup}},
		Message: &holdfastv1.Message{Payload: &holdfastv1.Message_Binary{
			Binary: client.Stamp{Seq: seq}.AppendMessage(nil, messageSize),
		}},
	})
	answer = time.Since(begin)
	if err == nil && resp.Succeeded != uint64(w.members) {
		err = fmt.Errorf("published to %v, want %d", resp, w.members)
	}
	if err != nil {
		return answer, 0, err
	}
	select {
	case <-a.whole:
		return answer, time.Since(begin), nil
	case <-time.After(patience):
		return answer, 0, fmt.Errorf("%d of %d messages arrived", a.got.Load(), a.expected.Load())
	case <-ctx.Done():
		return answer, 0, ctx.Err()
	}
}

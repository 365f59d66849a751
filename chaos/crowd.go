//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// A client closes by itself with one message in so many, to come again.
const goodbye = 40

// crowd is all clients.
type crowd struct {
	addresses [brokers]string
	every     time.Duration
	wg        sync.WaitGroup
	calm      chan struct{} // closed: nobody sends or leaves any more

	away    atomic.Int64 // clients that want to be connected and are not; who has just left is not among them
	refused atomic.Int64 // handshakes

	mu       sync.Mutex
	visits   []*visit
	received map[int]*receipt // by number of the backend's message
	wrong    []string
}

// visit is one connection as its client saw it.
type visit struct {
	tag     string
	broker  int
	begin   time.Time
	end     time.Time // zero: it is open
	sent    int
	left    bool  // the client closed it
	how     error // how it ended
	id      string
	current *socket
}

// receipt is a message of the backend that arrived.
type receipt struct {
	tag   string
	times int
}

func newCrowd(addresses [brokers]string, every time.Duration) *crowd {
	return &crowd{addresses: addresses, every: every, calm: make(chan struct{}), received: make(map[int]*receipt)}
}

// start brings in n clients, evenly over a time.
func (c *crowd) start(ctx context.Context, n int, over time.Duration) {
	c.away.Store(int64(n))
	for i := range n {
		c.wg.Go(func() {
			if wait(ctx, over*time.Duration(i)/time.Duration(n)) {
				c.live(ctx, i)
			}
		})
	}
}

// live connects a client, and again whenever it has lost its connection.
func (c *crowd) live(ctx context.Context, number int) {
	broker, away := number%brokers, true
	for attempt := 0; ctx.Err() == nil; attempt++ {
		v := &visit{tag: fmt.Sprintf("%d.%d", number, attempt), broker: broker, begin: time.Now()}
		s, err := dial(c.addresses[broker], v.tag)
		if err != nil {
			c.refused.Add(1)
			c.misses(&away, true)
		} else {
			c.misses(&away, false)
			c.stay(ctx, v, s)
			c.misses(&away, !v.left)
		}
		broker = rand.IntN(brokers)
		if !wait(ctx, 50*time.Millisecond+rand.N(500*time.Millisecond)) {
			return
		}
	}
}

// misses counts a client among those that are away, or not.
func (c *crowd) misses(away *bool, is bool) {
	switch {
	case is && !*away:
		c.away.Add(1)
	case !is && *away:
		c.away.Add(-1)
	}
	*away = is
}

// stay talks and listens until the connection ends.
func (c *crowd) stay(ctx context.Context, v *visit, s *socket) {
	c.mu.Lock()
	v.current = s
	c.visits = append(c.visits, v)
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { _ = s.nc.Close() })
	var talking sync.WaitGroup
	talking.Go(func() { c.talk(ctx, v, s) })
	err := s.read(func(payload []byte) { c.receive(v, payload) })
	cancel()
	talking.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	v.end, v.how, v.current = time.Now(), err, nil
}

// at counts the clients of one broker.
func (c *crowd) at(broker int) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.visits {
		if v.current != nil && v.broker == broker {
			n++
		}
	}
	return n
}

// talk sends "tag number …" until the connection ends, and sometimes leaves.
func (c *crowd) talk(ctx context.Context, v *visit, s *socket) {
	filler := bytes.Repeat([]byte("."), rand.IntN(200))
	calm := c.calm
	for n := 0; wait(ctx, c.every/2+rand.N(c.every)); {
		select {
		case <-calm:
			<-ctx.Done()
			return
		default:
		}
		if rand.IntN(goodbye) == 0 {
			c.leave(v)
			_ = s.send(wire.Close, wire.AppendClose(nil, 1000, ""))
			<-ctx.Done() // read sees the answer
			return
		}
		c.count(v)
		text := fmt.Appendf(nil, "%s %d ", v.tag, n)
		if s.send(wire.Text, append(text, filler...)) != nil {
			return
		}
		n++
	}
}

func (c *crowd) leave(v *visit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.left = true
}

// count comes before the message is written: the ledger must not see more than was sent.
func (c *crowd) count(v *visit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v.sent++
}

// receive takes "connection number" from the backend.
func (c *crowd) receive(v *visit, payload []byte) {
	id, text, _ := bytes.Cut(payload, []byte(" "))
	number, err := strconv.Atoi(string(text))
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.id == "" {
		v.id = string(id)
	}
	if err != nil || v.id != string(id) {
		c.wrong = append(c.wrong, fmt.Sprintf("client %s (%s) received %.60q", v.tag, v.id, payload))
		return
	}
	r := c.received[number]
	if r == nil {
		r = &receipt{tag: v.tag}
		c.received[number] = r
	}
	r.times++
}

// snapshot answers every visit so far, and what arrived.
func (c *crowd) snapshot() (visits []visit, received map[int]receipt, wrong []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.visits {
		visits = append(visits, *v)
	}
	received = make(map[int]receipt, len(c.received))
	for n, r := range c.received {
		received[n] = *r
	}
	return visits, received, append(wrong, c.wrong...)
}

// clean reports whether the client left and the broker answered its close frame.
func (v *visit) clean() bool {
	var closed closedWith
	return v.left && errors.As(v.how, &closed) && closed == 1000
}

// wait answers false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

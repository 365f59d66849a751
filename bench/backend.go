//go:build linux

package main

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/bench/client"
)

// backend is an ordinary NATS client that gets every event. It answers messages, or hands their stamps
// on; and it checks that the numbers of the events have no gaps.
type backend struct {
	nc *nats.Conn

	// counter, if set, is told of each message, whose client then gets no answer.
	counter atomic.Pointer[client.Pool]

	opens, messages, closes atomic.Uint64
	gaps                    atomic.Uint64 // events whose number is not the next
	wrong                   atomic.Uint64 // messages that are none of ours
	failures                atomic.Uint64 // of the NATS client
	closeSeqs               atomic.Uint64 // the sum over all close events
}

func newBackend(url string) (*backend, error) {
	b := &backend{}
	var err error
	b.nc, err = nats.Connect(url, nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {
		b.failures.Add(1)
	}))
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	for subject, handle := range map[string]nats.MsgHandler{
		"holdfast.default.open.*": b.opened, "holdfast.default.message.*": b.message, "holdfast.default.close.*": b.closed,
	} {
		sub, err := b.nc.Subscribe(subject, handle)
		if err == nil {
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			b.close()
			return nil, fmt.Errorf("backend: %w", err)
		}
	}
	return b, b.nc.Flush()
}

func (b *backend) opened(m *nats.Msg) {
	if seqOf(m) != 1 {
		b.gaps.Add(1)
	}
	b.opens.Add(1)
}

func (b *backend) message(m *nats.Msg) {
	stamp, ok := client.ReadStamp(m.Data)
	if !ok {
		b.wrong.Add(1)
		return
	}
	if seqOf(m) != stamp.Seq+2 { // the open event is 1, the first message 2
		b.gaps.Add(1)
	}
	b.messages.Add(1)
	if pool := b.counter.Load(); pool != nil {
		pool.Post(stamp)
		return
	}
	if err := m.Respond(m.Data); err != nil {
		b.failures.Add(1)
	}
}

func (b *backend) closed(m *nats.Msg) {
	b.closeSeqs.Add(seqOf(m))
	b.closes.Add(1)
}

func seqOf(m *nats.Msg) uint64 {
	seq, _ := strconv.ParseUint(m.Header.Get("Holdfast-Seq"), 10, 64)
	return seq
}

func (b *backend) close() { b.nc.Close() }

// faults adds what the backend has seen to the faults of a row.
func (b *backend) faults(f *faults) {
	f.Errors += b.failures.Load()
	f.Wrong += b.wrong.Load() + b.gaps.Load()
}

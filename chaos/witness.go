//go:build linux

package main

import (
	"time"

	"github.com/nats-io/nats.go"
)

// witness subscribes to all events through one server, for as long as the run. What passes while the server is away, or
// in a queue that is lost with it, it misses: that is NATS's promise to subscribers, and not the broker's to break.
func (l *ledger) witness(number int, url string) (*nats.Conn, error) {
	nc, err := nats.Connect(url, nats.IgnoreDiscoveredServers(), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond),
		nats.PingInterval(5*time.Second), nats.MaxPingsOutstanding(12))
	if err != nil {
		return nil, err
	}
	sub, err := nc.Subscribe(eventPrefix+">", func(m *nats.Msg) {
		l.enter(sight{from: number, subject: m.Subject, seq: m.Header.Get("Holdfast-Seq"), data: m.Data})
	})
	if err != nil {
		nc.Close()
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nc.Flush()
}

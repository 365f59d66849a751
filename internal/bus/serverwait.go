package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// waitPoll is how often the server is asked what it waits for; it tells nobody by itself.
	waitPoll = 50 * time.Millisecond
	// waitNotice is how often the log says that it still waits for the same.
	waitNotice = 5 * time.Second
	// streamsTimeout bounds the wait for what is worth waiting for, but not for ever: one stream that
	// somebody's servers cannot repair must not keep a broker down.
	streamsTimeout = 30 * time.Second
)

// awaitCluster waits until JetStream works here: it has a leader, which takes a majority, and this server
// has caught up with it. Servers are started one after the other, by hand or on the next day, so only ctx
// ends the wait. Then it waits a while for the streams that this server has a copy of, so that the next
// server of a rolling restart is not stopped while this one lags behind.
func (s *Server) awaitCluster(ctx context.Context) error {
	if err := s.await(ctx, s.missing); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, streamsTimeout)
	defer cancel()
	if err := s.await(ctx, s.lagging); err != nil {
		s.logger.Warn("embedded nats: not every stream is up to date here; going on", "problem", s.lagging())
	}
	return nil
}

// await asks what is missing until that is nothing, and logs it when it changes and every few seconds.
func (s *Server) await(ctx context.Context, missing func() string) error {
	var said string
	var at time.Time
	for {
		what := missing()
		if what == "" {
			return nil
		}
		if since := time.Since(at); since > waitNotice || what != said && since > time.Second {
			s.logger.Info("embedded nats: waiting for " + what)
			said, at = what, time.Now()
		}
		if !sleep(ctx, waitPoll) {
			return ctx.Err()
		}
	}
}

// missing says what JetStream needs before it has a leader that this server follows; empty: nothing.
func (s *Server) missing() string {
	info, err := s.nats.Jsz(nil)
	if err != nil || info.Meta == nil {
		return "JetStream to start"
	}
	seen, size := len(s.peers())+1, info.Meta.Size
	switch {
	case info.Meta.Leader == "" && seen <= size/2:
		return fmt.Sprintf("a majority of the cluster: %d of %d servers seen", seen, size)
	case info.Meta.Leader == "":
		return fmt.Sprintf("the cluster to elect a JetStream leader: %d of %d servers seen", seen, size)
	case len(info.Meta.Replicas) >= size: // all are others
		return "the cluster to count this server; one that was removed is let in again after five minutes"
	case !s.nats.JetStreamIsCurrent():
		return "the JetStream leader's state"
	}
	return ""
}

// peers are the names of the other servers that have a route to this one. A server that refuses us, or that we
// refuse, has one for a moment, and says nothing on it of what it subscribes to.
func (s *Server) peers() map[string]bool {
	names := make(map[string]bool)
	z, err := s.nats.Routez(nil)
	if err != nil {
		return names
	}
	for _, r := range z.Routes { // several to each server
		if r.NumSubs > 0 {
			names[r.RemoteName] = true
		}
	}
	return names
}

// lagging says which stream or consumer is behind, if any.
func (s *Server) lagging() string {
	h := s.nats.Healthz(&server.HealthzOptions{})
	if h.Status == "ok" {
		return ""
	}
	return "streams to catch up: " + h.Error
}

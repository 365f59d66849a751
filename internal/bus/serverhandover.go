package bus

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// handOverTimeout bounds the handing over: where nobody takes over, the others elect somebody in 4 to 9 s.
	handOverTimeout = 3 * time.Second
	// handOverRetry is how long one who was asked to take over may take before another is asked.
	handOverRetry = time.Second
)

// handOver gives what this server leads in JetStream to others, and waits until they lead. By itself the
// server asks any one of them while it stops (2.15.2): one that was just started itself, and lacks what was
// written meanwhile, does not hear it, and then nobody leads before there is an election.
func (s *Server) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handOverTimeout)
	defer cancel()
	asked := make(map[string]time.Time)
	for {
		left := s.led()
		maps.DeleteFunc(left, func(name string, group ledGroup) bool { // not ours to hand over
			return !group.ours && asked[name].IsZero()
		})
		if len(left) == 0 {
			return
		}
		for name, group := range left {
			if group.ours && group.heirs && time.Since(asked[name]) > handOverRetry {
				group.stepDown()
				asked[name] = time.Now()
			}
		}
		if !sleep(ctx, waitPoll) {
			s.logger.Debug("embedded nats: nobody takes over in JetStream", "groups", slices.Sorted(maps.Keys(left)))
			return
		}
	}
}

// ledGroup is something that this server leads, or that nobody leads.
type ledGroup struct {
	ours bool
	// heirs tells that all others who are there have everything, so that any of them can be asked.
	heirs    bool
	stepDown func()
}

// led answers them by name.
func (s *Server) led() map[string]ledGroup {
	all := make(map[string]ledGroup)
	add := func(name, leader string, others []*server.PeerInfo, stepDown func()) {
		ours := leader == s.nats.Name()
		if len(others) > 0 && (ours || leader == "") { // of what has one copy nobody can take over
			all[name] = ledGroup{ours: ours, heirs: allCurrent(others), stepDown: stepDown}
		}
	}
	info, err := s.nats.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Consumer: true})
	if err != nil || info.Meta == nil {
		return nil
	}
	add("meta", info.Meta.Leader, info.Meta.Replicas, s.stepDownMeta)
	for _, account := range info.AccountDetails {
		for _, stream := range account.Streams {
			if c := stream.Cluster; c != nil {
				add(stream.Name, c.Leader, c.Replicas, func() { _ = s.nats.JetStreamStepdownStream(account.Name, stream.Name) })
			}
			for _, consumer := range stream.Consumer {
				if c := consumer.Cluster; c != nil {
					add(stream.Name+" > "+consumer.Name, c.Leader, c.Replicas, func() {
						_ = s.nats.JetStreamStepdownConsumer(account.Name, stream.Name, consumer.Name)
					})
				}
			}
		}
	}
	return all
}

// allCurrent: those who are away are not asked anyway.
func allCurrent(others []*server.PeerInfo) bool {
	return !slices.ContainsFunc(others, func(p *server.PeerInfo) bool { return !p.Offline && !p.Current })
}

// stepDownMeta asks for it as an operator would: the server exports no other way.
func (s *Server) stepDownMeta() {
	nc, err := nats.Connect("", nats.InProcessServer(s.nats), nats.UserInfo(systemUser, s.systemPassword), nats.NoReconnect())
	if err != nil {
		s.logger.Debug("embedded nats: step down", "error", err)
		return
	}
	defer nc.Close()
	_, _ = nc.Request(server.JSApiLeaderStepDown, nil, handOverRetry) // whether it has worked is asked for anyway
}

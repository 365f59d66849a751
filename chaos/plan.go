//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// step is one fault of a schedule.
type step struct {
	fault  *fault
	target int           // broker or NATS server
	hold   time.Duration // how long it lasts
	sharp  bool          // the harder of two ways
}

func (s step) String() string {
	return fmt.Sprintf("%-8s target %d, for %v, sharp %t", s.fault.name, s.target, s.hold.Round(time.Millisecond), s.sharp)
}

// fault is something that can go wrong.
type fault struct {
	name string
	what string
	hold func(s settings, r *rand.Rand) time.Duration
	play func(p *play, st step) error
	// disturbs NATS: what it has confirmed may not reach every subscriber, and may do so in another order.
	disturbs bool
}

// beyond is longer than a lease, and within shorter.
func beyond(s settings, r *rand.Rand) time.Duration {
	return s.lease + seconds(r, 1, 1+0.4*s.lease.Seconds())
}
func exiled(s settings, _ *rand.Rand) time.Duration { return s.dropAfter }
func within(s settings, _ *rand.Rand) time.Duration { return s.lease * 4 / 10 }
func away(s settings, _ *rand.Rand) time.Duration   { return s.outage }
func short(s settings, r *rand.Rand) time.Duration  { return seconds(r, 1, 1+s.lease.Seconds()/2) }

func seconds(r *rand.Rand, from, to float64) time.Duration {
	return time.Duration((from + r.Float64()*(to-from)) * float64(time.Second))
}

func faults() []*fault {
	return []*fault{
		{name: "kill", what: "SIGKILL a broker, and start it again later", hold: short, play: (*play).kill},
		{name: "both", what: "SIGKILL a broker and the leader of HOLDFAST_LIFE", hold: short, play: (*play).both, disturbs: true},
		{name: "chain", what: "SIGKILL a broker, and another when the first one's lease is over", hold: short, play: (*play).chain},
		{name: "all", what: "SIGKILL all brokers", hold: short, play: (*play).all},
		{name: "stop", what: "SIGSTOP a broker beyond its lease, then SIGCONT", hold: beyond, play: (*play).stop},
		{name: "doze", what: "SIGSTOP a broker within its lease, then SIGCONT", hold: within, play: (*play).doze},
		{name: "cut", what: "no packet passes between a broker and NATS, beyond its lease", hold: beyond, play: (*play).cut, disturbs: true},
		{name: "exile", what: "no packet passes between a broker and NATS until it drops its clients", hold: exiled, play: (*play).exile, disturbs: true},
		{name: "flicker", what: "no packet passes between a broker and NATS, within its lease", hold: within, play: (*play).flicker, disturbs: true},
		{name: "leader", what: "SIGKILL the NATS server that leads HOLDFAST_LIFE, and start it again", hold: short, play: (*play).leader, disturbs: true},
		{name: "outage", what: "SIGSTOP all NATS servers, then SIGCONT", hold: away, play: (*play).outage, disturbs: true},
		{name: "blackout", what: "SIGTERM all NATS servers, then start them again", hold: away, play: (*play).blackout, disturbs: true},
		{name: "disk", what: "fill the disk of a NATS server, then make room and restart it", hold: short, play: (*play).disk, disturbs: true},
		{name: "rolling", what: "restart the brokers one by one, with SIGTERM and with DrainNode", hold: func(settings, *rand.Rand) time.Duration { return 0 }, play: (*play).rolling},
	}
}

func faultNames() (names []string) {
	for _, f := range faults() {
		names = append(names, f.name)
	}
	return names
}

// plan makes the schedule: all faults in an order that the seed decides, and again, until the time is full. It depends
// on nothing but the settings.
func plan(s settings) (steps []step) {
	r := rand.New(rand.NewPCG(s.seed, 7))
	choice := slices.DeleteFunc(faults(), func(f *fault) bool { return len(s.only) > 0 && !slices.Contains(s.only, f.name) })
	for total := time.Duration(0); ; {
		r.Shuffle(len(choice), func(i, j int) { choice[i], choice[j] = choice[j], choice[i] })
		for _, f := range choice {
			st := step{fault: f, target: r.IntN(brokers), hold: f.hold(s, r), sharp: r.IntN(2) == 0}
			if total += s.costs(st); total > s.time {
				return steps
			}
			steps = append(steps, st)
		}
	}
}

// costs is about how long a fault takes with everything that follows: an election takes 4 to 9 s.
func (s settings) costs(st step) time.Duration {
	d := st.hold + s.pause + time.Second
	switch st.fault.name {
	case "kill":
		d = max(st.hold, s.lease) + s.pause + time.Second
	case "exile":
		d += s.lease
	case "both", "chain", "all":
		d += 2 * s.lease
	case "leader", "outage", "blackout", "disk":
		d += 6 * time.Second
	case "rolling":
		d += brokers * (2*time.Second + time.Duration(s.clients/brokers)*time.Millisecond)
	}
	return d
}

//go:build linux

// Command chaos runs three brokers, three NATS servers and many WebSocket clients as one machine's processes, breaks
// them in an order that a seed decides, and keeps a ledger of its own of everything that was published. At the end the
// ledger says whether the promises of DESIGN held: one close for each open, no gap, every confirmed send arrived.
//
//	go run ./chaos                             # 20 minutes, 3,000 clients, a new seed
//	go run ./chaos -seed 7 -time 5m            # the schedule of seed 7
//	go run ./chaos -only rolling -clients 2000 -time 2m
//
// The exit code is 1 when a promise was broken. docs/chaos.md says how to read the report.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings of a run.
type settings struct {
	seed      uint64
	time      time.Duration
	clients   int
	only      []string
	lease     time.Duration
	dropAfter time.Duration
	outage    time.Duration // how long all NATS servers are away
	pause     time.Duration // between two faults
	every     time.Duration // how often a client sends
	sends     int           // by the backend, per second
	strict    bool          // closes after a SIGKILL must be in time
	dir       string
	broker    string
	nats      string
}

func main() { os.Exit(start(os.Args[1:])) }

func start(args []string) int {
	s, err := parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	verdict, err := run(ctx, s, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 1
	}
	verdict.print(os.Stdout)
	if len(verdict.Broken) > 0 {
		return 1
	}
	return 0
}

func parse(args []string) (settings, error) {
	var s settings
	set := flag.NewFlagSet("chaos", flag.ContinueOnError)
	set.Uint64Var(&s.seed, "seed", rand.Uint64N(1_000_000), "decides the schedule; by default any")
	set.DurationVar(&s.time, "time", 20*time.Minute, "how long faults are played")
	set.IntVar(&s.clients, "clients", 3000, "WebSocket clients")
	set.DurationVar(&s.lease, "lease", 10*time.Second, "the brokers' lease")
	set.DurationVar(&s.dropAfter, "drop-after", time.Minute, "the brokers' lease.drop_after")
	set.DurationVar(&s.outage, "outage", 30*time.Second, "how long all NATS servers are away at once; below -drop-after")
	set.DurationVar(&s.pause, "pause", 5*time.Second, "between the end of a fault and the next one")
	set.DurationVar(&s.every, "every", 5*time.Second, "how often each client sends")
	set.IntVar(&s.sends, "sends", 200, "messages of the backend per second")
	set.BoolVar(&s.strict, "strict", true, "fail when the closes of a killed broker come later than a lease and 2 s")
	set.StringVar(&s.dir, "dir", "", "keep logs and data here; by default they go when all is well")
	set.StringVar(&s.broker, "broker", os.Getenv("HOLDFAST_BROKER"), "the broker's binary; empty: build it")
	set.StringVar(&s.nats, "nats-server", os.Getenv("HOLDFAST_NATS_SERVER"), "the nats-server's binary; empty: build it")
	only := set.String("only", "", "play these faults alone: "+strings.Join(faultNames(), ", "))
	if err := set.Parse(args); err != nil {
		return s, err
	}
	if *only != "" {
		s.only = strings.Split(*only, ",")
	}
	for _, name := range s.only {
		if !slices.Contains(faultNames(), name) {
			return s, fmt.Errorf("no fault %q: there are %s", name, strings.Join(faultNames(), ", "))
		}
	}
	if s.outage >= s.dropAfter {
		return s, fmt.Errorf("an outage of %v makes brokers drop their clients after %v, as they should: choose a shorter one", s.outage, s.dropAfter)
	}
	return s, nil
}

// run plays one schedule and answers what the ledger says.
func run(ctx context.Context, s settings, out io.Writer) (*verdict, error) {
	steps := plan(s)
	fmt.Fprintf(out, "seed %d: %d faults\n", s.seed, len(steps))
	for i, st := range steps {
		fmt.Fprintf(out, "  %2d %s\n", i+1, st)
	}
	p, err := newPlay(ctx, s, steps, out)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return p.perform(ctx)
}

//go:build linux

// Command bench measures the broker: it starts the real one, a nats-server and a bare echo peer as
// processes of their own, loads them over the loopback, and prints what a connection and a message cost.
//
//	go run ./bench                              # everything, medians of 5 runs
//	go run ./bench -runs 1 -scenarios inbound   # a quick look
//	go run ./bench -runs 1 -scenarios mixed     # pass or fail: the exit code says whether anything was lost
//	go run ./bench -runs 1 -scenarios inbound -profile DIR   # CPU profiles for "go tool pprof"
//
// The exit code is 1 when a message or event was lost, wrong or stray, whatever the scenario. It needs
// Linux (epoll, /proc), and as many open files as connections.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// lab is what all rows share: the settings, and the programs that are measured.
type lab struct {
	runs                 int
	idleConns, busyConns int
	duration, held       time.Duration
	timeLimit            time.Duration
	scenarios            []string
	json                 string
	profile              string

	dir                  string // for files of this run
	broker, nats, limits string // paths
	profiles             int
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	l, err := parse(args)
	if err != nil {
		return 2 // flag has said why
	}
	// The client waits in epoll, which Go takes for a busy thread: that must not keep the others waiting.
	runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := l.main(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func parse(args []string) (*lab, error) {
	l := &lab{}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.IntVar(&l.runs, "runs", 5, "measure everything this often and state medians")
	set.IntVar(&l.idleConns, "idle", 10_000, "idle connections, in the scenarios idle and mixed")
	set.IntVar(&l.busyConns, "busy", 1000, "busy connections, in the scenario mixed")
	set.DurationVar(&l.duration, "for", 3*time.Second, "length of a measurement under load")
	set.DurationVar(&l.held, "held", 6*time.Second, "how long idle connections are held")
	set.DurationVar(&l.timeLimit, "limit", time.Hour, "give up after this long")
	set.StringVar(&l.json, "json", "", "also write every figure of every run to this file")
	set.StringVar(&l.profile, "profile", "", "build the broker with a profiler and write CPU profiles to this directory; figures then include its cost")
	set.StringVar(&l.broker, "broker", os.Getenv("HOLDFAST_BROKER"), "the broker's binary; empty: build it")
	set.StringVar(&l.nats, "nats-server", os.Getenv("HOLDFAST_NATS_SERVER"), "the nats-server's binary; empty: build it")
	var names []string
	for _, r := range rows() {
		names = append(names, r.scenario)
	}
	names = slices.Compact(names)
	scenarios := set.String("scenarios", strings.Join(names, ","), "which to measure")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	l.scenarios = strings.Split(*scenarios, ",")
	for _, name := range l.scenarios {
		if !slices.Contains(names, name) {
			err := fmt.Errorf("no scenario %q: there are %s", name, strings.Join(names, ", "))
			fmt.Fprintln(os.Stderr, "bench:", err)
			return nil, err
		}
	}
	return l, nil
}

func (l *lab) main(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeLimit)
	defer cancel()
	if l.dir, err = os.MkdirTemp("", "holdfast-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(l.dir)
	if err := l.build(ctx); err != nil {
		return err
	}
	report := newReport(l)
	err = l.measure(ctx, report)
	report.print(os.Stdout)
	if l.json != "" {
		err = errors.Join(err, report.writeJSON(l.json))
	}
	return errors.Join(err, report.verdict())
}

// measure takes all rows in turn and then again, so that a machine that drifts treats them alike.
func (l *lab) measure(ctx context.Context, to *report) error {
	for run := range l.runs {
		for _, r := range rows() {
			if !slices.Contains(l.scenarios, r.scenario) {
				continue
			}
			fmt.Fprintf(os.Stderr, "run %d of %d: %s: %s\n", run+1, l.runs, r.scenario, r.name)
			f, bad, err := r.run(ctx, l)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", r.scenario, r.name, err)
			}
			to.add(r, f, bad)
		}
	}
	return nil
}

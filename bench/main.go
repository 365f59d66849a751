//go:build linux

// Command bench measures the broker: it starts the real one, a nats-server, bare prototypes (bench/limits) and other
// WebSocket servers (bench/peers) as processes of their own, loads them over the loopback, and prints what a connection
// and a message cost, beside what is asked for.
//
//	go run ./bench                              # the table of targets and all that it is made from
//	go run ./bench -runs 1 -scenarios inbound   # a quick look
//	go run ./bench -runs 1 -scenarios mixed     # pass or fail: the exit code says whether anything was lost
//	go run ./bench -runs 1 -scenarios inbound -profile DIR   # CPU profiles for "go tool pprof"
//	go run ./bench -url ws://127.0.0.1:9001/ -pid 4711       # any server that echoes
//	go run ./bench -report                      # measures nothing: docs/performance.md from bench/data
//
// The exit code is 1 when a message or event was lost, wrong or stray, whatever the scenario; a target that is missed
// changes nothing. It needs Linux (epoll, /proc), and as many open files as connections.
//
// The rooms: client is the load, process starts and samples processes, limits and peers are what the broker is measured
// beside, report judges, draws and writes, data is what was measured last. This package has the scenarios.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-broker/holdfast/bench/report"
)

// lab is what all rows share: the settings, and the programs that are measured.
type lab struct {
	runs                 int
	idleConns, mostConns int
	tlsConns, busyConns  int
	duration, held       time.Duration
	timeLimit            time.Duration
	scenarios            []string
	whole                bool // everything that the document shows
	json                 string
	write, report        bool
	profile              string
	url                  *url.URL // of a server elsewhere
	pid                  int

	dir                         string // for files of this run
	broker, nats, limits, peers string // paths; of peers empty: there are none
	cert, key                   string
	roots                       *x509.CertPool
	profiles                    int
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	l, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 2
	}
	if l.report {
		err = rewrite()
	} else {
		// The client waits in epoll, which Go takes for a busy thread: that must not keep the others waiting.
		runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0)))
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = l.main(ctx)
	}
	if err != nil {
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
	set.IntVar(&l.mostConns, "most", 18_000, "the most connections, in the scenarios idle and growth")
	set.IntVar(&l.tlsConns, "tls", 2000, "connections over TLS, in the scenario tls")
	set.IntVar(&l.busyConns, "busy", 1000, "busy connections, in the scenario mixed")
	set.DurationVar(&l.duration, "for", time.Second, "length of a measurement under load")
	set.DurationVar(&l.held, "held", 5*time.Second, "how long idle connections of the broker are held; those of its limits and others a third of it")
	set.DurationVar(&l.timeLimit, "limit", time.Hour, "give up after this long")
	set.StringVar(&l.json, "json", "", "also write every figure of every run to this file")
	set.BoolVar(&l.write, "write", false, "keep the figures in "+dataFile+" and renew docs/performance.md, if everything was measured")
	set.BoolVar(&l.report, "report", false, "measure nothing: renew docs/performance.md and its plots from "+dataFile)
	set.StringVar(&l.profile, "profile", "", "build the broker with a profiler and write CPU profiles to this directory; figures then include its cost")
	set.StringVar(&l.broker, "broker", os.Getenv("HOLDFAST_BROKER"), "the broker's binary; empty: build it")
	set.StringVar(&l.nats, "nats-server", os.Getenv("HOLDFAST_NATS_SERVER"), "the nats-server's binary; empty: build it")
	set.IntVar(&l.pid, "pid", 0, "process of the server at -url, to read its CPU and memory from /proc; 0: neither is known")
	scenarios := set.String("scenarios", "", "which to measure, with commas; empty: all that the targets need")
	server := set.String("url", "", "measure a server that echoes, at ws://HOST:PORT/PATH, instead of the broker")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("argument %q: want only flags", set.Arg(0))
	}
	if *server != "" {
		u, err := url.Parse(*server)
		if err != nil || u.Scheme != "ws" || u.Port() == "" || u.RawQuery != "" {
			return nil, fmt.Errorf("-url %q: want ws://HOST:PORT/PATH", *server)
		}
		l.url = u
	}
	return l, l.choose(*scenarios)
}

// choose takes the scenarios that were named, or those that the targets need.
func (l *lab) choose(list string) error {
	var names []string
	for _, r := range l.rows() {
		names = append(names, r.scenario)
		if list == "" && !r.extra {
			l.scenarios = append(l.scenarios, r.scenario)
		}
	}
	if l.whole = list == "" && l.url == nil; list == "" {
		return nil
	}
	l.scenarios = strings.Split(list, ",")
	for _, name := range l.scenarios {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no scenario %q: there are %s", name, strings.Join(slices.Compact(names), ", "))
		}
	}
	return nil
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
	to := &report.Data{Date: time.Now().UTC().Format(time.DateOnly), Versions: l.versions(ctx)}
	err = l.measure(ctx, to)
	to.Print(os.Stdout)
	if l.json != "" {
		err = errors.Join(err, to.Write(l.json))
	}
	if err = errors.Join(err, to.Faulty()); err != nil || !l.write {
		return err
	}
	if !l.whole || len(l.peerNames()) == 0 {
		fmt.Fprintf(os.Stderr, "bench: %s was not written: not everything was measured\n", dataFile)
		return nil
	}
	return errors.Join(to.Write(dataFile), rewrite())
}

// measure takes all rows in turn and then again, so that a machine that drifts treats them alike.
func (l *lab) measure(ctx context.Context, to *report.Data) error {
	for run := range l.runs {
		for _, r := range l.rows() {
			if !slices.Contains(l.scenarios, r.scenario) || run%max(r.rarely, 1) > 0 {
				continue
			}
			fmt.Fprintf(os.Stderr, "run %d of %d: %s: %s\n", run+1, l.runs, r.scenario, r.name)
			f, bad, err := r.run(ctx, l)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", r.scenario, r.name, err)
			}
			line := to.Row(r.scenario, r.name)
			line.Faults.Add(bad)
			for _, one := range f {
				line.Add(one.name, one.value)
			}
		}
	}
	return nil
}

const (
	dataFile = "bench/data/performance.json"
	document = "docs/performance.md"
	plotsDir = "docs/plots"
	peersDir = "bench/peers"
)

// rewrite renews the document and its plots.
func rewrite() error {
	d, err := report.Read(dataFile)
	if err != nil {
		return err
	}
	return d.Rewrite(document, plotsDir)
}

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-broker/holdfast/bench/client"
	"github.com/holdfast-broker/holdfast/bench/process"
	"github.com/holdfast-broker/holdfast/bench/report"
	"github.com/holdfast-broker/holdfast/internal/reserve"
)

const (
	lifeTurns = 4
	// lifeHeld is how long the connections of the first turn are held before the memory is looked at.
	lifeHeld = 2 * time.Second
	// lifeStream holds the records; it has its copies when there are as many servers.
	lifeStream = "HOLDFAST_LIFE"
)

// lifeCost compares a broker that records what opens and closes with one that cannot, because its NATS servers
// have no JetStream. They take turns, so that both have the same machine.
type lifeCost struct {
	servers int // of NATS; 0: embedded in the broker
	conns   int // to open in each turn, and to close again
}

func lifeRows() []row {
	return []row{
		{scenario: "life", name: "NATS embedded", run: lifeCost{0, 4000}.measure},
		{scenario: "life", name: "one NATS server", run: lifeCost{1, 4000}.measure},
		{scenario: "life", name: "three NATS servers", run: lifeCost{3, 4000}.measure},
	}
}

func (w lifeCost) measure(ctx context.Context, l *lab) (f figures, bad faults, err error) {
	with, without := &recording{}, &recording{}
	defer func() { err = errors.Join(err, with.strike(), without.strike()) }()
	if err := errors.Join(w.start(ctx, l, with, true), w.start(ctx, l, without, false)); err != nil {
		return nil, bad, err
	}
	before, err := sampleOf(with, without)
	if err != nil {
		return nil, bad, err
	}
	for range lifeTurns {
		if err := errors.Join(with.turn(ctx, w.conns), without.turn(ctx, w.conns)); err != nil {
			return nil, bad, err
		}
	}
	after, err := sampleOf(with, without)
	f.add("opens/s, recorded", with.rate())
	f.add("not", without.rate())
	f.add("ratio", with.rate()/without.rate())
	f.add("server CPU µs/open, recorded", with.perOpen(with.server))
	f.add("not recorded", without.perOpen(without.server))
	f.add("NATS CPU µs/open, recorded", with.perOpen(with.natsUsed))
	f.add("without", without.perOpen(without.natsUsed))
	f.add("RSS B/conn, recorded", with.memory)
	f.add("RSS B/conn, not", without.memory)
	f.add(report.Others, others(before, after))
	with.faults(&bad)
	without.faults(&bad)
	return f, bad, err
}

// recording is a broker, its NATS servers, and what opening connections on it has cost.
type recording struct {
	broker  *process.Process
	nats    []*process.Process
	address string // for clients
	backend *backend

	opened           uint64
	took             time.Duration
	server, natsUsed time.Duration // processor time
	memory           float64       // of a connection of the first turn
}

func (w lifeCost) start(ctx context.Context, l *lab, r *recording, recorded bool) error {
	urls, err := w.startNATS(ctx, l, r, recorded)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(l.dir, "life")
	if err != nil {
		return err
	}
	path, natsAt := l.broker, "--nats-listen=127.0.0.1:0"
	if w.servers > 0 {
		natsAt = "--nats-url=" + strings.Join(urls, ",")
	} else if !recorded {
		if path, err = l.withoutJetStream(ctx); err != nil {
			return err
		}
	}
	r.broker, err = process.StartReady(ctx, path, "--listen=127.0.0.1:0", "--control-listen=127.0.0.1:0",
		"--ops-listen=127.0.0.1:0", "--data-dir="+filepath.Join(dir, "data"), natsAt, "--drain-timeout=0s")
	if err != nil {
		return err
	}
	var ready struct {
		Listen []string `json:"listen"`
		NATS   string   `json:"nats"`
	}
	if err := json.Unmarshal(r.broker.Line, &ready); err != nil {
		return fmt.Errorf("ready line %q: %w", r.broker.Line, err)
	}
	r.address = strings.TrimPrefix(ready.Listen[0], "ws://")
	if w.servers > 0 {
		ready.NATS = urls[0]
	}
	if r.backend, err = newBackend(ready.NATS); err != nil {
		return err
	}
	return r.awaitStream(ctx, recorded, w.servers)
}

// startNATS starts the servers, one cluster, each with JetStream or each without.
func (w lifeCost) startNATS(ctx context.Context, l *lab, r *recording, jetStream bool) (urls []string, err error) {
	routes, err := reserve.Addresses(w.servers)
	if err != nil {
		return nil, err
	}
	for i, route := range routes {
		dir, err := os.MkdirTemp(l.dir, "nats")
		if err != nil {
			return nil, err
		}
		var args []string
		if jetStream {
			args = append(args, "--jetstream", "--store_dir="+dir)
		}
		if len(routes) > 1 {
			args = append(args, fmt.Sprintf("--server_name=s%d", i), "--cluster_name=bench", "--cluster=nats://"+route,
				"--routes=nats://"+strings.Join(routes, ",nats://"), "--no_advertise")
		}
		p, url, err := startNATS(ctx, l.nats, dir, args...)
		if p != nil {
			r.nats = append(r.nats, p)
		}
		if err != nil {
			return nil, err
		}
		urls = append(urls, url)
	}
	return urls, nil
}

// awaitStream sees to it that there is a record with all its copies, or that there is none.
func (r *recording) awaitStream(ctx context.Context, recorded bool, servers int) error {
	js, err := jetstream.New(r.backend.nc)
	if err != nil {
		return err
	}
	for end := time.Now().Add(3 * patience); ; time.Sleep(100 * time.Millisecond) {
		stream, err := js.Stream(ctx, lifeStream)
		switch {
		case !recorded && err == nil:
			return errors.New("the broker records although it should not")
		case !recorded || err == nil && stream.CachedInfo().Config.Replicas >= servers:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("stream %s: not there with %d copies: %w", lifeStream, servers, err)
		}
	}
}

// withoutJetStream builds a broker whose embedded server has none: the product has no such switch.
func (l *lab) withoutJetStream(ctx context.Context) (path string, err error) {
	path = filepath.Join(l.dir, "broker-without-jetstream")
	if _, err := os.Stat(path); err == nil { //nolint:gosec // in a directory of our own
		return path, nil
	}
	dir, err := goTool(ctx, "list", "-f", "{{.Dir}}", module+"internal/bus")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "server.go")
	source, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	const on, off = "JetStream: true,", "JetStream: false,"
	if strings.Count(string(source), on) != 1 {
		return "", fmt.Errorf("%s: %q is not there once", name, on)
	}
	changed, overlay := filepath.Join(l.dir, "server.go"), filepath.Join(l.dir, "without.json")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{name: changed}})
	err = errors.Join(err,
		os.WriteFile(changed, []byte(strings.Replace(string(source), on, off, 1)), 0o600), //nolint:gosec // the same
		os.WriteFile(overlay, text, 0o600))                                                //nolint:gosec // the same
	if err != nil {
		return "", err
	}
	_, err = goTool(ctx, "build", "-o", path, "-overlay="+overlay, module+"cmd/broker")
	return path, err
}

// turn opens connections until the backend has heard of all, and closes them.
func (r *recording) turn(ctx context.Context, conns int) error {
	pool, err := client.New(r.address)
	if err != nil {
		return err
	}
	defer pool.Abort()
	before, err := sampleOf(r)
	if err != nil {
		return err
	}
	first := r.opened == 0
	r.opened += uint64(conns)
	if err := pool.Connect(ctx, conns); err != nil {
		return err
	}
	if err := pool.Until(ctx, patience, func() bool { return r.backend.opens.Load() >= r.opened }); err != nil {
		return err
	}
	after, err := sampleOf(r)
	if err != nil {
		return err
	}
	r.took += after.at.Sub(before.at)
	r.server += after.server.CPU - before.server.CPU
	r.natsUsed += after.nats.CPU - before.nats.CPU
	if first {
		if err := r.hold(ctx, pool, before); err != nil {
			return err
		}
	}
	if err := pool.Close(ctx, patience); err != nil {
		return err
	}
	for end := time.Now().Add(patience); r.backend.closes.Load() < r.opened && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (r *recording) hold(ctx context.Context, pool *client.Pool, fresh sample) error {
	if err := pool.Run(ctx, lifeHeld); err != nil {
		return err
	}
	held, err := sampleOf(r)
	r.memory = float64(held.server.RSS-fresh.server.RSS) / float64(len(pool.Conns))
	return err
}

func (r *recording) rate() float64 { return float64(r.opened) / r.took.Seconds() }

func (r *recording) perOpen(used time.Duration) float64 { return micros(used) / float64(r.opened) }

func (r *recording) faults(f *faults) {
	r.backend.faults(f)
	f.Lost += missing(r.opened, r.backend.opens.Load()) + missing(r.opened, r.backend.closes.Load())
}

// strike stops everything, the broker before NATS.
func (r *recording) strike() error {
	var errs []error
	if r.backend != nil {
		r.backend.close()
	}
	if r.broker != nil {
		errs = append(errs, r.broker.Stop())
	}
	for _, p := range r.nats {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}

// sampleOf adds up what brokers, and all their NATS servers, have used.
func sampleOf(all ...*recording) (sample, error) {
	now := sample{at: time.Now()}
	var errs []error
	add := func(to *process.Usage, p *process.Process) {
		u, err := p.Usage()
		to.CPU, to.RSS = to.CPU+u.CPU, to.RSS+u.RSS
		errs = append(errs, err)
	}
	for _, r := range all {
		add(&now.server, r.broker)
		for _, p := range r.nats {
			add(&now.nats, p)
		}
	}
	var err error
	now.load, err = process.UsageOf(os.Getpid())
	errs = append(errs, err)
	now.machine, err = process.MachineUsage()
	return now, errors.Join(append(errs, err)...)
}

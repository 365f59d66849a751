//go:build unix

// Cluster starts three nats-servers with JetStream that are one cluster, and three brokers on them, on this
// machine. Kill, stop and start what you like; Ctrl-C ends everything and removes what it wrote.
//
//	go run ./examples/cluster
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	size     = 3
	patience = time.Minute // for a start, in which JetStream elects a leader, and for a stop
)

// ports are the addresses by what listens there, and the first port of each.
var ports = map[string]int{"clients": 8081, "control": 7401, "operations": 7501, "nats": 4221, "routes": 6221}

func main() {
	free := flag.Bool("free", false, "take ports that are free instead of 8081, 7401, 7501, 4221 and 6221 onwards")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *free); err != nil {
		slog.Error("cannot go on", "error", err)
		os.Exit(1) //nolint:gocritic // stop only gives signals back
	}
}

// run starts everything, waits for the end of ctx, and stops everything: the brokers first, which then
// still have their NATS.
func run(ctx context.Context, free bool) error {
	dir, err := os.MkdirTemp("", "holdfast-cluster-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	at, err := addresses(free)
	if err != nil {
		return err
	}
	servers, brokers := &group{dir: dir}, &group{dir: dir}
	defer servers.stop()
	defer brokers.stop() // the first to run
	if err := startServers(ctx, servers, at); err != nil {
		return err
	}
	if err := startBrokers(ctx, brokers, at); err != nil {
		return err
	}
	tell(brokers, servers, urls(at["nats"], "nats://"))
	<-ctx.Done()
	_, err = io.WriteString(os.Stdout, "stopping\n")
	return err
}

func urls(addresses []string, scheme string) string {
	return scheme + strings.Join(addresses, ","+scheme)
}

// startServers starts a cluster of NATS servers, and waits until they accept clients.
func startServers(ctx context.Context, g *group, at map[string][]string) error {
	binary, err := build(ctx, "HOLDFAST_NATS_SERVER", g.dir, "github.com/nats-io/nats-server/v2")
	if err != nil {
		return err
	}
	for i := range size {
		name := fmt.Sprintf("nats-server-%d", i+1)
		_, port, _ := net.SplitHostPort(at["nats"][i])
		err := g.start(name, binary, "--server_name", name, "--addr", "127.0.0.1", "--port", port,
			"--jetstream", "--store_dir", filepath.Join(g.dir, name), "--cluster_name", "holdfast",
			"--cluster", "nats://"+at["routes"][i], "--routes", urls(at["routes"], "nats://"))
		if err != nil {
			return err
		}
	}
	return reachable(ctx, at["nats"])
}

// startBrokers starts brokers on them, and waits until they are ready.
func startBrokers(ctx context.Context, g *group, at map[string][]string) error {
	binary, err := build(ctx, "HOLDFAST_BROKER", g.dir, "github.com/holdfast-broker/holdfast/cmd/broker")
	if err != nil {
		return err
	}
	for i := range size {
		err := g.start(fmt.Sprintf("broker-%d", i+1), binary, "--nats-url="+urls(at["nats"], "nats://"),
			"--listen="+at["clients"][i], "--control-listen="+at["control"][i], "--ops-listen="+at["operations"][i])
		if err != nil {
			return err
		}
	}
	for _, p := range g.all {
		if err := p.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tell prints what somebody needs who wants to try things.
func tell(brokers, servers *group, urls string) {
	var b strings.Builder
	for _, p := range brokers.all {
		fmt.Fprintf(&b, "%-14s process %-7d %s\n", p.name, p.cmd.Process.Pid, p.line)
	}
	for _, p := range servers.all {
		fmt.Fprintf(&b, "%-14s process %d\n", p.name, p.cmd.Process.Pid)
	}
	fmt.Fprintf(&b, "NATS: %s\nlogs: %s/*.log\nready; Ctrl-C ends everything\n", urls, brokers.dir)
	_, _ = io.WriteString(os.Stdout, b.String())
}

// build answers the program that the variable names, or builds it.
func build(ctx context.Context, variable, dir, pkg string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		return path, nil
	}
	path := filepath.Join(dir, variable)
	command := exec.CommandContext(ctx, "go", "build", "-o", path, pkg) //nolint:gosec // one of two packages
	command.Stderr = os.Stderr
	return path, command.Run()
}

// addresses that nobody uses, by what shall listen there.
func addresses(free bool) (map[string][]string, error) {
	all := make(map[string][]string)
	for what, port := range ports {
		for i := range size {
			address := fmt.Sprintf("127.0.0.1:%d", port+i)
			if free {
				address = "127.0.0.1:0"
			}
			l, err := net.Listen("tcp", address)
			if err != nil {
				return nil, err
			}
			defer l.Close() // when all are found: else one could be found twice
			all[what] = append(all[what], l.Addr().String())
		}
	}
	return all, nil
}

// reachable waits until somebody listens at every address: a broker gives up after 5 s without NATS.
func reachable(ctx context.Context, addresses []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, address := range addresses {
		for {
			c, err := net.Dial("tcp", address)
			if err == nil {
				_ = c.Close()
				break
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// group is processes that are stopped together.
type group struct {
	dir string
	all []*process
}

type process struct {
	name  string
	cmd   *exec.Cmd
	log   string
	line  string // the first one on its standard output
	first chan string
	ended chan struct{}
}

// start begins a process, whose log is a file. It is in a process group of its own: Ctrl-C is for us.
func (g *group) start(name, binary string, args ...string) error {
	p := &process{
		name: name, log: filepath.Join(g.dir, name+".log"), first: make(chan string, 1), ended: make(chan struct{}),
		cmd: exec.Command(binary, args...), //nolint:gosec // one of two programs
	}
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	p.cmd.Stderr, p.cmd.Stdout = log, &firstLine{to: p.first}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	g.all = append(g.all, p)
	go func() { // stop waits for it
		defer close(p.ended)
		_ = p.cmd.Wait()
		slog.Info("ended", "process", p.name, "how", p.cmd.ProcessState.String())
		_ = log.Close()
	}()
	return nil
}

// ready waits for the ready line of a broker.
func (p *process) ready(ctx context.Context) error {
	select {
	case p.line = <-p.first:
		return nil
	case <-p.ended:
	case <-ctx.Done():
	case <-time.After(patience):
	}
	text, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s is not ready:\n%s", p.name, text)
}

// stop ends what still runs, in order, also what was stopped.
func (g *group) stop() {
	for _, p := range g.all {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}
	for _, p := range g.all {
		select {
		case <-p.ended:
		case <-time.After(patience):
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	}
}

// firstLine passes the first line on and drops the rest.
type firstLine struct {
	to   chan string
	text strings.Builder
	done bool
}

func (f *firstLine) Write(b []byte) (int, error) {
	if !f.done {
		f.text.Write(b)
		if line, _, whole := strings.Cut(f.text.String(), "\n"); whole {
			f.done = true
			f.to <- line
		}
	}
	return len(b), nil
}

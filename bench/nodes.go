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
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/holdfast-broker/holdfast/bench/client"
	"github.com/holdfast-broker/holdfast/bench/process"
	"github.com/holdfast-broker/holdfast/internal/reserve"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// clusterNodes is how many brokers a cluster has.
const clusterNodes = 3

// cluster is brokers, each on a server of its own of a NATS cluster with JetStream, or all on one server.
type cluster struct {
	nats  []*process.Process
	nodes []node
}

// node is one broker of a cluster.
type node struct {
	id      string
	server  *process.Process
	address string // for clients
	cc      *grpc.ClientConn
}

// setCluster starts so many brokers on so many NATS servers.
func (l *lab) setCluster(ctx context.Context, brokers, servers int) (*cluster, error) {
	c := &cluster{}
	if err := l.startCluster(ctx, c, brokers, servers); err != nil {
		return nil, errors.Join(err, c.strike())
	}
	return c, nil
}

// setBare starts the bare prototype of a node.
func (l *lab) setBare(ctx context.Context) (*cluster, error) {
	s, err := l.set(ctx, bareControl)
	if err != nil {
		return nil, err
	}
	c := &cluster{nodes: []node{{server: s.server, address: s.address}}}
	c.nodes[0].cc, err = dial(s.control)
	return c, err
}

func dial(control string) (*grpc.ClientConn, error) {
	return grpc.NewClient(control, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func (l *lab) startCluster(ctx context.Context, c *cluster, brokers, servers int) error {
	routes, err := reserve.Addresses(servers)
	if err != nil {
		return err
	}
	var urls []string
	for i, route := range routes {
		dir, err := os.MkdirTemp(l.dir, "nats")
		if err != nil {
			return err
		}
		args := []string{"--jetstream", "--store_dir=" + dir}
		if servers > 1 {
			args = append(args, fmt.Sprintf("--server_name=s%d", i), "--cluster_name=bench", "--cluster=nats://"+route,
				"--routes=nats://"+strings.Join(routes, ",nats://"), "--no_advertise")
		}
		p, url, err := startNATS(ctx, l.nats, dir, args...)
		if p != nil {
			c.nats = append(c.nats, p)
		}
		if err != nil {
			return err
		}
		urls = append(urls, url)
	}
	for i := range brokers {
		if err := l.startNode(ctx, c, urls[i%servers]); err != nil {
			return err
		}
	}
	return c.awaitNodes(ctx)
}

func (l *lab) startNode(ctx context.Context, c *cluster, natsURL string) error {
	dir, err := os.MkdirTemp(l.dir, "node")
	if err != nil {
		return err
	}
	if l.profile != "" {
		l.nextProfile()
	}
	// No drain: what is measured is over, and the clients know.
	p, err := process.StartReady(ctx, l.broker, "--listen=127.0.0.1:0", "--control-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
		"--data-dir="+filepath.Join(dir, "data"), "--nats-url="+natsURL, "--drain-timeout=0s")
	if err != nil {
		return err
	}
	n := node{server: p}
	c.nodes = append(c.nodes, n)
	var ready struct {
		Node    string   `json:"node"`
		Listen  []string `json:"listen"`
		Control string   `json:"control"`
	}
	if err := json.Unmarshal(p.Line, &ready); err != nil {
		return fmt.Errorf("ready line %q: %w", p.Line, err)
	}
	n.id, n.address = ready.Node, strings.TrimPrefix(ready.Listen[0], "ws://")
	n.cc, err = dial(ready.Control)
	c.nodes[len(c.nodes)-1] = n
	return err
}

// awaitNodes waits until every node knows all of them.
func (c *cluster) awaitNodes(ctx context.Context) error {
	for _, n := range c.nodes {
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			list, err := holdfastv1.NewNodeServiceClient(n.cc).ListNodes(ctx, &holdfastv1.ListNodesRequest{})
			if err == nil && len(list.Nodes) == len(c.nodes) {
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("node %s does not know the others: %w", n.id, err)
			}
		}
	}
	return nil
}

// strike stops everything, the brokers before NATS.
func (c *cluster) strike() error {
	var errs []error
	for _, n := range c.nodes {
		if n.cc != nil {
			errs = append(errs, n.cc.Close())
		}
		errs = append(errs, n.server.Stop())
	}
	for _, p := range c.nats {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}

// sample adds up what all brokers, and all NATS servers, have used.
func (c *cluster) sample() (sample, error) {
	now := sample{at: time.Now()}
	var errs []error
	add := func(to *process.Usage, p *process.Process) {
		u, err := p.Usage()
		to.CPU, to.RSS = to.CPU+u.CPU, to.RSS+u.RSS
		errs = append(errs, err)
	}
	for _, n := range c.nodes {
		add(&now.server, n.server)
	}
	for _, p := range c.nats {
		add(&now.nats, p)
	}
	var err error
	now.load, err = process.UsageOf(os.Getpid())
	errs = append(errs, err)
	now.machine, err = process.MachineUsage()
	return now, errors.Join(append(errs, err)...)
}

// measured begins the profiles, if there are to be some.
func (l *lab) measured(c *cluster) (sample, error) {
	for _, n := range c.nodes {
		if l.profile == "" {
			break
		}
		if err := n.server.Signal(syscall.SIGUSR1); err != nil {
			return sample{}, err
		}
	}
	return c.sample()
}

// connect opens connections on a node and waits until it counts them: it answers a handshake before.
func (n node) connect(ctx context.Context, count int) (*client.Pool, error) {
	pool, err := client.New(n.address)
	if err != nil {
		return nil, err
	}
	if err = pool.Connect(ctx, count); err == nil {
		err = awaitOpen(ctx, holdfastv1.NewConnectionServiceClient(n.cc), n.id, uint64(count))
	}
	if err != nil {
		pool.Abort()
		return nil, err
	}
	return pool, nil
}

// awaitOpen waits until a node counts so many connections; all nodes together, if it is not named.
func awaitOpen(ctx context.Context, api holdfastv1.ConnectionServiceClient, node string, want uint64) error {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		open, err := api.Count(ctx, &holdfastv1.CountRequest{Filter: &holdfastv1.Filter{Node: node}})
		if err != nil {
			return fmt.Errorf("count: %w", err)
		}
		if open.Count == want {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("node %q counts %d connections, want %d", node, open.Count, want)
		}
	}
}

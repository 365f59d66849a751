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

	"github.com/holdfast-broker/holdfast/bench/client"
	"github.com/holdfast-broker/holdfast/bench/process"
)

// stage is what stands for one row: the server that is measured, NATS, the backend, and no connection yet.
type stage struct {
	server  *process.Process // nil: it runs elsewhere
	nats    *process.Process // nil: embedded in the broker, or none
	backend *backend         // nil: the server echoes by itself
	address string           // for clients
	path    string
	control string // of the control API
	pid     int    // of the server; 0: unknown

	broker   bool // it publishes opens and closes, and answers a close frame
	profiled bool
}

// The peers: what can stand on a stage.
const (
	withNATS     = "broker"
	withEmbedded = "broker, NATS embedded"
	withTLS      = "broker, TLS 1.3"

	bareEcho      = "bare echo"
	bareEpoll     = "bare epoll"
	bareAccept    = "bare epoll, own handshake"
	bareTLS       = "bare crypto/tls"
	barePublisher = "bare publisher"
	bareControl   = "bare grpc-go"

	gws     = "gws"
	gorilla = "gorilla/websocket"
	nodeWS  = "ws (Node)"

	elsewhere = "server at -url"
)

// limitOf names the mode of bench/limits that a bare peer is.
var limitOf = map[string]string{
	bareEcho: "echo", bareEpoll: "epoll", bareAccept: "accept", bareTLS: "tls", barePublisher: "publish", bareControl: "push",
}

func (l *lab) set(ctx context.Context, peer string) (*stage, error) {
	s := &stage{}
	err := l.start(ctx, s, peer)
	if err != nil {
		return nil, errors.Join(err, s.strike())
	}
	if s.server != nil {
		s.pid = s.server.PID()
	}
	return s, nil
}

func (l *lab) start(ctx context.Context, s *stage, peer string) error {
	switch peer {
	case withNATS, withEmbedded, withTLS:
		return l.startBroker(ctx, s, peer)
	case elsewhere:
		s.address, s.path, s.pid = l.url.Host, l.url.RequestURI(), l.pid
		return nil
	case gws:
		return s.startPeer(ctx, l.peers, "gws")
	case gorilla:
		return s.startPeer(ctx, l.peers, "gorilla")
	case nodeWS:
		return s.startPeer(ctx, "node", filepath.Join(peersDir, "ws.mjs"))
	case barePublisher:
		url, err := l.startBackend(ctx, s, l.dir)
		if err != nil {
			return err
		}
		return s.startPeer(ctx, l.limits, "-nats="+url, limitOf[peer])
	}
	return s.startPeer(ctx, l.limits, "-cert="+l.cert, "-key="+l.key, limitOf[peer])
}

// startPeer starts what says with a line where clients, and perhaps backends, find it.
func (s *stage) startPeer(ctx context.Context, path string, args ...string) (err error) {
	if s.server, err = process.StartReady(ctx, path, args...); err == nil {
		s.address, s.control, _ = strings.Cut(strings.TrimSpace(string(s.server.Line)), " ")
	}
	return err
}

// startBackend starts a nats-server and a backend.
func (l *lab) startBackend(ctx context.Context, s *stage, dir string, args ...string) (url string, err error) {
	if s.nats, url, err = startNATS(ctx, l.nats, dir, args...); err == nil {
		s.backend, err = newBackend(url)
	}
	return url, err
}

func (l *lab) startBroker(ctx context.Context, s *stage, peer string) error {
	s.broker = true
	dir, err := os.MkdirTemp(l.dir, "stage")
	if err != nil {
		return err
	}
	listen := "127.0.0.1:0"
	if peer == withTLS {
		listen += "?cert=" + l.cert + "&key=" + l.key
	}
	args := []string{
		"--listen=" + listen, "--control-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
		"--data-dir=" + filepath.Join(dir, "data"),
	}
	if peer == withEmbedded {
		args = append(args, "--nats-listen=127.0.0.1:0")
	} else {
		url, err := l.startBackend(ctx, s, dir, "--jetstream", "--store_dir="+dir) // so there is a life record
		if err != nil {
			return err
		}
		args = append(args, "--nats-url="+url)
	}
	if s.profiled = l.profile != ""; s.profiled {
		l.nextProfile()
	}
	if s.server, err = process.StartReady(ctx, l.broker, args...); err != nil {
		return err
	}
	var ready struct {
		Listen  []string `json:"listen"`
		Control string   `json:"control"`
		NATS    string   `json:"nats"`
	}
	if err := json.Unmarshal(s.server.Line, &ready); err != nil {
		return fmt.Errorf("ready line %q: %w", s.server.Line, err)
	}
	_, s.address, _ = strings.Cut(ready.Listen[0], "://")
	if s.control = ready.Control; s.backend == nil {
		s.backend, err = newBackend(ready.NATS)
	}
	return err
}

// startNATS starts a nats-server, which writes where it listens into a file.
func startNATS(ctx context.Context, path, dir string, more ...string) (p *process.Process, url string, err error) {
	args := append([]string{"--addr=127.0.0.1", "--port=-1", "--ports_file_dir=" + dir}, more...)
	if p, err = process.Start(ctx, path, args...); err != nil {
		return nil, "", err
	}
	name := filepath.Join(dir, fmt.Sprintf("%s_%d.ports", filepath.Base(path), p.PID()))
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var ports struct {
			NATS []string `json:"nats"`
		}
		text, err := os.ReadFile(name) //nolint:gosec // in a directory of our own
		if err == nil && json.Unmarshal(text, &ports) == nil && len(ports.NATS) > 0 {
			return p, ports.NATS[0], nil
		}
	}
	return p, "", fmt.Errorf("%s: no %s: it is not ready", path, name)
}

// strike stops everything, the broker before NATS.
func (s *stage) strike() error {
	var errs []error
	if s.backend != nil {
		s.backend.close()
	}
	for _, p := range []*process.Process{s.server, s.nats} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	return errors.Join(errs...)
}

// pool makes a pool without connections.
func (s *stage) pool() (*client.Pool, error) {
	pool, err := client.New(s.address)
	if err == nil {
		pool.Path = s.path
	}
	return pool, err
}

// connect opens connections and waits until the backend has heard of all of them.
func (s *stage) connect(ctx context.Context, n int) (*client.Pool, error) {
	pool, err := s.pool()
	if err != nil {
		return nil, err
	}
	if err = s.open(ctx, pool, n); err != nil {
		pool.Abort()
		return nil, err
	}
	return pool, nil
}

// open opens n more connections of a pool.
func (s *stage) open(ctx context.Context, pool *client.Pool, n int) error {
	err := pool.Connect(ctx, n)
	if err == nil && s.broker {
		want := uint64(len(pool.Conns))
		err = pool.Until(ctx, patience, func() bool { return s.backend.opens.Load() >= want })
	}
	return err
}

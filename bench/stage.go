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
	server  *process.Process
	nats    *process.Process // nil: embedded in the broker, or none
	backend *backend         // nil: the server echoes by itself
	address string           // for clients
	control string           // of the control API

	profiled bool
}

// peers are the ways to set a stage.
const (
	withNATS     = "broker"
	withEmbedded = "broker, NATS embedded"
	bareEcho     = "bare echo"
)

func (l *lab) set(ctx context.Context, peer string) (*stage, error) {
	s := &stage{}
	err := l.start(ctx, s, peer)
	if err != nil {
		return nil, errors.Join(err, s.strike())
	}
	return s, nil
}

func (l *lab) start(ctx context.Context, s *stage, peer string) (err error) {
	if peer == bareEcho {
		if s.server, err = process.StartReady(ctx, l.limits); err == nil {
			s.address = strings.TrimSpace(string(s.server.Line))
		}
		return err
	}
	dir, err := os.MkdirTemp(l.dir, "stage")
	if err != nil {
		return err
	}
	args := []string{
		"--listen=127.0.0.1:0", "--control-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
		"--data-dir=" + filepath.Join(dir, "data"),
	}
	if peer == withEmbedded {
		args = append(args, "--nats-listen=127.0.0.1:0")
	} else {
		var url string
		if s.nats, url, err = startNATS(ctx, l.nats, dir); err != nil {
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
	s.address, s.control = strings.TrimPrefix(ready.Listen[0], "ws://"), ready.Control
	s.backend, err = newBackend(ready.NATS)
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

// connect opens connections and waits until the backend has heard of all of them.
func (s *stage) connect(ctx context.Context, n int) (*client.Pool, error) {
	pool, err := client.New(s.address)
	if err != nil {
		return nil, err
	}
	if err = pool.Connect(ctx, n); err == nil && s.backend != nil {
		err = pool.Until(ctx, patience, func() bool { return s.backend.opens.Load() >= uint64(n) })
	}
	if err != nil {
		pool.Abort()
		return nil, err
	}
	return pool, nil
}

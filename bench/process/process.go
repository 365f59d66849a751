//go:build linux

// Package process starts what is measured as processes of their own, stops them, and reads what they have
// used from /proc.
package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// patience bounds every wait for a process.
const patience = 20 * time.Second

// Process is a running process that was started here.
type Process struct {
	// Line is the first line it wrote to stdout, if it was waited for.
	Line []byte

	cmd    *exec.Cmd
	log    tail
	first  chan []byte
	exited chan struct{}
}

// Start starts a process. It is ended with the context at the latest.
func Start(ctx context.Context, path string, args ...string) (*Process, error) {
	p := &Process{first: make(chan []byte, 1), exited: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, path, args...) //nolint:gosec // the paths are the operator's
	p.cmd.WaitDelay = time.Second
	p.cmd.Stderr = &p.log
	// A key press in the terminal must not end it before we do; and it must not outlive us.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	go p.watch(stdout)
	return p, nil
}

// StartReady starts a process that says with a line on stdout that it is ready.
func StartReady(ctx context.Context, path string, args ...string) (*Process, error) {
	p, err := Start(ctx, path, args...)
	if err != nil {
		return nil, err
	}
	select {
	case p.Line = <-p.first:
	case <-time.After(patience):
	}
	if len(p.Line) == 0 {
		return nil, errors.Join(fmt.Errorf("%s: not ready: %s", path, p.log.String()), p.Stop())
	}
	return p, nil
}

// watch hands on the first line, drains the rest, and reaps the process.
func (p *Process) watch(stdout io.Reader) {
	defer close(p.exited)
	r := bufio.NewReader(stdout)
	line, _ := r.ReadBytes('\n')
	p.first <- line
	_, _ = io.Copy(io.Discard, r)
	_ = p.cmd.Wait() // that a signal ended it is no news
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("%s: %s: %w", p.cmd.Path, s, err)
	}
	return nil
}

// Stop ends the process in order, or else at once, and waits for it. What it logged is the error if it had
// ended before.
func (p *Process) Stop() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s: ended by itself: %s", p.cmd.Path, p.log.String())
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		return nil
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s: did not stop: %s", p.cmd.Path, p.log.String())
	}
}

// tail keeps the end of a log.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const enough = 4 << 10
	t.buf = append(t.buf, b...)
	if len(t.buf) > enough {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-enough:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}

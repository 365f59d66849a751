//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// patience bounds every wait for a process.
const patience = 2 * time.Minute

// process is one that was started here. It does not outlive us.
type process struct {
	name   string
	cmd    *exec.Cmd
	exited chan struct{}
}

// spawn starts a process whose log goes to a file. onLine, unless nil, is told every line of its stdout.
func spawn(dir, name string, onLine func([]byte), path string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the operator's path
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{name: name, cmd: exec.Command(path, args...), exited: make(chan struct{})} //nolint:gosec // the operator's path
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go p.watch(stdout, onLine)
	return p, nil
}

func (p *process) watch(stdout io.Reader, onLine func([]byte)) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if onLine != nil {
			onLine(lines.Bytes())
		}
	}
	_ = p.cmd.Wait() // what became of it is asked for with code
	close(p.exited)
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("%s: %v: %w", p.name, s, err)
	}
	return nil
}

// end sends a signal that ends it and waits.
func (p *process) end(s syscall.Signal) error {
	if err := p.signal(s); err != nil {
		return err
	}
	return p.await()
}

func (p *process) await() error {
	select {
	case <-p.exited:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%s did not end", p.name)
	}
}

// code is its exit code once it has ended.
func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

// running reports whether nobody has waited for its end yet.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill makes sure that it does not run, also if it is stopped.
func (p *process) kill() {
	if p != nil && p.running() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// build builds a program where no binary is given.
func build(given, dir, name, pkg string) (string, error) {
	if given != "" {
		return given, nil
	}
	path := filepath.Join(dir, name)
	if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil { //nolint:gosec // packages of our own
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
}

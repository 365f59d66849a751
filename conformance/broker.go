package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const brokerPackage = "github.com/holdfast-broker/holdfast/cmd/broker"

// patience bounds every wait for a process.
const patience = 30 * time.Second

// broker is the real one, as a process of its own.
type broker struct {
	Listen  []string `json:"listen"`
	Control string   `json:"control"`

	cmd    *exec.Cmd
	log    logTail
	exited chan struct{}
}

// buildBroker answers the path of the broker: the given one, or one built from the sources.
func buildBroker(ctx context.Context, given, dir string) (string, error) {
	if given != "" {
		return given, nil
	}
	path := filepath.Join(dir, "broker")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, brokerPackage).CombinedOutput() //nolint:gosec // a directory of our own
	if err != nil {
		return "", fmt.Errorf("building the broker: %w: %s", err, out)
	}
	return path, nil
}

// accepts asks the broker whether it would start with that configuration.
func accepts(ctx context.Context, binary, config string) error {
	out, err := exec.CommandContext(ctx, binary, "config", "check", "--config="+config).CombinedOutput() //nolint:gosec // the path is the operator's
	if err != nil {
		first, _, _ := bytes.Cut(out, []byte("\n"))
		return errors.New(string(first))
	}
	return nil
}

// startBroker starts the broker and waits until it is ready.
func startBroker(ctx context.Context, binary string, args ...string) (*broker, error) {
	b := &broker{exited: make(chan struct{})}
	b.cmd = exec.CommandContext(ctx, binary, args...) //nolint:gosec // the path is the operator's
	b.cmd.Cancel = func() error { return b.cmd.Process.Signal(syscall.SIGTERM) }
	b.cmd.WaitDelay = patience
	b.cmd.Stderr = &b.log
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	lines := make(chan []byte, 1)
	go b.watch(stdout, lines)
	select {
	case line := <-lines:
		if err := json.Unmarshal(line, b); err != nil {
			return nil, errors.Join(fmt.Errorf("the broker did not start: %s", b.log.String()), b.stop())
		}
		return b, nil
	case <-time.After(patience):
		return nil, errors.Join(fmt.Errorf("the broker is not ready: %s", b.log.String()), b.stop())
	}
}

// watch reads the first line of stdout, drains the rest, and reaps the process.
func (b *broker) watch(stdout io.Reader, first chan<- []byte) {
	defer close(b.exited)
	r := bufio.NewReader(stdout)
	line, _ := r.ReadBytes('\n')
	first <- line
	_, _ = io.Copy(io.Discard, r)
	_ = b.cmd.Wait()
}

// address is where clients connect to.
func (b *broker) address() (string, error) {
	u, err := url.Parse(b.Listen[0])
	if err != nil {
		return "", err
	}
	return u.Host, nil
}

// stop ends the broker in order. It fails if the broker ended by itself, or with an error: a connection that ends it
// is the worst fault of all.
func (b *broker) stop() error {
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
	case <-time.After(patience):
		_ = b.cmd.Process.Kill()
		<-b.exited
	}
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the broker ended with exit code %d: %s", code, b.log.String())
	}
	return nil
}

// logTail keeps the end of a log.
type logTail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *logTail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const enough = 8 << 10
	t.buf = append(t.buf, b...)
	if len(t.buf) > enough {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-enough:]...)
	}
	return len(b), nil
}

func (t *logTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}

// writeFile writes a file into a directory and answers its path.
func writeFile(dir, name, content string) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(content), 0o600)
}

// Package brokertest runs the real broker as a process of its own, for tests of what only the whole
// can do.
package brokertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Patience is how long a test waits for what must come.
const Patience = 30 * time.Second

// Ready is the broker's ready line.
type Ready struct {
	Ready   bool     `json:"ready"`
	Node    string   `json:"node"`
	Listen  []string `json:"listen"`
	Control string   `json:"control"`
	Ops     string   `json:"ops"`
	NATS    string   `json:"nats"`
}

// Broker is a running broker process.
type Broker struct {
	Ready

	t      testing.TB
	cmd    *exec.Cmd
	stderr syncBuffer
	first  chan string // the first line of stdout
	exited chan struct{}
	code   int
}

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("HOLDFAST_BROKER"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "holdfast-broker")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "broker")
	out, err := exec.Command("go", "build", "-o", path, "github.com/holdfast-broker/holdfast/cmd/broker").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// Binary is the path of the broker: HOLDFAST_BROKER, or one built for these tests.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatalf("building the broker: %v", err)
	}
	return path
}

// Args are flags for free ports and a data directory of the test's own, before further ones.
func Args(t testing.TB, args ...string) []string {
	free := []string{
		"--listen=127.0.0.1:0", "--control-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
		"--data-dir=" + filepath.Join(t.TempDir(), "data"),
	}
	if !strings.Contains(strings.Join(args, " "), "--nats-url") {
		free = append(free, "--nats-listen=127.0.0.1:0")
	}
	return append(free, args...)
}

// Start starts a broker on free ports and waits until it is ready. It is stopped with the test.
func Start(t testing.TB, args ...string) *Broker {
	t.Helper()
	b := Launch(t, Args(t, args...)...)
	b.awaitReady()
	return b
}

// Launch starts a broker with just these arguments and waits until it is ready or has ended.
func Launch(t testing.TB, args ...string) *Broker {
	t.Helper()
	b := Begin(t, args...)
	b.await(Patience)
	return b
}

// Begin starts a broker with just these arguments and waits for nothing. It is stopped with the test.
func Begin(t testing.TB, args ...string) *Broker {
	t.Helper()
	b := &Broker{t: t, cmd: exec.Command(Binary(t), args...), exited: make(chan struct{}), first: make(chan string, 1)}
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.cmd.Stderr = &b.stderr
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go b.watch(stdout)
	t.Cleanup(func() { b.cleanup() })
	return b
}

// watch reads the first line of stdout, drains the rest, and reaps the process.
func (b *Broker) watch(stdout io.Reader) {
	r := bufio.NewReader(stdout)
	line, _ := r.ReadString('\n')
	b.first <- line
	_, _ = io.Copy(io.Discard, r)
	_ = b.cmd.Wait()
	b.code = b.cmd.ProcessState.ExitCode()
	close(b.exited)
}

// await waits for the ready line or the end of the process.
func (b *Broker) await(patience time.Duration) {
	b.t.Helper()
	select {
	case line := <-b.first:
		if line == "" {
			return
		}
		if err := json.Unmarshal([]byte(line), &b.Ready); err != nil {
			b.t.Fatalf("ready line %q: %v", line, err)
		}
	case <-time.After(patience):
		b.t.Fatalf("no ready line; stderr:\n%s", b.Stderr())
	}
}

func (b *Broker) awaitReady() {
	b.t.Helper()
	if !b.Ready.Ready {
		b.t.Fatalf("broker did not start: exit code %d; stderr:\n%s", b.Wait(), b.Stderr())
	}
}

func (b *Broker) cleanup() {
	select {
	case <-b.exited:
	default:
		_ = b.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-b.exited:
		case <-time.After(Patience):
			b.t.Errorf("broker did not stop; stderr:\n%s", b.Stderr())
			_ = b.cmd.Process.Kill()
		}
	}
	if strings.Contains(b.Stderr(), "panic") || strings.Contains(b.Stderr(), "DATA RACE") {
		b.t.Errorf("broker panicked:\n%s", b.Stderr())
	}
}

// Signal sends a signal.
func (b *Broker) Signal(s syscall.Signal) {
	b.t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		b.t.Fatal(err)
	}
}

// Freeze stops the process as a whole (SIGSTOP): its sockets stay open and nobody reads them. It returns when every thread
// stands still. SIGCONT ends it.
func (b *Broker) Freeze() {
	b.t.Helper()
	b.Signal(syscall.SIGSTOP)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(b.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		b.t.Errorf("the broker is not stopped: %v", err)
	}
}

// Wait waits for the process to end and answers its exit code.
func (b *Broker) Wait() int {
	b.t.Helper()
	select {
	case <-b.exited:
	case <-time.After(2 * Patience):
		b.t.Fatalf("broker did not end; stderr:\n%s", b.Stderr())
	}
	return b.code
}

// Stop stops the broker in order and fails the test unless its exit code is 0.
func (b *Broker) Stop() {
	b.t.Helper()
	b.Signal(syscall.SIGTERM)
	if code := b.Wait(); code != 0 {
		b.t.Fatalf("exit code %d; stderr:\n%s", code, b.Stderr())
	}
}

// Stderr is what the broker has logged.
func (b *Broker) Stderr() string { return b.stderr.String() }

// AwaitLog waits until the broker has logged something with that in it. The log comes through a pipe of its own, maybe after
// the answer to whatever is logged.
func (b *Broker) AwaitLog(part string) {
	b.t.Helper()
	late := time.After(Patience)
	for {
		more := b.stderr.more()
		if strings.Contains(b.Stderr(), part) {
			return
		}
		select {
		case <-more:
		case <-late:
			b.t.Fatalf("no %q in the log:\n%s", part, b.Stderr())
		}
	}
}

// URL is the address of an endpoint for WebSocket clients.
func (b *Broker) URL(path string) string { return b.Listen[0] + path }

// GRPC is a connection to the control API.
func (b *Broker) GRPC() *grpc.ClientConn {
	b.t.Helper()
	cc, err := grpc.NewClient(b.Control, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// Config writes a configuration file and answers the flag for it.
func Config(t testing.TB, yaml string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holdfast.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return "--config=" + path
}

// syncBuffer is a buffer that a process writes while a test reads.
type syncBuffer struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	written chan struct{} // closed with the next write; nil: nobody waits
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.written != nil {
		close(b.written)
		b.written = nil
	}
	return b.buf.Write(p)
}

// more is closed when something has been written since.
func (b *syncBuffer) more() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.written == nil {
		b.written = make(chan struct{})
	}
	return b.written
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Package brokertest starts the real broker as a process, for tests of what speaks only its public
// contracts.
package brokertest

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a broker may take to be ready, and to stop.
const patience = 60 * time.Second

// Broker is a running process and where it listens.
type Broker struct {
	Node    string   `json:"node"`
	Listen  []string `json:"listen"`  // "ws://127.0.0.1:8080"
	Control string   `json:"control"` // "127.0.0.1:7400"
	Ops     string   `json:"ops"`     // "http://127.0.0.1:7401"
	NATS    string   `json:"nats"`    // "nats://127.0.0.1:4222"

	command *exec.Cmd
	ended   chan error
}

// Start starts a broker on free ports of the loopback interface, waits until it is ready, and stops it
// with the test. Flags in args come last, so that they win. What it logs is shown when the test fails.
func Start(t testing.TB, args ...string) *Broker {
	t.Helper()
	flags := []string{
		"--listen=127.0.0.1:0", "--control-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
		"--nats-listen=127.0.0.1:0", "--data-dir=" + t.TempDir(),
	}
	b := &Broker{command: exec.Command(binary(t), append(flags, args...)...), ended: make(chan error, 1)}
	b.command.Stderr = t.Output()
	stdout, err := b.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Stop(t) })
	ready := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(stdout).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, b)
		}
		ready <- err
		_, _ = io.Copy(io.Discard, stdout)
		b.ended <- b.command.Wait()
	}()
	select {
	case err := <-ready:
		if err != nil {
			t.Fatal("the broker ended before it was ready: ", err)
		}
	case <-time.After(patience):
		t.Fatal("the broker is not ready after ", patience)
	}
	return b
}

// Stop stops the broker in order and waits for its end. A second call does nothing.
func (b *Broker) Stop(t testing.TB) {
	t.Helper()
	if b.ended == nil {
		return
	}
	_ = b.command.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case err := <-b.ended:
		if err != nil {
			t.Error("broker: ", err)
		}
	case <-time.After(patience):
		t.Error("the broker does not stop")
		_ = b.command.Process.Kill()
		<-b.ended
	}
	b.ended = nil
}

// binary is the broker that HOLDFAST_BROKER names, or the one that `make build` left, or one made now.
func binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("HOLDFAST_BROKER"); path != "" {
		return path
	}
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..", "..")
	if path := filepath.Join(root, "bin", "broker"); isFile(path) {
		return path
	}
	path, err := build(root)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// build is done once in a test process; the system's own clean-up of temporary files takes it away.
var build = func() func(string) (string, error) {
	var once sync.Once
	var path string
	var err error
	return func(root string) (string, error) {
		once.Do(func() {
			var dir string
			if dir, err = os.MkdirTemp("", "holdfast-broker-"); err != nil {
				return
			}
			path = filepath.Join(dir, "broker")
			command := exec.Command("go", "build", "-o", path, "./cmd/broker")
			command.Dir, command.Stderr = root, os.Stderr
			err = command.Run()
		})
		return path, err
	}
}()

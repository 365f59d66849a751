package bustest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a nats-server of its own process, always at the same port.
type Process struct {
	// URL of the server.
	URL string

	t    testing.TB
	port string
	dir  string
	args []string
	cmd  *exec.Cmd
	log  bytes.Buffer
}

// StartProcess starts a nats-server with JetStream. The binary is the one that HOLDFAST_NATS_SERVER names, or
// is built from the module. What is still running at the end of the test is killed.
func StartProcess(t testing.TB, args ...string) *Process {
	t.Helper()
	_, port, _ := net.SplitHostPort(FreeAddresses(t, 1)[0])
	p := &Process{URL: "nats://127.0.0.1:" + port, t: t, port: port, dir: t.TempDir(), args: args}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.Kill()
		}
	})
	p.Start()
	return p
}

// Start starts the server, again after Terminate or Kill, and waits until it accepts clients.
func (p *Process) Start() {
	p.t.Helper()
	args := append([]string{"--addr", "127.0.0.1", "--port", p.port, "--jetstream", "--store_dir", p.dir}, p.args...)
	p.cmd = exec.Command(serverBinary(p.t), args...)
	p.log.Reset()
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for !p.accepts() {
		if ctx.Err() != nil {
			p.Kill()
			p.t.Fatalf("bustest: nats-server not ready:\n%s", p.log.String())
		}
	}
}

// accepts reports whether the server greets a client.
func (p *Process) accepts() bool {
	c, err := net.Dial("tcp", "127.0.0.1:"+p.port)
	if err != nil {
		time.Sleep(5 * time.Millisecond)
		return false
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	n, err := c.Read(make([]byte, 4))
	return err == nil && n > 0
}

// Freeze stops the process as a whole (SIGSTOP): its sockets stay open and nobody reads them. It returns when
// every thread stands still.
func (p *Process) Freeze() {
	p.signal(syscall.SIGSTOP)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		p.t.Errorf("bustest: not stopped: %v", err)
	}
}

// Thaw ends Freeze.
func (p *Process) Thaw() { p.signal(syscall.SIGCONT) }

// Reload makes the server read its configuration again (SIGHUP); it does not wait for that.
func (p *Process) Reload() { p.signal(syscall.SIGHUP) }

// Terminate ends the server in order (SIGTERM) and waits for it.
func (p *Process) Terminate() {
	p.signal(syscall.SIGTERM)
	p.wait()
}

// Kill ends the server at once (SIGKILL) and waits for it.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	p.wait()
}

// Keep copies what the server has on its disk. The function that it answers puts that back, while the server does
// not run: what came after is lost.
func (p *Process) Keep() (putBack func()) {
	p.t.Helper()
	kept := filepath.Join(p.t.TempDir(), "kept")
	if err := os.CopyFS(kept, os.DirFS(p.dir)); err != nil {
		p.t.Fatal(err)
	}
	return func() {
		p.t.Helper()
		if err := errors.Join(os.RemoveAll(p.dir), os.CopyFS(p.dir, os.DirFS(kept))); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *Process) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("bustest: %v: %v", s, err)
	}
}

func (p *Process) wait() {
	_ = p.cmd.Wait() // that it was killed is no news
	p.cmd = nil
}

var (
	buildOnce sync.Once
	built     string
	errBuild  error
)

// serverBinary builds nats-server once for each version; the build cache makes repeats cheap.
func serverBinary(t testing.TB) string {
	t.Helper()
	buildOnce.Do(func() {
		if built = os.Getenv("HOLDFAST_NATS_SERVER"); built != "" {
			return
		}
		const module = "github.com/nats-io/nats-server/v2"
		version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module).Output()
		if err != nil {
			errBuild = fmt.Errorf("version of %s: %w", module, err)
			return
		}
		dir := filepath.Join(os.TempDir(), "holdfast-test-nats-server-"+string(bytes.TrimSpace(version)))
		built = filepath.Join(dir, "nats-server")
		if _, err := os.Stat(built); err == nil {
			return
		}
		errBuild = buildServer(module, dir, built)
	})
	if errBuild != nil {
		t.Fatalf("bustest: build nats-server: %v", errBuild)
	}
	return built
}

// buildServer builds beside the final name, so that two test binaries at once do not disturb each other.
func buildServer(module, dir, binary string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.%d", binary, os.Getpid())
	if out, err := exec.Command("go", "build", "-o", part, module).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return os.Rename(part, binary)
}

package doctest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
)

// patience is how long a program may take to say what it should: some of them are compiled first.
const patience = 5 * time.Minute

// program is a running process of a snippet, with all that it has started.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	exited chan struct{}
	in     *os.File

	mu     sync.Mutex
	output bytes.Buffer
}

// Write takes the program's output.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

func (p *program) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// start starts a program in a directory. It is ended with the test, if not before.
func start(t *testing.T, dir string, env []string, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(name, args...), exited: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // "go run" leaves its child behind otherwise
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdin, p.in = r, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.stop)
	return p
}

// bash runs a snippet of shell, from the top of the repository unless dir says otherwise.
func bash(t *testing.T, dir, text string, env ...string) *program {
	t.Helper()
	if dir == "" {
		dir = root
	}
	return start(t, dir, env, "bash", "-eu", "-o", "pipefail", "-c", text)
}

// stop ends the program and what it has started.
func (p *program) stop() {
	_ = p.in.Close()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(brokertest.Patience):
		p.t.Errorf("%s does not end", p.cmd)
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}

// await waits until the program has said that.
func (p *program) await(text string) {
	p.t.Helper()
	for begin := time.Now(); !strings.Contains(p.said(), text); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.exited:
			if !strings.Contains(p.said(), text) {
				p.t.Fatalf("it ended with %v and did not say %q:\n%s", p.cmd.ProcessState, text, p.said())
			}
		default:
		}
		if time.Since(begin) > patience {
			p.t.Fatalf("it did not say %q:\n%s", text, p.said())
		}
	}
}

// end waits until the program has ended well, and answers what it said.
func (p *program) end() string {
	p.t.Helper()
	if code := p.exitCode(); code != 0 {
		p.t.Fatalf("it ended with %d:\n%s", code, p.said())
	}
	return p.said()
}

func (p *program) exitCode() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("it does not end:\n%s", p.said())
	}
	return p.cmd.ProcessState.ExitCode()
}

// typed sends a line to the program's input.
func (p *program) typed(line string) {
	p.t.Helper()
	if _, err := p.in.WriteString(line + "\n"); err != nil {
		p.t.Fatal(err)
	}
}

// need skips the test, or fails it where HOLDFAST_REQUIRE_CLIENTS is set, because something is not installed.
func need(t *testing.T, there bool, what string) {
	t.Helper()
	switch {
	case there:
	case os.Getenv("HOLDFAST_REQUIRE_CLIENTS") != "":
		t.Fatalf("%s: run \"make setup\"", what)
	default:
		t.Skipf("%s: run \"make setup\"", what)
	}
}

// python is the interpreter that the client is installed for.
func python(t *testing.T) string {
	t.Helper()
	path := absolute(t, ".venv/bin/python")
	need(t, exec.Command(path, "-c", "import holdfast, nats").Run() == nil, ".venv has no Python client")
	return path
}

// node is the interpreter of JavaScript.
func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	need(t, err == nil, "there is no node")
	return path
}

// withNodeClient is a directory in which programs find the Node client, as after "npm install".
func withNodeClient(t *testing.T) string {
	t.Helper()
	client := absolute(t, "clients/node")
	for _, made := range []string{"node_modules", "dist/index.js"} {
		_, err := os.Stat(filepath.Join(client, made))
		need(t, err == nil, "clients/node has no "+made)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "node_modules"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(client, filepath.Join(dir, "node_modules", "holdfast")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// goProgram compiles the body of a main function as a package of this module. The source stands in an
// overlay, so nothing is written into the tree.
func goProgram(t *testing.T, body string) string {
	t.Helper()
	source := "package main\n\nimport (\n\t\"context\"\n\t\"strings\"\n\n\t\"github.com/nats-io/nats.go\"\n" +
		"\t\"google.golang.org/grpc\"\n\t\"google.golang.org/grpc/credentials/insecure\"\n\n" +
		"\tholdfastv1 \"github.com/holdfast-broker/holdfast/proto/holdfast/v1\"\n)\n\nfunc main() {\n" + body + "}\n"
	dir := t.TempDir()
	file := write(t, dir, "main.go", source)
	overlay, err := json.Marshal(map[string]any{
		"Replace": map[string]string{absolute(t, "internal/doctest/snippet/main.go"): file},
	})
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "snippet")
	build := exec.Command("go", "build", "-o", binary, "-overlay", write(t, dir, "overlay.json", string(overlay)), "./internal/doctest/snippet")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// here puts the real addresses in the place of those that a snippet names. The tools of nats.go take the
// server's as a flag.
func here(b *brokertest.Broker, text string) string {
	text = strings.NewReplacer(
		"127.0.0.1:8080", strings.TrimPrefix(b.URL(""), "ws://"),
		"127.0.0.1:7400", b.Control,
		"127.0.0.1:7401", strings.TrimPrefix(b.Ops, "http://"),
		"nats://127.0.0.1:4222", b.NATS,
	).Replace(text)
	return natsTool.ReplaceAllString(text, "$0 -s "+b.NATS)
}

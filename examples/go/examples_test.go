// Package examples_test runs the examples as a person does: as processes beside a real broker.
package examples_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// patience is how long an example may take to start and to stop.
const patience = time.Minute

// programs is where TestMain builds the examples.
var programs string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if programs, err = os.MkdirTemp("", "holdfast-examples-"); err == nil {
			defer os.RemoveAll(programs)
			build := exec.Command("go", "build", "-o", programs, "./echo", "./chat")
			build.Stderr = os.Stderr
			err = build.Run()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "build the examples:", err)
			return 1
		}
		return m.Run()
	}())
}

// start starts an example and waits until it says that it is ready. It returns a function that stops it.
func start(t *testing.T, name string, b *brokertest.Broker) (ready string, stop func()) {
	t.Helper()
	command := exec.Command(filepath.Join(programs, name), "--control", b.Control, "--nats", b.NATS)
	command.Stderr = t.Output()
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		_ = command.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		timer := time.AfterFunc(patience, func() { _ = command.Process.Kill() })
		defer timer.Stop()
		if err := command.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Cleanup(stop)
	timer := time.AfterFunc(patience, func() { _ = command.Process.Kill() })
	defer timer.Stop()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%s is not ready: %v", name, err)
	}
	return line, stop
}

func TestEcho(t *testing.T) {
	b := brokertest.Start(t)
	_, stop := start(t, "echo", b)
	client := wstest.Dial(t, b.Listen[0], nil)
	for _, text := range []string{"hello", "", "grüß dich, 世界"} {
		client.Send(wstest.Text(text))
		client.Expect(wire.Text, text)
	}
	client.Send(wstest.Binary([]byte{0, 0xff, 0xfe}))
	client.Expect(wire.Binary, "\x00\xff\xfe")

	// The backend is replaced; the client's connection is not.
	stop()
	start(t, "echo", b)
	client.Send(wstest.Text("still here"))
	client.Expect(wire.Text, "still here")
}

func TestEchoSharesTheWork(t *testing.T) {
	b := brokertest.Start(t)
	start(t, "echo", b)
	start(t, "echo", b)
	client := wstest.Dial(t, b.Listen[0], nil)
	for range 20 {
		client.Send(wstest.Text("once"))
		client.Expect(wire.Text, "once") // an answer too many would be the next
	}
	client.Send(wstest.Text("last"))
	client.Expect(wire.Text, "last")
}

func TestChat(t *testing.T) {
	b := brokertest.Start(t)
	ready, stop := start(t, "chat", b)
	if want := "chatting in the namespace default, 0 there\n"; ready != want {
		t.Errorf("it says %q, want %q", ready, want)
	}
	one := wstest.Dial(t, b.Listen[0], nil)
	firstJoined := string(one.Receive().Payload)
	two := wstest.Dial(t, b.Listen[0], nil)
	secondJoined := string(two.Receive().Payload)
	one.Expect(wire.Text, secondJoined)
	first, second := name(t, firstJoined), name(t, secondJoined)

	one.Send(wstest.Text("hello"))
	one.Expect(wire.Text, first+": hello")
	two.Expect(wire.Text, first+": hello")

	// Restarted, it asks who is there.
	stop()
	if ready, _ = start(t, "chat", b); ready != "chatting in the namespace default, 2 there\n" {
		t.Errorf("after its restart it says %q", ready)
	}
	two.Send(wstest.Binary([]byte("binary \xff")))
	one.Expect(wire.Text, second+": binary \uFFFD")
	two.Expect(wire.Text, second+": binary \uFFFD")

	two.Send(wstest.Close(1000, ""))
	two.ExpectClose(1000)
	one.Expect(wire.Text, "* "+second+" has left")
}

// name is the name in "* name has joined".
func name(t *testing.T, line string) string {
	t.Helper()
	const before, after = "* ", " has joined"
	if len(line) <= len(before+after) || line[:2] != before || line[len(line)-len(after):] != after {
		t.Fatalf("%q came, want somebody joining", line)
	}
	return line[len(before) : len(line)-len(after)]
}

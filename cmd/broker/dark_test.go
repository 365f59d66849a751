//go:build linux

package main_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// inside is set where the test runs in network namespaces of its own.
const inside = "HOLDFAST_TEST_NAMESPACE"

const (
	brokerSide = "10.203.7.1" // in a namespace where nobody else is
	peerSide   = "10.203.7.2"
)

// The link to a peer goes dark: packets vanish, and no reset says so. The broker finds out within two heartbeats and
// the timeout of the last, also for a connection that it does not read and a peer of whom it wants nothing.
func TestPeerWhoseLinkGoesDarkIsFoundWithinTwoHeartbeats(t *testing.T) {
	t.Parallel() // it waits most of the time
	if os.Getenv(inside) == "" {
		againInNamespace(t)
		return
	}
	const interval, timeout = 3 * time.Second, time.Second
	far := newFarEnd(t)
	b := brokertest.Start(t, "--listen="+brokerSide+":0", brokertest.Config(t, `
endpoints:
  - {path: /, heartbeat: {interval: 3s, timeout: 1s}}
  - {path: /unread, heartbeat: {interval: 3s, timeout: 1s}, start_paused: true}
`))
	events := bustest.Record(t, b.NATS, "holdfast.default.close.*")
	read, unread := far.dial(t, b, "/"), far.dial(t, b, "/unread")
	answerOnePing(t, read)
	answerOnePing(t, unread)

	dark := time.Now()
	far.goDark(t)
	for _, event := range events.Wait(2) {
		c := closed(t, event.Data)
		t.Logf("after %v: %s", time.Since(dark), event.Data)
		if c.Cause != "PING_TIMEOUT" && c.Cause != "TRANSPORT_ERROR" || c.Code != wire.AbnormalClosure || c.WasClean {
			t.Errorf("close event %s", event.Data)
		}
	}
	const stall = 2 * time.Second // so long may the machine stand still; a third heartbeat would be later
	if took := time.Since(dark); took > 2*interval+timeout+stall {
		t.Errorf("found after %v, want %v at most", took, 2*interval+timeout)
	}
}

// answerOnePing shows that the link works.
func answerOnePing(t *testing.T, p *wstest.Peer) {
	t.Helper()
	f := p.Receive()
	if f.Opcode != wire.Ping {
		t.Fatalf("received %v, want a ping", f.Opcode)
	}
	p.Send(wstest.Pong(string(f.Payload)))
}

// againInNamespace runs the test again in a user and a network namespace of its own, where it may do as it likes.
func againInNamespace(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no network namespace: %v", err)
		}
	}
	namespace, why := namespaceOfOurOwn()
	if namespace == nil {
		t.Skipf("no network namespace with a link here: %s", why)
	}
	cmd := exec.Command("unshare", append(namespace, "--kill-child", os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$", "-test.timeout=1m")...)
	cmd.Env = append(os.Environ(), inside+"=1", "HOLDFAST_BROKER="+brokertest.Binary(t))
	out, err := cmd.CombinedOutput()
	t.Logf("in the namespace:\n%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("it ended with %v", err)
	}
}

// namespaceOfOurOwn answers the flags of unshare, or why there are none: users other than root need a user namespace
// beside it, and some containers let nobody have one.
func namespaceOfOurOwn() (flags []string, why string) {
	for _, flags := range [][]string{{"--net"}, {"--user", "--map-root-user", "--net"}} {
		probe := append(slices.Clone(flags), "ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
		out, err := exec.Command("unshare", probe...).CombinedOutput()
		if err == nil {
			return flags, ""
		}
		why = err.Error() + ": " + string(out)
	}
	return nil, why
}

// farEnd is another network namespace, at the other end of a link.
type farEnd struct{ pid string }

// newFarEnd makes one, held by a process that does nothing else, and a link to it.
func newFarEnd(t *testing.T) *farEnd {
	t.Helper()
	holder := exec.Command("unshare", "--net", "sh", "-c", "echo ready; exec cat")
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = holder.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		t.Fatal(err)
	}
	far := &farEnd{strconv.Itoa(holder.Process.Pid)}
	ip(t, "link set lo up")
	ip(t, "link add near type veth peer name far netns "+far.pid)
	ip(t, "addr add "+brokerSide+"/24 dev near")
	ip(t, "link set near up")
	far.ip(t, "addr add "+peerSide+"/24 dev far")
	far.ip(t, "link set far up")
	return far
}

func ip(t *testing.T, args string) {
	t.Helper()
	command(t, "ip", strings.Fields(args)...)
}

// ip does something at the far end.
func (far *farEnd) ip(t *testing.T, args string) {
	t.Helper()
	command(t, "nsenter", append([]string{"--net=/proc/" + far.pid + "/ns/net", "ip"}, strings.Fields(args)...)...)
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// goDark takes the far end of the link down: whatever the broker sends is lost, and nothing comes.
func (far *farEnd) goDark(t *testing.T) {
	t.Helper()
	far.ip(t, "link set far down")
}

// dial connects to the broker from the far end. A socket stays in the namespace it was made in, so the thread that
// makes it goes there; it does not come back, and ends with its goroutine.
func (far *farEnd) dial(t *testing.T, b *brokertest.Broker, path string) *wstest.Peer {
	t.Helper()
	made := make(chan *wstest.Peer, 1)
	go func() {
		defer close(made)
		runtime.LockOSThread()
		ns, err := os.Open("/proc/" + far.pid + "/ns/net")
		if err == nil {
			defer func() { _ = ns.Close() }()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			t.Error("to the far end: ", err)
			return
		}
		made <- wstest.Dial(t, b.Listen[1]+path, nil)
	}()
	p := <-made
	if p == nil {
		t.FailNow()
	}
	return p
}

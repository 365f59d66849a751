package main_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// send sends one text through a node.
func (c *trio) send(ctx context.Context, via int, id string) error {
	_, err := c.conns(via).Send(ctx, &holdfastv1.SendRequest{ConnectionId: id, Message: text("x")})
	return err
}

// timed is the reason of a refusal, and how long it took to come.
func timed(call func() error) (reason string, took time.Duration) {
	begin := time.Now()
	err := call()
	took = time.Since(begin)
	return reasonIn(status.Convert(err)), took
}

// sane bounds what must come within 100 ms or at once on a machine that does something else as well.
const sane = 2 * time.Second

// A node that was killed is unreachable, at once, until it is claimed; only then are its connections gone. One
// that stops in order leaves nothing unclear.
func TestNodeThatWasKilledIsUnreachableAndThenGone(t *testing.T) {
	t.Parallel() // it waits most of the time
	c := newTrio(t, "--lease-duration=8s")
	alive, killed, stopped := c.dial(0, "/"), c.dial(1, "/"), c.dial(2, "/")
	c.brokers[1].Signal(syscall.SIGKILL)
	c.brokers[1].Wait()
	reason, took := timed(func() error { return c.send(c.patient(), 0, killed.id) })
	t.Logf("%s after %v", reason, took)
	if reason != "NODE_UNREACHABLE" || took > sane {
		t.Errorf("a call to a node that was killed: %s after %v, want NODE_UNREACHABLE within %v", reason, took, sane)
	}
	c.partialAnswers(0, c.brokers[1].Node)

	// From the first answer that says so they are gone, through every node.
	for _, via := range []int{2, 0} {
		eventually(t, "CONNECTION_GONE", func() bool {
			reason, _ := timed(func() error { return c.send(c.patient(), via, killed.id) })
			if reason != "NODE_UNREACHABLE" && reason != "CONNECTION_GONE" {
				t.Fatalf("%s through node %d", reason, via)
			}
			return reason == "CONNECTION_GONE"
		})
	}
	if !c.heard.Until(func() bool { return c.heard.closings[killed.id].Cause == "NODE_LOST" }) {
		t.Error("its connection has no close event")
	}
	if node, err := c.nodes(0).ListNodes(c.patient(), &holdfastv1.ListNodesRequest{}); err != nil || len(node.Nodes) != 2 {
		t.Errorf("nodes %v, %v: the dead one is still there", node, err)
	}

	c.brokers[2].Signal(syscall.SIGTERM)
	stopped.ExpectClose(wire.ServiceRestart)
	stopped.Send(wstest.Close(wire.ServiceRestart, ""))
	c.brokers[2].Wait()
	eventually(t, "goodbye", func() bool { // it may come through two servers after the process has ended
		node, err := c.nodes(0).ListNodes(c.patient(), &holdfastv1.ListNodesRequest{})
		return err == nil && len(node.Nodes) == 1
	})
	reason, took = timed(func() error { return c.send(c.patient(), 0, stopped.id) })
	if reason != "CONNECTION_GONE" || took > sane {
		t.Errorf("a call to a node that has stopped: %s after %v, want CONNECTION_GONE at once", reason, took)
	}
	if err := c.send(c.patient(), 0, alive.id); err != nil {
		t.Errorf("the node that is left: %v", err)
	}
}

// partialAnswers checks that what gathers from all nodes says whom it lacks, and soon. All at once: a dead node is
// lacking only until it is claimed.
func (c *trio) partialAnswers(via int, lacking string) {
	c.t.Helper()
	var asking sync.WaitGroup
	defer asking.Wait()
	for name, ask := range map[string]func() ([]string, error){
		"Count": func() ([]string, error) {
			r, err := c.conns(via).Count(c.patient(), &holdfastv1.CountRequest{})
			return r.GetUnreachableNodes(), err
		},
		"List": func() ([]string, error) {
			r, err := c.conns(via).List(c.patient(), &holdfastv1.ListRequest{})
			return r.GetUnreachableNodes(), err
		},
		"ListMembers": func() ([]string, error) {
			r, err := c.groups(via).ListMembers(c.patient(), &holdfastv1.ListMembersRequest{Group: "g"})
			return r.GetUnreachableNodes(), err
		},
		"ListGroups": func() ([]string, error) {
			r, err := c.groups(via).ListGroups(c.patient(), &holdfastv1.ListGroupsRequest{})
			return r.GetUnreachableNodes(), err
		},
		"Publish": func() ([]string, error) {
			r, err := c.groups(via).Publish(c.patient(), &holdfastv1.PublishRequest{Target: everyone, Message: text("x")})
			return r.GetUnreachableNodes(), err
		},
	} {
		asking.Go(func() {
			begin := time.Now()
			unreachable, err := ask()
			took := time.Since(begin)
			c.t.Logf("%s without %s: %v", name, lacking, took)
			if err != nil || len(unreachable) != 1 || unreachable[0] != lacking {
				c.t.Errorf("%s: unreachable %v, %v; want %s", name, unreachable, err, lacking)
			}
			if took > 2*sane {
				c.t.Errorf("%s took %v", name, took)
			}
		})
	}
}

var everyone = &holdfastv1.Target{To: &holdfastv1.Target_Everyone{Everyone: true}}

// A node that hangs is unreachable when 2 s are over, or the time of the call; all others answer meanwhile. When
// it goes on, so do its connections.
func TestNodeThatHangsIsUnreachableInTime(t *testing.T) {
	c := newTrio(t, "--lease-duration=30s")
	members := c.dialEach("/")
	hung := members[2]
	c.brokers[2].Freeze()
	defer c.brokers[2].Signal(syscall.SIGCONT) // else it could not be stopped

	reason, took := timed(func() error { return c.send(c.patient(), 0, hung.id) })
	t.Logf("without a deadline: %s after %v", reason, took)
	if reason != "NODE_UNREACHABLE" || took > 2*sane {
		t.Errorf("a call to a node that hangs: %s after %v, want NODE_UNREACHABLE after 2 s", reason, took)
	}
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := c.send(short, 0, hung.id)
	took = time.Since(begin)
	t.Logf("with a deadline of 500 ms: %v after %v", status.Code(err), took)
	if code := status.Code(err); code != codes.DeadlineExceeded && code != codes.Unavailable || took > sane {
		t.Errorf("a call with a deadline of 500 ms: %v after %v", err, took)
	}
	c.publishInTime()

	state := func() holdfastv1.Node_State {
		node, err := c.nodes(0).GetNode(c.patient(), &holdfastv1.GetNodeRequest{Node: c.brokers[2].Node})
		if err != nil {
			t.Fatal(err)
		}
		return node.Node.State
	}
	eventually(t, "SILENT", func() bool { return state() == holdfastv1.Node_SILENT })
	c.partialAnswers(0, c.brokers[2].Node)

	c.brokers[2].Signal(syscall.SIGCONT)
	eventually(t, "READY", func() bool { return state() == holdfastv1.Node_READY })
	if err := c.send(c.patient(), 0, hung.id); err != nil {
		t.Errorf("after the node went on: %v", err)
	}
}

// publishInTime: who publishes with a deadline is told before it whom the message has reached. The answer has 100 ms to
// travel in, which is not enough where the machine stands still: then the next has.
func (c *trio) publishInTime() {
	c.t.Helper()
	publish := func() (*holdfastv1.PublishResponse, error) {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		defer cancel()
		return c.groups(0).Publish(ctx, &holdfastv1.PublishRequest{
			Target: everyone, Message: text("x"), Confirmation: holdfastv1.Confirmation_RECEIVED,
		})
	}
	for tries := 1; ; tries++ {
		resp, err := publish()
		// The clients answer no ping: the deadline travelled to node 1, or it would be missing, too.
		if err == nil && resp.Matched == 2 && resp.Pending == 2 && len(resp.UnreachableNodes) == 1 {
			return
		}
		if tries == 10 {
			c.t.Errorf("Publish with a deadline: %v, %v; want 2 pending and 1 unreachable node", resp, err)
			return
		}
	}
}

// kicks is how often the owner's connections to NATS are cut.
const kicks = 50

// A node whose connections to NATS are cut again and again is unreachable now and then, but it lives: nobody is
// ever told that its connections are gone or not found, and what was confirmed arrives once and in order.
func TestNodeThatIsKickedIsNeverGone(t *testing.T) {
	c := newTrio(t)
	proxy := bustest.NewProxy(t, c.servers[0].URL)
	owner := c.start(proxy.URL)
	const callers = 8
	var confirmed, retries atomic.Int64
	stop := make(chan struct{})
	var users sync.WaitGroup
	for i := range callers {
		m := c.dial(owner, "/")
		users.Go(func() { c.sendOn(i%3, m, stop, &confirmed, &retries) })
		users.Go(func() { arriveOnce(t, m) })
	}
	for range kicks {
		proxy.Cut()
		target := confirmed.Load() + 2*callers
		eventually(t, "confirmed sends after a cut", func() bool { return confirmed.Load() >= target })
	}
	close(stop)
	users.Wait()
	t.Logf("%d sends confirmed, %d tries without an answer", confirmed.Load(), retries.Load())
	if retries.Load() == 0 {
		t.Error("no call was disturbed: the test tests nothing")
	}
}

// sendOn sends numbers to a client, and "end" when told to stop; what has no answer is repeated with the same
// request_id.
func (c *trio) sendOn(via int, m *member, stop <-chan struct{}, confirmed, retries *atomic.Int64) {
	for n, over := 0, false; !over; {
		next := strconv.Itoa(n)
		select {
		case <-stop:
			next, over = "end", true
		default:
		}
		if !c.sendUntilTaken(via, &holdfastv1.SendRequest{ConnectionId: m.id, Message: text(next), RequestId: next}, retries) {
			_ = m.Close() // ends its reader
			return
		}
		n++
		confirmed.Add(1)
	}
}

func (c *trio) sendUntilTaken(via int, req *holdfastv1.SendRequest, retries *atomic.Int64) bool {
	for {
		_, err := c.conns(via).Send(c.t.Context(), req)
		switch reason := reasonIn(status.Convert(err)); {
		case err == nil:
			return true
		case reason == "NODE_UNREACHABLE" || reason == "BUS_UNAVAILABLE":
			retries.Add(1)
		default:
			c.t.Errorf("through node %d: %v", via, err)
			return false
		}
	}
}

// arriveOnce reads numbers until the end.
func arriveOnce(t *testing.T, m *member) {
	for n := 0; ; n++ {
		f, err := m.TryReceive()
		switch {
		case err != nil:
			t.Errorf("client after %d messages: %v", n, err)
			return
		case f.Opcode == wire.Ping:
			m.Send(wstest.Pong(string(f.Payload)))
			n--
		case string(f.Payload) == "end":
			return
		case string(f.Payload) != strconv.Itoa(n):
			t.Errorf("client got %q, want %d", f.Payload, n)
			return
		}
	}
}

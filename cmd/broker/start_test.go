package main_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// callSoon connects to a control API as soon as somebody listens there; its calls wait for that.
func callSoon(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	soon := backoff.Config{BaseDelay: time.Millisecond, Multiplier: 1, MaxDelay: time.Millisecond}
	cc, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon, MinConnectTimeout: brokertest.Patience}),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// A node that starts answers no call before it knows the others: it would tell of living connections that they are gone,
// and publish to nobody else's.
func TestNodeThatStartsKnowsTheOthersBeforeItIsAsked(t *testing.T) {
	nats := bustest.Server(t)
	opens := bustest.Record(t, nats, "holdfast.default.open.*")
	b := brokertest.Start(t, "--nats-url="+nats)
	wstest.Dial(t, b.URL("/"), nil)
	get := &holdfastv1.GetRequest{ConnectionId: strings.TrimPrefix(opens.Wait(1)[0].Subject, "holdfast.default.open.")}

	proxy := bustest.NewProxy(t, nats)
	joining := proxy.HoldAt("SUB _HOLDFAST.") // from now on it hears nothing
	control := brokertest.FreeAddresses(t, 1)[0]
	brokertest.Begin(t, brokertest.Args(t, "--nats-url="+proxy.URL, "--control-listen="+control)...)
	conns := holdfastv1.NewConnectionServiceClient(callSoon(t, control))
	<-joining
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := conns.Get(short, get); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a connection of a node that is not known yet: %v, want no answer", err)
	}
	proxy.Release()
	long, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	if _, err := conns.Get(long, get); err != nil {
		t.Errorf("a connection of another node: %v", err)
	}
}

// While the start waits for JetStream no client is served, and no load balancer is to send one. It ends when it is told
// to, also without NATS: there are no clients yet that a drain would have to wait for.
func TestStartThatWaitsIsNotReadyAndEndsSoon(t *testing.T) {
	t.Run("with NATS", func(t *testing.T) {
		t.Parallel()
		b, _, _ := waiting(t)
		b.Stop()
	})
	t.Run("without NATS", func(t *testing.T) {
		t.Parallel()
		b, nats, _ := waiting(t)
		nats.Kill()
		b.Stop()
	})
	t.Run("by a call", func(t *testing.T) {
		t.Parallel()
		b, _, nodes := waiting(t)
		list, err := nodes.ListNodes(t.Context(), &holdfastv1.ListNodesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nodes.DrainNode(t.Context(), &holdfastv1.DrainNodeRequest{Node: list.Node}); err != nil {
			t.Fatal(err)
		}
		if code := b.Wait(); code != 0 {
			t.Errorf("exit code %d; stderr:\n%s", code, b.Stderr())
		}
	})
}

// waiting is a broker whose NATS server is the only one of its three that runs, so that JetStream has no leader.
func waiting(t *testing.T) (*brokertest.Broker, *bustest.Process, holdfastv1.NodeServiceClient) {
	t.Helper()
	free := brokertest.FreeAddresses(t, 5)
	nats := bustest.StartProcess(t, "--server_name", "s1", "--cluster_name", "test", "--cluster", "nats://"+free[0],
		"--routes", "nats-route://"+strings.Join(free[:3], ",nats-route://")) // a port of 0 would be no cluster, with a leader
	control, ops := free[3], free[4]
	b := brokertest.Begin(t, brokertest.Args(t, "--nats-url="+nats.URL, "--drain-delay=1h", "--drain-timeout=1h",
		"--control-listen="+control, "--ops-listen="+ops)...)
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	nodes := holdfastv1.NewNodeServiceClient(callSoon(t, control))
	if _, err := nodes.ListNodes(ctx, &holdfastv1.ListNodesRequest{}); err != nil {
		t.Fatalf("ListNodes: %v", err)
	}
	if status, body := get(t, "http://"+ops+"/readyz"); status != http.StatusServiceUnavailable || body != "not ready: starting\n" {
		t.Errorf("/readyz: %d %q, want 503 and that it is starting", status, body)
	}
	return b, nats, nodes
}

// A node that was claimed starts anew. What it had begun as the old one has ended: nothing says a while later that it drops
// connections.
func TestNodeThatWasClaimedStartsAnew(t *testing.T) {
	t.Parallel() // it waits most of the time
	nats := bustest.StartProcess(t)
	ops := brokertest.FreeAddresses(t, 1)[0]
	other := brokertest.Start(t, "--nats-url="+nats.URL, "--lease-duration=4s")
	b := brokertest.Start(t, "--nats-url="+nats.URL, "--lease-duration=4s", "--lease-drop-after=1s", "--ops-listen="+ops)
	nodes := holdfastv1.NewNodeServiceClient(other.GRPC())
	known := func() (ids []string) {
		list, err := nodes.ListNodes(t.Context(), &holdfastv1.ListNodesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range list.Nodes {
			ids = append(ids, n.Id)
		}
		return ids
	}
	b.Freeze()
	defer b.Signal(syscall.SIGCONT) // else it could not be stopped
	eventually(t, "claim", func() bool { return len(known()) == 1 })
	b.Signal(syscall.SIGCONT)
	eventually(t, "new node", func() bool { return len(known()) == 2 })
	eventually(t, "lease that is renewed for longer than it was to be frozen", func() bool {
		appends, _ := strconv.Atoi(metric(t, b, "holdfast_life_appends_total"))
		return appends >= 5
	})
	if strings.Contains(b.Stderr(), "frozen for too long") {
		t.Errorf("the log of a node that was claimed:\n%s", b.Stderr())
	}
}

package doctest_test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// whoIsThere kills a broker under the program that counts who is there.
func whoIsThere(t *testing.T, s snippet) {
	interpreter, server := python(t), bustest.StartProcess(t)
	b := brokertest.Start(t, "--nats-url="+server.URL, shortLease)
	start(t, root, nil, interpreter, "-c", here(b, read(t, "docs/events.md").one(t, "docs/events.md#Storing them/1").text)).end()
	p := start(t, root, nil, interpreter, "-c", here(b, s.text))
	peer, lost := wstest.Dial(t, b.URL("/"), nil), wstest.Dial(t, b.URL("/"), nil)
	js := jetStream(t, server.URL)
	eventually(t, "two opens are stored", func() bool { return stored(t, js, "EVENTS") == 2 })
	peer.Send(wstest.Close(1000, ""))
	p.await("PEER_CLOSE - 1 there")
	b.Signal(syscall.SIGKILL)
	survivor := brokertest.Start(t, "--nats-url="+server.URL, shortLease)
	p.await("NODE_LOST - 0 there")
	_ = lost.Close()
	if n := sample(t, survivor, "holdfast_life_lost_total"); n != 1 {
		t.Errorf("%v closes are counted as lost", n)
	}
}

// TestFrozenIsAsTheDocumentSays stops a NATS server for longer than a lease.
func TestFrozenIsAsTheDocumentSays(t *testing.T) {
	server := bustest.StartProcess(t)
	b := brokertest.Start(t, "--nats-url="+server.URL, shortLease)
	peer := wstest.Dial(t, b.URL("/"), nil)
	id := onlyConnection(t, b)
	server.Freeze()
	eventually(t, "it is frozen", func() bool { return sample(t, b, "holdfast_life_frozen") == 1 })
	if lease := sample(t, b, "holdfast_life_lease_seconds"); lease > 0 {
		t.Errorf("%v s of the lease are left", lease)
	}
	if status, body := get(t, b.Ops+"/readyz"); status != http.StatusServiceUnavailable || !inTheDocument(t, body) {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if err := send(t, b, id, "too late"); err == nil || !strings.Contains(err.Error(), "Unavailable") {
		t.Errorf("a send answers %v", err)
	}
	refused(t, b.URL("/"))
	server.Thaw()
	eventually(t, "it goes on", func() bool { return send(t, b, id, "still here") == nil })
	peer.Expect(wire.Text, "still here")
	for _, line := range []string{`level=ERROR msg="frozen: `, "going on with all connections"} {
		eventually(t, "the log has "+line, func() bool { return strings.Contains(b.Stderr(), line) })
	}
}

// TestClaimedNodeStartsAgain stops a broker for longer than its lease while another one lives.
func TestClaimedNodeStartsAgain(t *testing.T) {
	server := bustest.StartProcess(t)
	b := brokertest.Start(t, "--nats-url="+server.URL, shortLease)
	survivor := brokertest.Start(t, "--nats-url="+server.URL, shortLease)
	peer := wstest.Dial(t, b.URL("/"), nil)
	onlyConnection(t, b)
	events := bustest.Record(t, server.URL, "holdfast.>")
	b.Freeze()
	eventually(t, "it is claimed", func() bool { return sample(t, survivor, "holdfast_life_claims_total") == 1 })
	b.Signal(syscall.SIGCONT)
	eventually(t, "it starts again", func() bool { return strings.Contains(b.Stderr(), "starting again as a new node") })
	if code := seen(peer); code != wire.AbnormalClosure {
		t.Errorf("the client sees %d", code)
	}
	nodes := holdfastv1.NewNodeServiceClient(survivor.GRPC())
	eventually(t, "it is known by another ID", func() bool {
		list, err := nodes.ListNodes(t.Context(), &holdfastv1.ListNodesRequest{})
		return err == nil && len(list.Nodes) == 2 && list.Nodes[0].Id != b.Node && list.Nodes[1].Id != b.Node
	})
	if got := events.Messages(); len(got) != 1 {
		t.Errorf("%d events", len(got))
	}
}

// inTheDocument: the answers of /readyz stand in the table.
func inTheDocument(t *testing.T, body string) bool {
	t.Helper()
	for _, r := range read(t, operating).table(t, "Health") {
		for _, word := range words(r["answers"]) {
			if "not ready: "+word == strings.TrimSpace(body) {
				return true
			}
		}
	}
	return false
}

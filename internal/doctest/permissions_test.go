package doctest_test

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const twoNamespaces = `
endpoints:
  - path: /
  - path: /chat
    namespace: chat
  - path: /door
    namespace: chat
    admission: {mode: backend}
`

// guarded is a NATS server with the permissions of a document.
type guarded struct{ *bustest.Process }

func guard(t *testing.T, conf string) guarded {
	t.Helper()
	return guarded{bustest.StartProcess(t, "-c", write(t, t.TempDir(), "nats.conf", conf))}
}

var passwords = map[string]string{"broker": "change-me-1", "listener": "change-me-2", "replier": "change-me-3", "publisher": "change-me-4", "doorkeeper": "change-me-5"}

func (g guarded) as(user string) string {
	return strings.Replace(g.URL, "nats://", "nats://"+user+":"+passwords[user]+"@", 1)
}

// party is a connection of one of the users.
type party struct {
	*nats.Conn
	t      *testing.T
	denied chan error
}

func (g guarded) dial(t *testing.T, user string) party {
	t.Helper()
	denied := make(chan error, 16)
	nc := bustest.Dial(t, g.as(user), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	return party{nc, t, denied}
}

func (p party) refused(what string) {
	p.t.Helper()
	select {
	case err := <-p.denied:
		if !strings.Contains(err.Error(), "ermissions") {
			p.t.Errorf("%s: %v", what, err)
		}
	case <-time.After(brokertest.Patience):
		p.t.Errorf("%s is allowed", what)
	}
}

func (p party) mustNotPublish(subjects ...string) {
	p.t.Helper()
	for _, subject := range subjects {
		if err := p.Publish(subject, []byte("forbidden")); err != nil {
			p.t.Fatal(err)
		}
		p.refused("to publish to " + subject)
	}
}

func (p party) mustNotSubscribe(subject string) {
	p.t.Helper()
	if _, err := p.SubscribeSync(subject); err != nil {
		p.t.Fatal(err)
	}
	p.refused("to subscribe to " + subject)
}

// permissions tries each party with a NATS server that has this configuration: what it must be able to do,
// and what it must not.
func permissions(t *testing.T, s snippet) {
	server := guard(t, s.text)
	config := brokertest.Config(t, twoNamespaces)
	b := brokertest.Start(t, config, "--nats-url="+server.as("broker"), shortLease)
	other := brokertest.Start(t, config, "--nats-url="+server.as("broker"), shortLease)
	events := bustest.Record(t, server.as("listener"), "holdfast.>")
	listener, replier, publisher := server.dial(t, "listener"), server.dial(t, "replier"), server.dial(t, "publisher")
	messages, err := replier.QueueSubscribeSync("holdfast.chat.message.*", "workers")
	if err != nil {
		t.Fatal(err)
	}
	if err := replier.Flush(); err != nil {
		t.Fatal(err)
	}
	peer := wstest.Dial(t, b.URL("/chat"), nil)
	id := onlyConnection(t, other) // nodes speak to each other
	peer.Send(wstest.Text("hi"))
	if got := events.Wait(2); string(got[1].Data) != "hi" {
		t.Errorf("the listener heard %q", got[1].Data)
	}
	m, err := messages.NextMsg(brokertest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := verdict(t, replier.Conn, &nats.Msg{Subject: m.Reply, Data: []byte("asked")}); text != `{"code":"OK"}` {
		t.Errorf("the verdict is %s", text)
	}
	peer.Expect(wire.Text, "asked")
	if err := m.Respond([]byte("plain")); err != nil {
		t.Fatal(err)
	}
	peer.Expect(wire.Text, "plain")
	toMembers(t, b, publisher.Conn, "chat", id)
	peer.Expect(wire.Text, "hello, group")

	listener.mustNotPublish(m.Reply, m.Subject, "holdfast-in.chat.group.lobby")
	foreign := strings.Replace(m.Reply, ".chat.", ".default.", 1)
	replier.mustNotPublish(foreign, m.Subject, "holdfast-in.chat.group.lobby", "_HOLDFAST.all", "_HOLDFAST.life."+b.Node)
	replier.mustNotSubscribe("holdfast.default.>")
	publisher.mustNotPublish("holdfast-in.default.group.lobby", m.Reply, m.Subject, "_HOLDFAST.all")
	publisher.mustNotSubscribe("holdfast.>")
	server.dial(t, "broker").mustNotPublish("$JS.API.STREAM.DELETE.HOLDFAST_LIFE", "$JS.API.STREAM.CREATE.EVENTS")

	door(t, b, server, replier, id)

	b.Signal(syscall.SIGKILL)
	all := events.Wait(3)
	if closed := all[2]; !strings.Contains(string(closed.Data), `"cause":"NODE_LOST"`) {
		t.Errorf("the last event is %s on %s", closed.Data, closed.Subject)
	}
	if n := sample(t, other, "holdfast_bus_denied_total"); n != 0 || strings.Contains(other.Stderr(), "ermissions") {
		t.Errorf("the broker lacks %v permissions:\n%s", n, other.Stderr())
	}
	lackingPermissions(t, server, s.text)
}

// door: the doorkeeper decides, for its own namespace, and nobody else hears of handshakes.
func door(t *testing.T, b *brokertest.Broker, server guarded, replier party, id string) {
	t.Helper()
	doorkeeper := server.dial(t, "doorkeeper")
	decide := func(m *nats.Msg) { _ = m.Respond([]byte(`{"refuse":{"status":418}}`)) } // fails when the test is over
	if _, err := doorkeeper.Subscribe("holdfast-in.chat.handshake", decide); err != nil {
		t.Fatal(err)
	}
	if err := doorkeeper.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, resp := wstest.TryDial(t, b.URL("/door"), nil); resp.StatusCode != 418 {
		t.Errorf("the doorkeeper is not asked: %s", resp.Status)
	}
	doorkeeper.mustNotPublish("holdfast-in.default.answer."+b.Node+"."+id, "holdfast-in.chat.reply."+b.Node+"."+id+".t", "holdfast-in.chat.handshake")
	doorkeeper.mustNotSubscribe("holdfast-in.default.handshake")
	replier.mustNotPublish("holdfast-in.chat.answer." + b.Node + "." + id)
	replier.mustNotSubscribe("holdfast-in.chat.handshake")
}

// toMembers makes a connection a member and publishes to the group until that has reached the broker.
func toMembers(t *testing.T, b *brokertest.Broker, nc *nats.Conn, namespace, id string) {
	t.Helper()
	request := &holdfastv1.AddMembersRequest{Namespace: namespace, Groups: []string{"lobby"}, ConnectionIds: []string{id}}
	if _, err := holdfastv1.NewGroupServiceClient(b.GRPC()).AddMembers(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group is heard", func() bool {
		if err := nc.Publish("holdfast-in."+namespace+".group.lobby", []byte("hello, group")); err != nil {
			t.Fatal(err)
		}
		return sample(t, b, "holdfast_group_messages_total") > 0
	})
}

// lackingPermissions: what the document says of brokers that lack some.
func lackingPermissions(t *testing.T, server guarded, conf string) {
	t.Helper()
	b := brokertest.Launch(t, brokertest.Args(t, "--nats-url="+server.as("listener"))...)
	if code := b.Wait(); code != 1 || !strings.Contains(b.Stderr(), "docs/cluster.md#permissions") {
		t.Errorf("without any it ends with %d:\n%s", code, b.Stderr())
	}
	deaf := strings.Replace(conf, `["holdfast-in.>", "_HOLDFAST.>"]`, `["_HOLDFAST.>"]`, 1)
	if deaf == conf {
		t.Fatal("the snippet has other subscriptions of the broker")
	}
	b = brokertest.Start(t, "--nats-url="+guard(t, deaf).as("broker"))
	eventually(t, "what is missing is counted and logged", func() bool {
		return sample(t, b, "holdfast_bus_denied_total") > 0 && strings.Contains(b.Stderr(), "level=ERROR")
	})
}

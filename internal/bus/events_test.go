package bus

import (
	"bytes"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// event is what a subscriber sees of one.
type event struct {
	Subject, Reply string
	Header         nats.Header
	Data           string
}

func seen(msgs []*nats.Msg) (out []event) {
	for _, m := range msgs {
		out = append(out, event{m.Subject, m.Reply, m.Header, string(m.Data)})
	}
	return out
}

func update(t *testing.T, c *hub.Conn, u hub.Update) {
	t.Helper()
	if _, err := c.Update(u); err != nil {
		t.Fatal(err)
	}
}

// A life of a connection, as the contract writes it on the wire.
func TestEventsAreTheNATSContract(t *testing.T) {
	url := bustest.Server(t)
	r := bustest.Record(t, url, "holdfast.>")
	n := startNode(t, url)
	c, _ := n.open(t)
	user := "ann é"
	c.Message(hub.Text, []byte("hello"))
	update(t, c, hub.Update{User: &user, Set: map[string]string{"room": "7 % ", "other": "not carried"}})
	c.Message(hub.Binary, []byte{0, 255, 10})
	c.Message(hub.Text, nil)
	c.Ping([]byte("pi"))
	c.Pong(nil)
	c.Writable()
	big := bytes.Repeat([]byte("x"), maxInline+1)
	c.Message(hub.Text, big)
	c.Closed(hub.End{Code: 1001, Reason: "bye", SentCode: 1001, WasClean: true, Cause: hub.CausePeerClose})
	msgs := r.Wait(9)

	id, ns := c.ID().String(), "holdfast.default."
	reply := "holdfast-in.default.reply." + id[:10] + "." + id
	head := func(kv ...string) nats.Header {
		h := nats.Header{}
		for i := 0; i < len(kv); i += 2 {
			h[kv[i]] = []string{kv[i+1]}
		}
		return h
	}
	known := []string{"Holdfast-User", "ann %C3%A9", "Holdfast-Attr-room", "7 %25%20"}
	want := []event{
		{ns + "open." + id, "", head("Holdfast-Seq", "1", "Nats-Msg-Id", id+".open"), ""},
		{ns + "message." + id, reply + ".t", head("Holdfast-Seq", "2", "Holdfast-Opcode", "text"), "hello"},
		{ns + "message." + id, reply + ".b", head(append(known, "Holdfast-Seq", "3", "Holdfast-Opcode", "binary")...), "\x00\xff\n"},
		{ns + "message." + id, reply + ".t", head(append(known, "Holdfast-Seq", "4", "Holdfast-Opcode", "text")...), ""},
		{ns + "ping." + id, "", head("Holdfast-Seq", "4"), "pi"},
		{ns + "pong." + id, "", head("Holdfast-Seq", "4"), ""},
		{ns + "writable." + id, "", head("Holdfast-Seq", "4"), `{"buffered_amount":0}`},
		{ns + "message." + id, reply + ".t", head(append(known, "Holdfast-Seq", "5", "Holdfast-Opcode", "text")...), string(big)},
		{ns + "close." + id, "", head("Holdfast-Seq", "6", "Nats-Msg-Id", id+".close"), ""},
	}
	var opened holdfastv1.Connection
	if err := protojson.Unmarshal(msgs[0].Data, &opened); err != nil || opened.Id != id || opened.Url != "/chat?room=7" || opened.Seq != 1 {
		t.Errorf("open event: %v %s", err, msgs[0].Data)
	}
	var closed holdfastv1.Closed
	if err := protojson.Unmarshal(msgs[8].Data, &closed); err != nil || closed.Code != 1001 || closed.MessagesIn != 4 || closed.User != user {
		t.Errorf("close event: %v %s", err, msgs[8].Data)
	}
	want[0].Data, want[8].Data = string(msgs[0].Data), string(msgs[8].Data)
	if diff := cmp.Diff(want, seen(msgs)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if !json.Valid(msgs[0].Data) || !json.Valid(msgs[8].Data) {
		t.Error("open or close event is not JSON")
	}
}

func TestPrefixesAreConfigurable(t *testing.T) {
	url := bustest.Server(t)
	r := bustest.Record(t, url, "acme.>")
	n := startNode(t, url, func(c *Config) { c.EventPrefix, c.InboundPrefix = "acme.out", "acme.in" })
	c, _ := n.open(t)
	c.Message(hub.Text, []byte("x"))
	m := r.Wait(2)[1]
	id := c.ID().String()
	if m.Subject != "acme.out.default.message."+id || m.Reply != "acme.in.default.reply."+id[:10]+"."+id+".t" {
		t.Errorf("subject %s, reply %s", m.Subject, m.Reply)
	}
}

// Promise 1: events of a connection arrive in the order of their sequence numbers, also when events of
// many connections are published at once.
func TestPromise1Order(t *testing.T) {
	url := bustest.Server(t)
	const conns, messages = 8, 2000
	last := map[string]int{}
	r := bustest.RecordFunc(t, url, "holdfast.>", func(m *nats.Msg) {
		id := m.Subject[len(m.Subject)-27:]
		seq, _ := strconv.Atoi(m.Header.Get(HeaderSeq))
		if seq != last[id]+1 {
			t.Errorf("%s: seq %d after %d", id, seq, last[id])
		}
		last[id] = seq
	})
	n := startNode(t, url, func(c *Config) { c.OutboxSize = 64 << 10 })
	load := startLoad(t, n, conns, messages)
	load.wait()
	n.closeBus(t)
	complete := func() bool {
		for _, seq := range last {
			if seq != messages+2 {
				return false
			}
		}
		return len(last) == conns
	}
	if !r.Until(complete) {
		t.Errorf("incomplete: %v", last)
	}
}

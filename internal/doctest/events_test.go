package doctest_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// eventually waits for a condition.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for begin := time.Now(); !met(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > brokertest.Patience {
			t.Fatalf("%s: not so", what)
		}
	}
}

// partition runs the broker beside a NATS server with the mapping.
func partition(t *testing.T, s snippet) {
	server := bustest.StartProcess(t, "-c", write(t, t.TempDir(), "nats.conf", s.text))
	b := brokertest.Start(t, "--nats-url="+server.URL)
	plain := bustest.Record(t, server.URL, "holdfast.>")
	sharded := bustest.Record(t, server.URL, "shard.>")
	const connections = 30
	for i := range connections {
		peer := wstest.Dial(t, b.URL("/"), nil)
		peer.Send(wstest.Text(strconv.Itoa(i)))
	}
	shardOf, numbers := make(map[string]string), make(map[string]bool)
	for _, m := range sharded.Wait(2 * connections) {
		token := strings.Split(m.Subject, ".") // shard.<n>.<namespace>.<kind>.<id>
		if len(token) != 5 || token[2] != "default" || token[3] != "open" && token[3] != "message" {
			t.Fatalf("subject %s", m.Subject)
		}
		if known := shardOf[token[4]]; known != "" && known != token[1] {
			t.Errorf("events of %s are in %s and %s", token[4], known, token[1])
		}
		shardOf[token[4]], numbers[token[1]] = token[1], true
	}
	if len(shardOf) != connections || !numbers["0"] || !numbers["1"] || !numbers["2"] || len(numbers) != 3 {
		t.Errorf("%d connections in the partitions %v", len(shardOf), numbers)
	}
	if n := len(plain.Messages()); n > 0 {
		t.Errorf("%d events came under their own subjects also", n)
	}
	nc := bustest.Dial(t, server.URL)
	peer := wstest.Dial(t, b.URL("/"), nil)
	if _, err := nc.Subscribe("shard.>", func(m *nats.Msg) {
		if m.Reply != "" {
			_ = m.Respond(append([]byte("you said "), m.Data...))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	peer.Send(wstest.Text("hi"))
	peer.Expect(wire.Text, "you said hi")
}

// stream runs the program that makes a stream, and compares it with one that lacks no_ack.
func stream(t *testing.T, s snippet) {
	interpreter, b := python(t), brokertest.Start(t)
	start(t, root, nil, interpreter, "-c", here(b, s.text)).end()
	js := jetStream(t, b.NATS)
	info, err := js.StreamInfo("EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if c := info.Config; !c.NoAck || c.MaxAge != 24*time.Hour {
		t.Errorf("no_ack %v, max_age %v", c.NoAck, c.MaxAge)
	}
	peer := wstest.Dial(t, b.URL("/"), nil)
	peer.Send(wstest.Text("one"), wstest.Text("two"))
	eventually(t, "open and two messages are stored", func() bool { return stored(t, js, "EVENTS") == 3 })
	peer.Send(wstest.Ping("p"))
	peer.Expect(wire.Pong, "p") // and nothing before it
	if n := sample(t, b, "holdfast_jetstream_acks_dropped_total"); n != 0 {
		t.Errorf("%v acknowledgements", n)
	}
}

func toAGroup(t *testing.T, s snippet) {
	interpreter, b := python(t), brokertest.Start(t)
	peer := wstest.Dial(t, b.URL("/"), nil)
	toMembers(t, b, bustest.Dial(t, b.NATS), "default", onlyConnection(t, b))
	start(t, root, nil, interpreter, "-c", here(b, s.text)).end()
	for f := peer.Receive(); string(f.Payload) != "hello, lobby"; f = peer.Receive() {
		if string(f.Payload) != "hello, group" || f.Opcode != wire.Text {
			t.Fatalf("%s came", f.Payload)
		}
	}
}

func jetStream(t *testing.T, url string) nats.JetStreamContext {
	t.Helper()
	js, err := bustest.Dial(t, url).JetStream()
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func stored(t *testing.T, js nats.JetStreamContext, name string) uint64 {
	t.Helper()
	info, err := js.StreamInfo(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

// A stream without no_ack: what docs/events.md says under "Storing them".
func TestAcknowledgementsAreDroppedCountedAndLoggedOnce(t *testing.T) {
	b := brokertest.Start(t)
	js := jetStream(t, b.NATS)
	if _, err := js.AddStream(&nats.StreamConfig{Name: "CARELESS", Subjects: []string{"holdfast.default.*.*"}}); err != nil {
		t.Fatal(err)
	}
	peer := wstest.Dial(t, b.URL("/"), nil)
	peer.Send(wstest.Text("one"), wstest.Text("two"))
	eventually(t, "two acknowledgements are counted", func() bool {
		return sample(t, b, "holdfast_jetstream_acks_dropped_total") == 2
	})
	peer.Send(wstest.Ping("p"))
	peer.Expect(wire.Pong, "p")
	eventually(t, "the stream is logged", func() bool { return strings.Contains(b.Stderr(), "CARELESS") })
	if n := strings.Count(b.Stderr(), "CARELESS"); n != 1 {
		t.Errorf("the stream is logged %d times:\n%s", n, b.Stderr())
	}
	// An open or close event that comes again is stored once, a message twice.
	before := stored(t, js, "CARELESS")
	nc := bustest.Dial(t, b.NATS)
	for _, kind := range []string{"open", "close"} {
		for range 2 {
			m := &nats.Msg{Subject: "holdfast.default." + kind + ".x", Header: nats.Header{"Nats-Msg-Id": {"x." + kind}}}
			if err := nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two more are stored", func() bool { return stored(t, js, "CARELESS") == before+2 })
}

// conversation is a client, and the message event that it caused.
func conversation(t *testing.T) (b *brokertest.Broker, peer *wstest.Peer, nc *nats.Conn, event *nats.Msg) {
	t.Helper()
	b = brokertest.Start(t)
	nc = bustest.Dial(t, b.NATS)
	sub, err := nc.SubscribeSync("holdfast.default.message.*")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	peer = wstest.Dial(t, b.URL("/"), nil)
	peer.Send(wstest.Text("hi"))
	if event, err = sub.NextMsg(brokertest.Patience); err != nil {
		t.Fatal(err)
	}
	return b, peer, nc, event
}

// verdict asks what became of a reply.
func verdict(t *testing.T, nc *nats.Conn, m *nats.Msg) (text string, v *holdfastv1.ReplyVerdict) {
	t.Helper()
	answer, err := nc.RequestMsg(m, brokertest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	v = &holdfastv1.ReplyVerdict{}
	if err := protojson.Unmarshal(answer.Data, v); err != nil {
		t.Fatalf("%s: %v", answer.Data, err)
	}
	return string(answer.Data), v
}

// verdictTaken makes a client that reads nothing, so that something waits in its queue.
func verdictTaken(t *testing.T, s snippet) {
	_, peer, nc, event := conversation(t)
	if text, _ := verdict(t, nc, &nats.Msg{Subject: event.Reply, Data: []byte("now")}); text != `{"code":"OK"}` {
		t.Errorf("with nothing in the queue: %s", text)
	}
	peer.Expect(wire.Text, "now")
	payload := bytes.Repeat([]byte("x"), 64<<10)
	for range 1000 {
		text, v := verdict(t, nc, &nats.Msg{Subject: event.Reply, Data: payload})
		if v.BufferedAmount == 0 {
			continue
		}
		if v.Code != "OK" || keys(t, text) != keys(t, s.text) {
			t.Errorf("the verdict is %s", text)
		}
		return
	}
	t.Error("nothing ever waits in the queue")
}

// verdictRefused also tries the other things that are said under "Answering".
func verdictRefused(t *testing.T, s snippet) {
	b, peer, nc, event := conversation(t)
	respond := func(opcode, data string) *nats.Msg {
		m := &nats.Msg{Subject: event.Reply, Data: []byte(data), Header: nats.Header{}}
		if opcode != "" {
			m.Header.Set("Holdfast-Opcode", opcode)
		}
		return m
	}
	for range 2 { // the subject is good for more than one answer
		if err := event.Respond([]byte("as it came")); err != nil {
			t.Fatal(err)
		}
		peer.Expect(wire.Text, "as it came")
	}
	verdict(t, nc, respond("binary", "\xff"))
	peer.Expect(wire.Binary, "\xff")
	if _, v := verdict(t, nc, respond("", "\xff")); v.Code != "INVALID_ARGUMENT" || v.Reason != holdfastv1.ErrorReason_INVALID_MESSAGE {
		t.Errorf("text that is not UTF-8: %v", v)
	}
	ack := `{"stream":"EVENTS","seq":7}`
	if err := event.Respond([]byte(ack)); err != nil {
		t.Fatal(err)
	}
	verdict(t, nc, respond("text", ack))
	peer.Expect(wire.Text, ack)
	peer.Send(wstest.Ping("p"))
	peer.Expect(wire.Pong, "p")

	id := event.Subject[strings.LastIndexByte(event.Subject, '.')+1:]
	if _, err := control(b).Terminate(t.Context(), &holdfastv1.TerminateRequest{ConnectionId: id}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is gone", func() bool { return sample(t, b, "holdfast_connections") == 0 })
	if text, _ := verdict(t, nc, respond("", "late")); text != strings.TrimSpace(s.text) {
		t.Errorf("the verdict is %s, the document has %s", text, s.text)
	}
}

// keys are the names of a JSON object's fields, in order.
func keys(t *testing.T, object string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(object))
	var names []string
	for depth := 0; ; {
		token, err := d.Token()
		if err != nil {
			return strings.Join(names, " ")
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		default:
			if name, ok := token.(string); ok && depth == 1 {
				names = append(names, name)
				var value any
				if err := d.Decode(&value); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

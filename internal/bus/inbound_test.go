package bus

import (
	"bytes"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// replies notes what the bus wants sent, and answers what a test says.
type replies struct {
	got    chan string // "<opcode> <namespace> <id> <payload>"
	answer func(id, namespace string) (hub.Sent, error)
}

func (r *replies) Reply(id, namespace string, m *hub.Message) (hub.Sent, error) {
	sent, err := r.answer(id, namespace)
	if err == nil {
		r.got <- m.Opcode.String() + " " + namespace + " " + id + " " + string(m.Payload)
	}
	return sent, err
}

func (r *replies) Flush() {}

func serve(t testing.TB, n *node) *replies {
	t.Helper()
	r := &replies{got: make(chan string, 10_000), answer: func(string, string) (hub.Sent, error) {
		return hub.Sent{Buffered: 17}, nil
	}}
	if err := n.bus.ServeReplies(n.Node(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRespondAnswersTheConnection(t *testing.T) {
	url := bustest.Server(t)
	nc := bustest.Dial(t, url)
	n := startNode(t, url)
	r := serve(t, n)
	_, err := nc.Subscribe("holdfast.*.message.>", func(m *nats.Msg) { _ = m.Respond(append([]byte("re: "), m.Data...)) })
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	c, _ := n.open(t)
	c.Message(hub.Text, []byte("a"))
	c.Message(hub.Binary, []byte("\xff"))
	for _, want := range []string{"text default " + c.ID().String() + " re: a", "binary default " + c.ID().String() + " re: \xff"} {
		if got := <-r.got; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRepliesKeepTheirOrder(t *testing.T) {
	url := bustest.Server(t)
	nc := bustest.Dial(t, url)
	n := startNode(t, url)
	r := serve(t, n)
	subject := "holdfast-in.default.reply." + string(n.Node()) + "." + string(n.Node()) + "-x.t"
	const count = 5000
	for i := range count {
		if err := nc.Publish(subject, strconv.AppendInt(nil, int64(i), 10)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range count {
		if got := <-r.got; !strings.HasSuffix(got, " "+strconv.Itoa(i)) {
			t.Fatalf("%q as number %d", got, i)
		}
	}
}

// holding notes in which order the bus has replies sent and written.
type holding struct {
	begun chan struct{} // closed by the first reply
	first chan struct{} // closed to let it return
	notes []string
	done  chan []string // has the notes after the payload "end"
}

func (h *holding) Reply(_, _ string, m *hub.Message) (hub.Sent, error) {
	if h.first != nil {
		close(h.begun)
		<-h.first
		h.first = nil
	}
	note := string(m.Payload)
	if m.Later {
		note += " later"
	}
	h.notes = append(h.notes, note)
	if note == "refused" {
		return hub.Sent{}, hub.ErrNotFound
	}
	return hub.Sent{}, nil
}

func (h *holding) Flush() {
	if h.notes = append(h.notes, "flush"); h.notes[len(h.notes)-2] == "refused" {
		h.done <- h.notes
	}
}

func TestRepliesThatComeTogetherAreWrittenTogether(t *testing.T) {
	url := bustest.Server(t)
	nc := bustest.Dial(t, url)
	n := startNode(t, url)
	first := make(chan struct{})
	h := &holding{begun: make(chan struct{}), first: first, done: make(chan []string, 1)}
	if err := n.bus.ServeReplies(n.Node(), h); err != nil {
		t.Fatal(err)
	}
	subject := "holdfast-in.default.reply." + string(n.Node()) + "." + string(n.Node()) + "-x.t"
	publish := func(reply, data string) {
		if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	publish("", "alone")
	<-h.begun
	var want []string
	for range maxHeld - 1 {
		publish("", "x")
		want = append(want, "x later")
	}
	publish("_INBOX.test", "asked")
	publish("", "enough")
	publish("", "y")
	publish("", "refused")
	want = append([]string{"alone"}, append(want, "asked", "enough", "flush", "y later", "refused", "flush")...)
	arrived(t, nc, n)
	close(first)
	if got := <-h.done; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// arrived waits until the node has read what was published.
func arrived(t *testing.T, nc *nats.Conn, n *node) {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := n.bus.inbound.nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestReplyVerdicts(t *testing.T) {
	url := bustest.Server(t)
	nc := bustest.Dial(t, url)
	n := startNode(t, url)
	r := serve(t, n)
	c, _ := n.open(t)
	id := c.ID().String()
	reply := "holdfast-in.default.reply." + id[:10] + "." + id
	op := func(v string) nats.Header { return nats.Header{HeaderOpcode: {v}} }
	for name, test := range map[string]struct {
		subject string
		header  nats.Header
		data    string
		err     error
		want    string
	}{
		"taken":        {reply + ".t", nil, "x", nil, `{"code":"OK","buffered_amount":"17"}`},
		"override":     {reply + ".t", op("binary"), "\xff", nil, `{"code":"OK","buffered_amount":"17"}`},
		"unknown":      {reply + ".t", nil, "x", hub.ErrNotFound, `{"code":"NOT_FOUND","reason":"CONNECTION_NOT_FOUND"`},
		"full":         {reply + ".t", nil, "x", hub.ErrQueueFull, `{"code":"RESOURCE_EXHAUSTED","reason":"SEND_QUEUE_FULL"`},
		"closing":      {reply + ".t", nil, "x", hub.ErrClosing, `{"code":"FAILED_PRECONDITION","reason":"CONNECTION_CLOSING"`},
		"stopping":     {reply + ".t", nil, "x", hub.ErrStopping, `{"code":"UNAVAILABLE","reason":"NODE_STOPPING"`},
		"foreign":      {reply + ".t", nil, "x", nats.ErrTimeout, `{"code":"INTERNAL","reason":"INTERNAL_ERROR"`},
		"not UTF-8":    {reply + ".t", nil, "\xff", nil, `{"code":"INVALID_ARGUMENT","reason":"INVALID_MESSAGE"`},
		"as text":      {reply + ".b", op("text"), "\xff", nil, `{"code":"INVALID_ARGUMENT","reason":"INVALID_MESSAGE"`},
		"bad opcode":   {reply + ".t", op("TEXT"), "x", nil, `{"code":"INVALID_ARGUMENT","reason":"INVALID_MESSAGE"`},
		"no opcode":    {reply + ".t", op(""), "x", nil, `{"code":"INVALID_ARGUMENT","reason":"INVALID_MESSAGE"`},
		"largest":      {reply + ".b", nil, strings.Repeat("x", maxReply), nil, `{"code":"OK","buffered_amount":"17"}`},
		"too large":    {reply + ".b", nil, strings.Repeat("x", maxReply+1), nil, `{"code":"INVALID_ARGUMENT","reason":"MESSAGE_TOO_LARGE"`},
		"not a target": {reply, nil, "x", nil, `{"code":"INVALID_ARGUMENT","reason":"INVALID_CONNECTION_ID"`},
	} {
		t.Run(name, func(t *testing.T) {
			r.answer = func(string, string) (hub.Sent, error) { return hub.Sent{Buffered: 17}, test.err }
			before := n.bus.Stats().Inbound.Delivered
			m, err := nc.RequestMsg(&nats.Msg{Subject: test.subject, Header: test.header, Data: []byte(test.data)}, 10*time.Second)
			if err != nil || !strings.HasPrefix(string(m.Data), test.want) {
				t.Fatalf("%v, %s, want %s", err, m.Data, test.want)
			}
			ok := strings.HasPrefix(test.want, `{"code":"OK"`)
			if delivered := n.bus.Stats().Inbound.Delivered != before; delivered != ok {
				t.Errorf("delivered %t", delivered)
			}
		})
	}
	want := map[hub.Reason]uint64{hub.ConnectionNotFound: 1, hub.SendQueueFull: 1, hub.ConnectionClosing: 1, hub.NodeStopping: 1,
		hub.InternalError: 1, hub.InvalidMessage: 4, hub.MessageTooLarge: 1, hub.InvalidConnectionID: 1}
	if diff := cmp.Diff(want, n.bus.Stats().Inbound.Refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

// logBuffer is a log that a test may read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A stream over all events acknowledges each message event to its reply subject; no client may get it.
func TestStreamAcknowledgementsAreDropped(t *testing.T) {
	url := bustest.Server(t)
	js, err := jetstream.New(bustest.Dial(t, url))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"holdfast.>"}}); err != nil {
		t.Fatal(err)
	}
	// The second stream has room for nothing, and says so: also that must not reach a client.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FULL", Subjects: []string{"other.>"}, MaxMsgs: 1,
		Discard: jetstream.DiscardNew}); err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	n := startNode(t, url, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	r := serve(t, n)
	c, _ := n.open(t)
	full := startNode(t, url, func(c *Config) { c.EventPrefix = "other"; c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	fullReplies := serve(t, full)
	fc, _ := full.open(t)
	const messages = 100
	for range messages {
		c.Message(hub.Text, []byte("x"))
		fc.Message(hub.Text, []byte("x"))
	}
	acks := func(n *node) uint64 { return n.bus.Stats().Inbound.Acks }
	eventually(t, "acknowledgements", func() bool { return acks(n) == messages && acks(full) == messages })
	if len(r.got)+len(fullReplies.got) != 0 {
		t.Errorf("a client received %q", <-r.got)
	}
	for _, stream := range []string{"stream=EVENTS", "stream=FULL"} {
		if got := strings.Count(log.String(), stream); got != 1 || !strings.Contains(log.String(), "no_ack") {
			t.Errorf("logged %d times %s:\n%s", got, stream, log.String())
		}
	}
}

func TestWhatIsAnAcknowledgement(t *testing.T) {
	for data, stream := range map[string]string{
		`{"stream":"EVENTS","seq":7}`:                            "EVENTS",
		`{"stream":"E","domain":"hub","seq":7,"duplicate":true}`: "E",
		`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"E","seq":0}`: "E",
		`{"error":{"code":400,"err_code":10039}}`:                unknownStream,
		`{"stream":"EVENTS"}`:                                    "",
		`{"seq":7}`:                                              "",
		`{"stream":"","seq":7}`:                                  "",
		`{"stream":"EVENTS","seq":"7"}`:                          "",
		`{"stream":"EVENTS","seq":7,"text":"mine"}`:              "",
		`{"stream":"EVENTS","seq":7}{"stream":"EVENTS","seq":7}`: "",
		`{"error":{"code":404}}`:                                 "",
		`{"error":"no","seq":1}`:                                 "",
		`["stream","seq"]`:                                       "",
		`+ACK`:                                                   "",
		``:                                                       "",
	} {
		got, ok := ackOf(&nats.Msg{Data: []byte(data)})
		if ok != (stream != "") || ok && got != stream {
			t.Errorf("%s: %q, %t", data, got, ok)
		}
	}
	ack := []byte(`{"stream":"EVENTS","seq":7}`)
	for name, m := range map[string]*nats.Msg{
		"with an opcode": {Data: ack, Header: nats.Header{HeaderOpcode: {"text"}}},
		"a request":      {Data: ack, Reply: "_INBOX.x"},
	} {
		if _, ok := ackOf(m); ok {
			t.Errorf("%s: taken for an acknowledgement", name)
		}
	}
	for data, want := range map[string]bool{"+ACK": true, "-NAK": true, "-NAK {\"delay\":1}": true, "+WPI": true, "+TERM why": true,
		"+NXT": true, "+ACKNOWLEDGED": false, "hello": false} {
		if _, ok := ackOf(&nats.Msg{Data: []byte(data), Reply: "$JS.ACK.x"}); ok != want {
			t.Errorf("%s to $JS: %t", data, ok)
		}
	}
}

// The second connection comes back by itself, with its subscription.
func TestRepliesAfterReconnect(t *testing.T) {
	process := bustest.StartProcess(t)
	n := startNode(t, process.URL)
	r := serve(t, n)
	process.Kill()
	eventually(t, "loss seen", func() bool { return !n.bus.Connected() })
	process.Start()
	eventually(t, "connected", n.bus.Connected)
	nc := bustest.Dial(t, process.URL)
	subject := "holdfast-in.default.reply." + string(n.Node()) + ".x.t"
	eventually(t, "subscription", func() bool {
		_, err := nc.Request(subject, []byte("x"), time.Second)
		return err == nil
	})
	<-r.got
}

package bus

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

func TestFullOutboxSaysBusyAndThenRoom(t *testing.T) {
	process := bustest.StartProcess(t)
	r := bustest.Record(t, process.URL, "holdfast.>")
	n := startNode(t, process.URL, func(c *Config) { c.OutboxSize = 64 << 10 })
	full, fullSocket := n.open(t)
	other, otherSocket := n.open(t)
	crowd := make([]*hub.Conn, 60)
	for i := range crowd {
		crowd[i], _ = n.open(t)
	}
	eventually(t, "all opens are confirmed", func() bool { return n.bus.Stats().Publisher.OutboxEvents == 0 })
	process.Freeze()
	thawed := false
	defer func() {
		if !thawed {
			process.Thaw()
		}
	}()
	sent := 0
	for full.Message(hub.Binary, make([]byte, 1000)) {
		sent++
	}
	if sent < 5 || sent > 30 {
		t.Errorf("%d messages of 1,000 bytes of one connection in an outbox of 64 KiB, want a share of it", sent)
	}
	for i := 0; crowd[i].Message(hub.Binary, make([]byte, 1000)); i++ {
		sent++
	}
	if sent < 50 || sent > 60 {
		t.Errorf("%d messages of 1,000 bytes in an outbox of 64 KiB", sent)
	}
	for range 3 { // each connection is told once
		if full.Message(hub.Text, make([]byte, 1000)) || other.Message(hub.Text, make([]byte, 1000)) {
			t.Error("a message was taken by a full outbox")
		}
	}
	other.Writable()
	other.Closed(hub.End{Cause: hub.CausePeerClose}) // cannot be held back
	if _, err := n.Open(testEndpoint, &hub.Facts{}, newFakeSocket()); err != nil {
		t.Error(err)
	}
	if st := n.bus.Stats().Publisher; st.Refused != 8 || st.Waiting != 3 {
		t.Errorf("refused %d, waiting %d", st.Refused, st.Waiting)
	}
	select {
	case <-fullSocket.room:
		t.Error("Room while the outbox is full")
	default:
	}
	process.Thaw()
	thawed = true
	<-fullSocket.room
	<-otherSocket.room
	if !full.Message(hub.Text, []byte("again")) {
		t.Error("no room after Room")
	}
	r.Wait(2 + len(crowd) + sent + 3 + 1)
}

// A message larger than the whole outbox must not wait for ever.
func TestMessageLargerThanOutboxIsTaken(t *testing.T) {
	url := bustest.Server(t)
	r := bustest.Record(t, url, "holdfast.*.message.>")
	n := startNode(t, url, func(c *Config) { c.OutboxSize = 1 << 10 })
	c, s := n.open(t)
	payload := bytes.Repeat([]byte("x"), 100_000)
	for !c.Message(hub.Binary, payload) {
		<-s.room
	}
	if m := r.Wait(1)[0]; !bytes.Equal(m.Data, payload) {
		t.Errorf("%d bytes", len(m.Data))
	}
}

// roomy takes all that a test publishes from one connection, also while the server takes nothing.
func roomy(c *Config) { c.OutboxSize = 64 << 20 }

// The payload belongs to the caller again when Publish returns.
func TestPublishKeepsNothingOfThePayload(t *testing.T) {
	url := bustest.Server(t)
	r := bustest.Record(t, url, "holdfast.*.message.>")
	n := startNode(t, url, roomy)
	c, _ := n.open(t)
	const messages = 400
	buf := make([]byte, 2*maxInline)
	for i := range messages {
		b := buf[:1+i*len(buf)/messages]
		for j := range b {
			b[j] = byte(i)
		}
		if !c.Message(hub.Binary, b) {
			t.Fatal("busy")
		}
	}
	for i, m := range r.Wait(messages) {
		if len(m.Data) != 1+i*len(buf)/messages || bytes.Count(m.Data, []byte{byte(i)}) != len(m.Data) {
			t.Fatalf("message %d is not what was published", i)
		}
	}
}

func TestCloseFlushes(t *testing.T) {
	url := bustest.Server(t)
	r := bustest.Record(t, url, "holdfast.>")
	n := startNode(t, url, roomy)
	c, _ := n.open(t)
	const messages = 5000
	for i := range messages {
		c.Message(hub.Text, strconv.AppendInt(nil, int64(i), 10))
	}
	c.Closed(hub.End{Cause: hub.CauseNodeDrain})
	n.closeBus(t)
	if st := n.bus.Stats().Publisher; st.Confirmed != messages+2 || st.OutboxBytes != 0 || st.Connected {
		t.Errorf("%+v", st)
	}
	last := r.Wait(messages + 2)[messages+1]
	if !strings.Contains(last.Subject, ".close.") || last.Header.Get(HeaderSeq) != strconv.Itoa(messages+2) {
		t.Errorf("last is %s seq %s", last.Subject, last.Header.Get(HeaderSeq))
	}
	if n.bus.Publisher().Publish(hub.Event{Kind: hub.KindMessage, Conn: c}) {
		t.Error("taken after Close")
	}
}

func TestCloseSaysWhatIsLost(t *testing.T) {
	process := bustest.StartProcess(t)
	n := startNode(t, process.URL)
	c, _ := n.open(t)
	eventually(t, "confirmation", func() bool { return n.bus.Stats().Publisher.Confirmed == 1 })
	process.Kill()
	c.Message(hub.Text, []byte("a"))
	c.Message(hub.Text, []byte("b"))
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := n.bus.Close(ctx); err == nil || err.Error() != "nats: 2 events not confirmed by the server" {
		t.Errorf("Close: %v", err)
	}
}

// Promise 4: what the server no longer accepts is told, and holds up nothing behind it.
func TestPromise4NothingUnsendableIsSwallowed(t *testing.T) {
	type unsendable struct {
		conn      *hub.Conn
		size, max int
	}
	told, limits := make(chan unsendable, 9), make(chan int, 9)
	process := bustest.StartProcess(t)
	proxy := bustest.NewProxy(t, process.URL)
	n := startNode(t, proxy.URL, func(c *Config) {
		c.OnUnsendable = func(conn *hub.Conn, size, max int) { told <- unsendable{conn, size, max} }
		c.OnMaxPayload = func(max int) { limits <- max }
	})
	if got := n.bus.Publisher().MaxPayload(); got != 1<<20 {
		t.Errorf("max payload %d", got)
	}
	c, _ := n.open(t)
	eventually(t, "confirmation", func() bool { return n.bus.Stats().Publisher.Confirmed == 1 })
	proxy.Refuse()
	process.Terminate()
	c.Message(hub.Text, []byte("before"))
	c.Message(hub.Binary, make([]byte, 5000))
	c.Message(hub.Text, []byte("behind"))

	smaller := bustest.Server(t, func(o *server.Options) { o.MaxPayload = 2000 })
	r := bustest.Record(t, smaller, "holdfast.>")
	proxy.Redirect(smaller)
	proxy.Admit()
	if got := <-limits; got != 2000 || n.bus.Publisher().MaxPayload() != 2000 {
		t.Errorf("max payload %d, now %d", got, n.bus.Publisher().MaxPayload())
	}
	if u := <-told; u.conn != c || u.size < 5000 || u.size > 5200 || u.max != 2000 {
		t.Errorf("told %+v", u)
	}
	msgs := r.Wait(2)
	if string(msgs[0].Data) != "before" || string(msgs[1].Data) != "behind" {
		t.Errorf("%s, %s", msgs[0].Data, msgs[1].Data)
	}
	n.closeBus(t)
	if st := n.bus.Stats().Publisher; st.Unsendable != 1 || len(told) != 0 {
		t.Errorf("unsendable %d, told again %d", st.Unsendable, len(told))
	}
}

// A server may refuse subjects; that is seen, and ends nothing.
func TestDeniedEventsAreCounted(t *testing.T) {
	url := authServer(t)
	as := func(user string) string { return strings.Replace(url, "://", "://"+user+":p@", 1) }
	r := bustest.Record(t, as("reader"), "holdfast.>")
	n := startNode(t, as("broker"))
	c, _ := n.open(t)
	for range 10 {
		c.Ping(nil)
	}
	c.Message(hub.Text, []byte("x"))
	if m := r.Wait(2)[1]; string(m.Data) != "x" {
		t.Errorf("%s", m.Subject)
	}
	eventually(t, "permission errors", func() bool { return n.bus.Stats().Publisher.Denied == 10 })
	if st := n.bus.Stats().Publisher; st.Reconnects != 0 || !st.Connected {
		t.Errorf("%+v", st)
	}
}

// authServer wants a user; "broker" must not publish pings.
func authServer(t testing.TB) string {
	return bustest.Server(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "broker", Password: "p", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Deny: []string{"holdfast.*.ping.>"}}}},
			{Username: "reader", Password: "p"},
		}
	})
}

package bus

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/bus/life"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// testLease outlasts a second for which the machine stands still.
const testLease = 4 * time.Second

// recorded gives a node a life record.
func recorded(t testing.TB, n *node, instance string) (frozen chan bool) {
	t.Helper()
	frozen = make(chan bool, 16)
	err := n.bus.OpenLife(t.Context(), LifeConfig{
		Node: n.Node(), Instance: instance, Lease: testLease, Renew: testLease / 5, EachOpen: n.EachOpen,
		Frozen:  func(f bool) { n.SetFrozen(f); frozen <- f },
		Claimed: func() {}, Healthy: func(hub.NodeID) bool { return false }, Gone: func(hub.NodeID) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.abandonLife(t) })
	return frozen
}

// abandonLife ends the record as a death would: it stays as it is.
func (n *node) abandonLife(t testing.TB) {
	t.Helper()
	if n.bus.publisher.ctx.Err() != nil {
		return // dead already
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n.bus.publisher.outbox.freeze() // nothing more comes of this node
	n.bus.publisher.outbox.put(&hub.Event{Kind: hub.KindWritable, Conn: guests(t, 1, testEndpoint)[0]}, writablePayload)
	_ = n.bus.CloseLife(ctx)
	_ = n.bus.Close(ctx)
}

// subscribeEvents subscribes to all opens and closes.
func subscribeEvents(t testing.TB, url string) <-chan *nats.Msg {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	ch := make(chan *nats.Msg, 4096)
	if _, err := nc.ChanSubscribe("holdfast.>", ch); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return ch
}

func next(t testing.TB, ch <-chan *nats.Msg) *nats.Msg {
	t.Helper()
	select {
	case m := <-ch:
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("no event came")
		return nil
	}
}

func TestNothingIsReadBeforeTheOpenIsRecorded(t *testing.T) {
	server := bustest.StartProcess(t)
	n := startNode(t, server.URL)
	recorded(t, n, "")
	events := subscribeEvents(t, server.URL)
	c, s := n.open(t)
	<-s.room
	if c.Recording() {
		t.Error("still recording after Room")
	}
	if m := next(t, events); m.Subject != "holdfast.default.open."+c.ID().String() {
		t.Errorf("first event on %s", m.Subject)
	}
}

func TestWithoutJetStreamThereIsNoRecord(t *testing.T) {
	server := bustest.StartProcess(t, "--jetstream=false")
	n := startNode(t, server.URL)
	if err := n.bus.OpenLife(t.Context(), LifeConfig{Node: n.Node()}); !errors.Is(err, ErrNoJetStream) {
		t.Errorf("%v, want %v", err, ErrNoJetStream)
	}
}

func TestSurvivorPublishesTheClosesOfADeadNode(t *testing.T) {
	t.Parallel() // it waits most of the time
	server := bustest.StartProcess(t)
	dead, survivor := startNode(t, server.URL), startNode(t, server.URL)
	recorded(t, dead, "")
	recorded(t, survivor, "")
	events := subscribeEvents(t, server.URL)
	lost, s := dead.open(t)
	<-s.room
	ended, s := dead.open(t)
	<-s.room
	ended.Closed(hub.End{Code: 1000, SentCode: 1000, WasClean: true, Cause: hub.CausePeerClose})
	for range 3 {
		next(t, events)
	}
	dead.abandonLife(t)
	m := next(t, events)
	for strings.HasSuffix(m.Subject, ended.ID().String()) { // a repeat, which is allowed
		m = next(t, events)
	}
	if m.Subject != "holdfast.default.close."+lost.ID().String() {
		t.Fatalf("event on %s", m.Subject)
	}
	for _, want := range []string{`"cause":"NODE_LOST"`, `"code":1006`, `"id":"` + lost.ID().String() + `"`, `"endpoint":"/chat"`} {
		if !strings.Contains(string(m.Data), want) {
			t.Errorf("close without %s: %s", want, m.Data)
		}
	}
	if seq := m.Header.Get(HeaderSeq); seq != "" {
		t.Errorf("Seq %s, although nobody knows it", seq)
	}
}

// Opens and closes are recorded many at a time, and no more than one message of the server can carry.
func TestRecordFitsIntoASmallMaxPayload(t *testing.T) {
	for _, limit := range []int{4 << 10, 64 << 10} {
		server := bustest.StartProcess(t, maxPayload(t, limit)...)
		n := startNode(t, server.URL)
		recorded(t, n, "")
		const opens = 3000
		conns := make([]*hub.Conn, opens)
		for i := range conns {
			conns[i], _ = n.open(t)
		}
		for _, c := range conns {
			c.Closed(hub.End{Code: 1000, Cause: hub.CausePeerClose})
		}
		eventually(t, "all are published", func() bool { return n.bus.Stats().Publisher.Confirmed == 2*opens })
	}
}

func TestFrozenNodeKeepsMessagesBack(t *testing.T) {
	t.Parallel() // it waits most of the time
	server := bustest.StartProcess(t)
	n := startNode(t, server.URL)
	frozen := recorded(t, n, "")
	c, s := n.open(t)
	<-s.room
	server.Freeze()
	if !<-frozen {
		t.Fatal("thawed before it froze")
	}
	if c.Message(hub.Text, []byte("hello")) {
		t.Error("a frozen node took a message")
	}
	if _, err := n.Lookup(c.ID().String()); !errors.Is(err, hub.ErrBusAway) {
		t.Errorf("Lookup on a frozen node: %v", err)
	}
	server.Thaw()
	if <-frozen {
		t.Fatal("froze twice")
	}
	<-s.room
	if !c.Message(hub.Text, []byte("hello")) {
		t.Error("a node that thawed refuses a message")
	}
}

// A server that lost its last writes costs a node whose lease still runs nothing.
func TestNodeOutlivesAnOlderState(t *testing.T) {
	server := bustest.StartProcess(t)
	n := startNode(t, server.URL)
	err := n.bus.OpenLife(t.Context(), LifeConfig{
		Node: n.Node(), Lease: time.Minute, Renew: testLease / 5, EachOpen: n.EachOpen,
		Frozen: func(bool) { t.Error("frozen") }, Claimed: func() { t.Error("claimed") },
		Healthy: func(hub.NodeID) bool { return false }, Gone: func(hub.NodeID) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.abandonLife(t) })
	server.Kill()
	putBack := server.Keep()
	server.Start()
	before, s := n.open(t)
	<-s.room // recorded, and lost now
	server.Kill()
	putBack()
	server.Start()
	after, s := n.open(t)
	<-s.room
	for _, c := range []*hub.Conn{after, before} {
		eventually(t, "the connection is in the record", func() bool {
			return strings.Contains(lifeRecord(t, n), keyOf(c.ID()))
		})
	}
}

// lifeRecord is the whole record of a node.
func lifeRecord(t testing.TB, n *node) string {
	t.Helper()
	log := n.bus.life.Load().log
	last, err := log.Last(t.Context(), n.Node())
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	err = log.Read(t.Context(), n.Node(), last.Seq, func(m life.Message) error {
		_, err := all.Write(m.Data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestEarlierProcessOfTheInstanceIsRecovered(t *testing.T) {
	t.Parallel() // it waits most of the time
	server := bustest.StartProcess(t)
	events := subscribeEvents(t, server.URL)
	before := startNode(t, server.URL)
	recorded(t, before, "disk")
	c, s := before.open(t)
	<-s.room
	next(t, events)
	before.abandonLife(t)
	after := startNode(t, server.URL)
	recorded(t, after, "disk")
	if m := next(t, events); m.Subject != "holdfast.default.close."+c.ID().String() {
		t.Errorf("event on %s", m.Subject)
	}
}

// Other nodes are told of the record from the moment they have met this one, which is before it is open (the race
// detector fails this test).
func TestStatsOfTheRecordMayBeAskedForWhileItIsOpened(t *testing.T) {
	server := bustest.StartProcess(t)
	n := startNode(t, server.URL)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for !n.bus.LifeStats().Enabled {
			runtime.Gosched()
		}
	}()
	recorded(t, n, "")
	<-asked
}

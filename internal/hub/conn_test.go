package hub_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
)

func TestEventsAreCountedAndOrdered(t *testing.T) {
	h, p := node()
	c, s := open(t, h, &hub.Endpoint{Path: "/e", Namespace: "ns", PingEvents: true, PongEvents: true})
	c.Message(hub.Text, []byte("a"))
	c.Ping([]byte("b"))
	c.Message(hub.Binary, []byte("c"))
	c.Pong([]byte("d"))
	c.Writable()
	s.End(hub.End{Code: 1001, Cause: hub.CausePeerClose})
	if got := story(p.Of(c)); got != "open1 message2a ping2b message3c pong3d writable3 close4" {
		t.Errorf("events %s", got)
	}
	events := p.Events()
	info, closed := events[0].Info, events[6].Closed
	if info.ID != c.ID() || info.Seq != 1 || info.Endpoint != "/e" || info.Namespace != "ns" {
		t.Errorf("open event %+v", info)
	}
	if closed.ID != c.ID() || closed.End.Code != 1001 || closed.Traffic.MessagesIn != 2 || closed.Traffic.BytesIn != 2 {
		t.Errorf("close event %+v", closed)
	}
	if events[1].Opcode != hub.Text || events[3].Opcode != hub.Binary {
		t.Error("opcodes are mixed up")
	}
}

func TestControlEventsOnlyWhereWanted(t *testing.T) {
	h, p := node()
	c, _ := open(t, h, chat)
	if !c.Ping(nil) || !c.Pong(nil) {
		t.Error("what nobody wants was refused")
	}
	if got := story(p.Of(c)); got != "open1" {
		t.Errorf("events %s", got)
	}
}

// A message that the bus had no room for is tried again and has the number it would have had.
func TestBusyBusKeepsTheSeq(t *testing.T) {
	h, p := node()
	c, s := open(t, h, &hub.Endpoint{Path: "/e", Namespace: "ns", PingEvents: true, PongEvents: true})
	p.Fill()
	if c.Message(hub.Text, []byte("a")) || c.Ping(nil) || c.Pong(nil) {
		t.Fatal("taken by a full bus")
	}
	if in := c.Info(); in.Seq != 1 || in.Traffic.MessagesIn != 0 {
		t.Errorf("a refused message counts: %+v", in)
	}
	c.Writable() // cannot be held back
	p.Drain()
	if n := s.Record().Rooms; n != 3 {
		t.Errorf("told of room %d times", n)
	}
	if !c.Message(hub.Text, []byte("a")) {
		t.Fatal("refused by an empty bus")
	}
	p.Fill()
	s.End(hub.End{}) // cannot be held back either
	if got := story(p.Of(c)); got != "open1 writable1 message2a close3" {
		t.Errorf("events %s", got)
	}
}

func TestNothingFollowsTheCloseEvent(t *testing.T) {
	h, p := node()
	c, s := open(t, h, &hub.Endpoint{Path: "/e", Namespace: "ns", PingEvents: true, PongEvents: true})
	s.End(hub.End{})
	if !c.Message(hub.Text, nil) || !c.Ping(nil) || !c.Pong(nil) {
		t.Error("a socket that has ended is made to wait")
	}
	c.Writable()
	c.Closed(hub.End{Code: 4000})
	if got := story(p.Of(c)); got != "open1 close2" {
		t.Errorf("events %s", got)
	}
}

// Whoever ends a connection, and however many at once: one close event, and everyone who waits hears
// of the same end once.
func TestOneCloseEventWhoeverEndsIt(t *testing.T) {
	h, p := node()
	for range 200 {
		c, s := open(t, h, chat)
		var heard sync.Map
		var all sync.WaitGroup
		closers := 0
		for i := range 4 {
			all.Go(func() { c.Terminate() })
			all.Go(func() { s.End(hub.End{Code: 1000, Cause: hub.CausePeerClose}) })
			all.Go(func() { c.Closed(hub.End{Code: 1006, Cause: hub.CauseTransportError}) })
			all.Go(func() { c.Message(hub.Text, nil) })
			all.Add(1)
			err := c.Close(1000, "", hub.CauseBackendClose, nil, func(closed *hub.Closed) {
				if _, twice := heard.LoadOrStore(i, closed); twice {
					t.Error("told twice")
				}
				all.Done()
			})
			if err != nil {
				wantReason(t, err, hub.ConnectionNotFound)
				all.Done()
			} else {
				closers++
			}
		}
		all.Wait()
		var last *hub.Closed
		seq := uint64(0)
		for _, e := range p.Of(c) {
			if last != nil {
				t.Fatalf("%s after the close event", e.Kind)
			}
			if seq++; e.Seq != seq {
				t.Fatalf("event %d has seq %d", seq, e.Seq)
			}
			last = e.Closed
		}
		heard.Range(func(_, closed any) bool {
			if closers--; closed != any(last) {
				t.Error("told of another end")
			}
			return true
		})
		if last == nil || closers != 0 {
			t.Fatalf("last %v, %d were not told", last, closers)
		}
	}
	if st := h.Stats(); st.Connections != 0 || st.Opened != 200 {
		t.Errorf("stats %+v", st)
	}
}

func TestCloseIsToldOfTheEnd(t *testing.T) {
	h, p := node()
	c, s := open(t, h, chat)
	told := make(chan *hub.Closed, 1)
	if err := c.Close(4000, "bye", hub.CauseBackendClose, nil, func(closed *hub.Closed) {
		if got := story(p.Of(c)); got != "open1 close2" {
			t.Errorf("told before the event: %s", got)
		}
		told <- closed
	}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.Record().Closes); got != "[{4000 bye BACKEND_CLOSE}]" {
		t.Errorf("closes %s", got)
	}
	s.End(hub.End{Code: 4001})
	if closed := <-told; closed.End.Code != 4001 {
		t.Errorf("told %+v", closed)
	}
	wantReason(t, c.Close(1000, "", hub.CauseBackendClose, nil, func(*hub.Closed) {}), hub.ConnectionNotFound)
}

func TestEventsOfManyGoroutinesHaveNoGaps(t *testing.T) {
	h, p := node()
	c, _ := open(t, h, chat)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				c.Message(hub.Text, []byte("x"))
			}
		})
	}
	all.Wait()
	for i, e := range p.Of(c) {
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d has seq %d", i+1, e.Seq)
		}
	}
	if in := c.Info(); in.Seq != 801 || in.Traffic.MessagesIn != 800 || in.Traffic.BytesIn != 800 {
		t.Errorf("info %+v", in)
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	h, p := node()
	c, s := open(t, h, &hub.Endpoint{Path: "/e", Namespace: "ns", EventAttributes: []string{"b", "none", "a"}})
	text := func(s string) *string { return &s }
	if _, err := c.Update(hub.Update{Set: map[string]string{"a": "1", "b": "2"}, User: text("ann")}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		update hub.Update
		reason hub.Reason
	}{
		"attributes": {hub.Update{Set: map[string]string{"c": strings.Repeat("x", hub.MaxAttributes)}, User: text("bob"), Remove: []string{"a"}}, hub.InvalidAttributes},
		"name":       {hub.Update{Set: map[string]string{"": "x"}, User: text("bob")}, hub.InvalidAttributes},
		"both":       {hub.Update{Set: map[string]string{"b": "3"}, Remove: []string{"b"}, User: text("bob")}, hub.InvalidAttributes},
		"user":       {hub.Update{Set: map[string]string{"c": "3"}, User: text("\x7f")}, hub.InvalidUser},
		"expiry":     {hub.Update{Set: map[string]string{"c": "3"}, User: text("bob"), Expire: &longAgo}, hub.InvalidExpireTime},
	} {
		_, err := c.Update(tt.update)
		wantReason(t, err, tt.reason)
		if in := c.Info(); in.User != "ann" || fmt.Sprint(in.Attributes) != "[{a 1} {b 2}]" || !in.ExpireTime.IsZero() {
			t.Errorf("%s: %+v", name, in)
		}
	}
	c.Message(hub.Text, nil)
	if e := p.Of(c)[1]; e.User != "ann" || fmt.Sprint(e.Attributes) != "[{b 2} {a 1}]" {
		t.Errorf("message event of %q with %v", e.User, e.Attributes)
	}
	s.SetState(func(st *hub.SocketState) { st.Closing = true })
	_, err := c.Update(hub.Update{})
	wantReason(t, err, hub.ConnectionClosing)
	s.End(hub.End{})
	_, err = c.Update(hub.Update{})
	wantReason(t, err, hub.ConnectionNotFound)
}

func TestAttributesFillTheLimit(t *testing.T) {
	h, _ := node()
	c, _ := open(t, h, chat)
	half := strings.Repeat("x", hub.MaxAttributes/2-1)
	for _, name := range []string{"a", "b"} {
		if _, err := c.Update(hub.Update{Set: map[string]string{name: half}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Update(hub.Update{Set: map[string]string{"c": ""}})
	wantReason(t, err, hub.InvalidAttributes)
	if _, err := c.Update(hub.Update{Set: map[string]string{"c": half}, Remove: []string{"a"}}); err != nil {
		t.Errorf("room that is made by the same update: %v", err)
	}
}

func TestStatsSumUp(t *testing.T) {
	h, _ := node()
	c, s := open(t, h, chat)
	_, other := open(t, h, chat)
	c.Message(hub.Text, []byte("abc"))
	if _, err := c.Send(&hub.Message{Opcode: hub.Text, Payload: []byte("de")}, "", nil); err != nil {
		t.Fatal(err)
	}
	other.Pause()
	want := hub.Traffic{MessagesIn: 1, BytesIn: 3, MessagesOut: 1, BytesOut: 2}
	if st := h.Stats(); st.Connections != 2 || st.Paused != 1 || st.Buffered != 2 || st.Opened != 2 || st.Traffic != want {
		t.Errorf("stats %+v", st)
	}
	s.End(hub.End{Cause: hub.CauseProtocolFault, Fault: "EXPECTED_MASK"})
	st := h.Stats()
	if st.Connections != 1 || st.Traffic != want || st.Causes[hub.CauseProtocolFault] != 1 || st.Faults["EXPECTED_MASK"] != 1 {
		t.Errorf("stats %+v", st)
	}
}

// Each namespace has its part, also of what has ended.
func TestStatsByNamespace(t *testing.T) {
	h, _ := node()
	c, s := open(t, h, chat)
	other, _ := open(t, h, &hub.Endpoint{Path: "/other", Namespace: "other"})
	c.Message(hub.Text, []byte("abc"))
	other.Message(hub.Text, []byte("a"))
	other.Message(hub.Text, []byte("b"))
	want := func(connections uint64) {
		t.Helper()
		st := h.Stats()
		ours, theirs := st.Namespaces[chat.Namespace], st.Namespaces["other"]
		if len(st.Namespaces) != 2 || ours.Connections != connections || theirs.Connections != 1 ||
			ours.Traffic != (hub.Traffic{MessagesIn: 1, BytesIn: 3}) || theirs.Traffic != (hub.Traffic{MessagesIn: 2, BytesIn: 2}) {
			t.Errorf("stats %+v, %+v", ours, theirs)
		}
	}
	want(1)
	s.End(hub.End{})
	want(0)
}

// A socket is told whose it is: at the open, and with each update that changes it.
func TestSocketKnowsItsUser(t *testing.T) {
	h, _ := node()
	i, err := hub.NewIdentity("ann", nil, nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	s := &hubtest.Socket{}
	c, err := s.OpenAs(h.Expect(chat), i)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"ann", "bob", ""} {
		if _, err := c.Update(hub.Update{User: &user}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Record().Users; !slices.Equal(got, []string{"ann", "bob", ""}) {
		t.Errorf("told %q", got)
	}
}

// A backend that has seen the close event, or whose Close was answered, does not find the connection.
func TestEndedConnectionIsNotFound(t *testing.T) {
	var h *hub.Hub
	seen := 0
	found := func(id string) {
		t.Helper()
		seen++
		_, err := h.Lookup(id)
		wantReason(t, err, hub.ConnectionNotFound)
	}
	h = hub.New(hub.NewNodeID(), publisherFunc(func(e hub.Event) bool {
		if e.Kind == hub.KindClose {
			found(e.Conn.ID().String())
		}
		return true
	}))
	c, s := open(t, h, chat)
	if err := c.Close(1000, "", hub.CauseBackendClose, nil, func(closed *hub.Closed) { found(closed.ID.String()) }); err != nil {
		t.Fatal(err)
	}
	s.End(hub.End{})
	if seen != 2 {
		t.Errorf("told %d times", seen)
	}
}

// publisherFunc is a publisher that sees each event while it is published.
type publisherFunc func(hub.Event) bool

func (f publisherFunc) Publish(e hub.Event) bool { return f(e) }

package bus

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// fakeGroups are groups whose members a test sets.
type fakeGroups struct {
	interest hub.Interest
	got      chan string // "<opcode> <namespace> <group> <payload> <except>"

	mu      sync.Mutex
	members map[string]bool // by "<namespace> <group>"
}

func (g *fakeGroups) HasMembers(namespace, group string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[namespace+" "+group]
}

func (g *fakeGroups) Publish(namespace, group string, m *hub.Message, except []string) {
	g.got <- strings.Join([]string{m.Opcode.String(), namespace, group, string(m.Payload), strings.Join(except, "+")}, " ")
}

// set makes a group have members, or none.
func (g *fakeGroups) set(namespace, group string, has bool) {
	g.mu.Lock()
	g.members[namespace+" "+group] = has
	g.mu.Unlock()
	g.interest.Changed(namespace, group)
}

func serveGroups(t testing.TB, n *node) *fakeGroups {
	t.Helper()
	g := &fakeGroups{interest: n.bus.Interest(), got: make(chan string, 10_000), members: make(map[string]bool)}
	n.bus.ServeGroups(g)
	return g
}

// subscribed waits until the server knows that many groups of a node.
func subscribed(t testing.TB, n *node, want int) {
	t.Helper()
	eventually(t, "subscriptions", func() bool { return n.bus.Stats().Groups.Subscribed == want })
	if err := n.bus.inbound.nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestGroupMessagesReachNodesWithMembers(t *testing.T) {
	url := bustest.Server(t)
	nc := bustest.Dial(t, url)
	a, b := startNode(t, url), startNode(t, url)
	ga, gb := serveGroups(t, a), serveGroups(t, b)
	ga.set("default", "room", true)
	gb.set("default", "room", true)
	gb.set("chat", "Room_=:@-1", true)
	subscribed(t, a, 1)
	subscribed(t, b, 2)
	publish := func(subject, text string) {
		t.Helper()
		if err := nc.Publish(subject, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	publish("holdfast-in.default.group.room", "1")
	publish("holdfast-in.chat.group.Room_=:@-1", "2")
	for _, want := range []string{"text default room 1 ", "text chat Room_=:@-1 2 "} {
		if got := <-gb.got; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := <-ga.got; got != "text default room 1 " {
		t.Errorf("%q", got)
	}

	// Without members a node hears nothing, and with one again it does.
	ga.set("default", "room", false)
	subscribed(t, a, 0)
	publish("holdfast-in.default.group.room", "3")
	<-gb.got
	ga.set("default", "room", true)
	subscribed(t, a, 1)
	publish("holdfast-in.default.group.room", "4")
	if got := <-ga.got; got != "text default room 4 " {
		t.Errorf("%q", got)
	}
	if st := a.bus.Stats().Groups; st.Delivered != 2 {
		t.Errorf("%+v", st)
	}
}

func TestGroupMessagesAreChecked(t *testing.T) {
	url := bustest.Server(t)
	nc := bustest.Dial(t, url)
	n := startNode(t, url)
	g := serveGroups(t, n)
	g.set("default", "room", true)
	subscribed(t, n, 1)
	c1, _ := n.open(t)
	c2, _ := n.open(t)
	id1, id2 := c1.ID().String(), c2.ID().String()
	header := func(name string, values ...string) nats.Header { return nats.Header{name: values} }
	for name, test := range map[string]struct {
		header nats.Header
		data   string
		want   string // empty: refused
	}{
		"text":             {nil, "grüß dich", "text default room grüß dich "},
		"binary":           {nil, "\xff", "binary default room \xff "},
		"declared binary":  {header(HeaderOpcode, "binary"), "x", "binary default room x "},
		"declared text":    {header(HeaderOpcode, "text"), "\xff", ""},
		"unknown opcode":   {header(HeaderOpcode, "TEXT"), "x", ""},
		"except":           {header(HeaderExcept, id1+", "+id2), "x", "text default room x " + id1 + "+" + id2},
		"except by spaces": {header(HeaderExcept, id1+" "+id2), "x", "text default room x " + id1 + "+" + id2},
		"except repeated":  {header(HeaderExcept, id1, id2), "x", "text default room x " + id1 + "+" + id2},
		"except malformed": {header(HeaderExcept, id1+",nobody"), "x", ""},
		"except many":      {header(HeaderExcept, strings.Repeat(id1+",", 1000)), "x", "text default room x " + strings.TrimSuffix(strings.Repeat(id1+"+", 1000), "+")},
		"except too many":  {header(HeaderExcept, strings.Repeat(id1+" ", 1001)), "x", ""},
		"largest":          {nil, strings.Repeat("x", 1<<20), "text default room " + strings.Repeat("x", 1<<20) + " "},
		"too large":        {nil, strings.Repeat("x", 1<<20+1), ""},
	} {
		if err := nc.PublishMsg(&nats.Msg{Subject: "holdfast-in.default.group.room", Header: test.header, Data: []byte(test.data)}); err != nil {
			t.Fatal(err)
		}
		if test.want == "" {
			continue
		}
		if got := <-g.got; got != test.want {
			t.Errorf("%s: %.200q", name, got)
		}
	}
	want := map[hub.Reason]uint64{hub.InvalidMessage: 2, hub.InvalidConnectionID: 1, hub.InvalidBatch: 1, hub.MessageTooLarge: 1}
	eventually(t, "refusals", func() bool { return maps.Equal(n.bus.Stats().Groups.Refused, want) })
	if len(g.got) != 0 {
		t.Errorf("delivered %q", <-g.got)
	}
}

// Names that would reach beyond one group are not subscribed to.
func TestGroupSubjects(t *testing.T) {
	s, err := NewSubjects("e", "in.x")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range [][2]string{{"default", "room"}, {"a-b_0", "Room_=:@-1"}, {"n", strings.Repeat("g", 128)}} {
		subject, ok := s.Group(name[0], name[1])
		namespace, group, parsed := s.ParseGroup(subject)
		if diff := cmp.Diff(name, [2]string{namespace, group}); !ok || !parsed || diff != "" {
			t.Errorf("%s: %t %t %s", subject, ok, parsed, diff)
		}
	}
	for _, name := range [][2]string{{"*", "room"}, {"default", "*"}, {"default", ">"}, {"default", "a.b"}, {"default", ""}, {"", "room"},
		{"Default", "room"}, {"default", "a b"}, {"default", "ä"}, {"default", strings.Repeat("g", 129)}, {strings.Repeat("n", 33), "room"}} {
		if subject, ok := s.Group(name[0], name[1]); ok {
			t.Errorf("%s", subject)
		}
		if _, _, ok := s.ParseGroup("in.x." + name[0] + ".group." + name[1]); ok {
			t.Errorf("%q parsed", name)
		}
	}
	n := startNode(t, bustest.Server(t))
	g := serveGroups(t, n)
	g.set("*", ">", true)
	eventually(t, "refusal", func() bool { return n.bus.Stats().Groups.Failed == 1 })
}

// Changes that fold into one leave what is true at the end.
func TestGroupInterestFollowsQuickChanges(t *testing.T) {
	url := bustest.Server(t)
	n := startNode(t, url)
	g := serveGroups(t, n)
	names := []string{"a", "b", "c"}
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			for i := range 1001 {
				g.set("default", name, i%2 == 0)
			}
		})
	}
	wg.Wait()
	subscribed(t, n, len(names))
	nc := bustest.Dial(t, url)
	for _, name := range names {
		if err := nc.Publish("holdfast-in.default.group."+name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for range names {
		got = append(got, <-g.got)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"text default a a ", "text default b b ", "text default c c "}, got); diff != "" {
		t.Error(diff)
	}
}

// Messages that come too fast are dropped and counted; replies go on meanwhile, and after a reconnect the
// groups are heard again.
func TestSlowGroupsHoldUpNothing(t *testing.T) {
	url := bustest.Server(t)
	proxy := bustest.NewProxy(t, url)
	n := startNode(t, proxy.URL)
	r := serve(t, n)
	g := serveGroups(t, n)
	g.got = make(chan string) // the first message holds the worker
	g.set("default", "room", true)
	subscribed(t, n, 1)
	nc := bustest.Dial(t, url)
	const room = maxGroupBytes >> 20
	large := bytes.Repeat([]byte{0xff}, 1<<20)
	for range room + 3 {
		if err := nc.Publish("holdfast-in.default.group.room", large); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "overflow", func() bool { return n.bus.Stats().Groups.Overflow == 3 })
	if err := nc.Publish("holdfast-in.default.reply."+string(n.Node())+".x.t", []byte("y")); err != nil {
		t.Fatal(err)
	}
	<-r.got
	for range room {
		<-g.got
	}
	proxy.Cut()
	eventually(t, "connected again", func() bool { return n.bus.Stats().Inbound.Reconnects == 1 && n.bus.Connected() })
	if err := n.bus.inbound.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish("holdfast-in.default.group.room", []byte("back")); err != nil {
		t.Fatal(err)
	}
	if got := <-g.got; got != "text default room back " {
		t.Errorf("%.100q", got)
	}
}

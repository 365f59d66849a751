//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// scene is a small run that went well, for tests to spoil.
type scene struct {
	*play
	judge *judge
}

const (
	good = "nodeaaaaaa-k1" // closed by its client
	lost = "nodebbbbbb-k2" // of a node that was killed

)

func newScene() *scene {
	p := &play{ledger: newLedger(), stage: &stage{}, backend: &backend{}, crowd: newCrowd([brokers]string{}, time.Second), out: io.Discard}
	p.settings = settings{lease: 10 * time.Second, strict: true}
	for i, f := range []map[string]*fate{{"nodeaaaaaa": {}}, {"nodebbbbbb": {killed: time.Now()}}, {}} {
		p.stage.brokers[i] = &broker{number: i, fates: f}
	}
	now := time.Now()
	p.excuses = []excuse{{broker: 1, from: now.Add(-time.Second), to: now.Add(time.Hour)}}
	sc := &scene{play: p, judge: &judge{play: p}}
	sc.judge.visits = []visit{
		{tag: "1.0", broker: 0, begin: now, end: now, sent: 2, left: true, how: closedWith(1000), id: good},
		{tag: "2.0", broker: 1, begin: now, end: now, sent: 2, how: errors.New("reset"), id: lost},
	}
	sc.receive(1, good)
	p.backend.sends = []send{{number: 1, id: good, confirmation: holdfastv1.Confirmation_RECEIVED, code: codes.OK}}
	p.kills = []killing{{soon: true, connections: 1, after: []time.Duration{11 * time.Second}}}
	return sc
}

func (sc *scene) receive(number int, id string) {
	v := &sc.judge.visits[0]
	if id == lost {
		v = &sc.judge.visits[1]
	}
	sc.crowd.receive(v, fmt.Appendf(nil, "%s %d", id, number))
}

// event is what is published of a connection in order.
type event struct {
	kind, id, seq, data string
	session             int32
	witnesses           []int // who see it; nil: everybody
	unconfirmed         bool
}

func story() []event {
	return []event{
		{kind: "open", id: good, seq: "1", data: `{"url":"/?n=1.0"}`},
		{kind: "open", id: lost, seq: "1", data: `{"url":"/?n=2.0"}`},
		{kind: "message", id: good, seq: "2", data: "1.0 0 ..."},
		{kind: "message", id: good, seq: "3", data: "1.0 1 ..."},
		{kind: "message", id: lost, seq: "2", data: "2.0 0 ..."},
		{kind: "close", id: good, seq: "4", data: `{"cause":"PEER_CLOSE","messages_in":"2"}`},
		{kind: "close", id: lost, data: `{"cause":"NODE_LOST"}`, session: 9},
	}
}

func (sc *scene) tell(events []event) *verdict {
	for _, e := range events {
		s := sight{from: published, session: max(e.session, 1), subject: eventPrefix + "default." + e.kind + "." + e.id, seq: e.seq, data: []byte(e.data)}
		m := sc.ledger.enter(s)
		if !e.unconfirmed {
			sc.ledger.confirm([]mark{m})
		}
		if e.witnesses == nil {
			e.witnesses = []int{0, 1, 2}
		}
		for _, w := range e.witnesses {
			s.from = w
			sc.ledger.enter(s)
		}
	}
	return sc.judge.judge()
}

func TestLedgerFindsNothingWrongWithAGoodRun(t *testing.T) {
	sc := newScene()
	v := sc.tell(story())
	if len(v.Broken) > 0 || v.Opens != 2 || v.Closes != 2 || v.Messages != 3 || v.Confirmed != 1 {
		t.Errorf("%+v", v)
	}
}

// What promise 3 allows is counted, and no more: an unconfirmed event again, over another NATS connection.
func TestLedgerAllowsRepeatsOverAnotherConnection(t *testing.T) {
	sc := newScene()
	events := story()
	repeat := events[3]
	repeat.session = 2
	closeAgain := events[6]
	v := sc.tell(append(append(events[:5:5], repeat), append(events[5:], closeAgain)...))
	// The close of the client follows on the old connection, which NATS keeps in order.
	if len(v.Broken) > 0 || v.Repeats != 6 {
		t.Errorf("%d repeats, broken %q", v.Repeats, v.Broken)
	}
}

// A ledger that cannot find a fault proves nothing.
func TestLedgerFindsEveryFault(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(sc *scene, events []event) []event
		want  string
	}{
		"no close": {func(_ *scene, e []event) []event { return e[:6] }, "never closed"},
		"two different closes": {func(_ *scene, e []event) []event {
			return append(e, event{kind: "close", id: good, data: `{"cause":"NODE_LOST"}`, session: 9})
		}, "2 different closes"},
		"lost, but alive": {func(sc *scene, e []event) []event {
			sc.stage.brokers[1].fates["nodebbbbbb"] = &fate{}
			return e
		}, "its node did not die"},
		"close before open": {func(_ *scene, e []event) []event { return append(e[6:7], e[:6]...) }, "close before the open"},
		"no open":           {func(_ *scene, e []event) []event { return append(e[1:3:3], e[5]) }, "Seq 1 is missing"},
		"gap":               {func(_ *scene, e []event) []event { return append(e[:2:2], e[3:]...) }, "published Seq 3 after 1"},
		"turned around": {func(_ *scene, e []event) []event {
			e[2], e[3] = e[3], e[2]
			return e
		}, "saw Seq 2 after 3"},
		"twice on one connection": {func(_ *scene, e []event) []event { return append(e[:4:4], e[3:]...) }, "published twice"},
		"other bytes": {func(_ *scene, e []event) []event {
			other := e[3]
			other.data, other.session = "1.0 1 ,,,", 2
			return append(e[:5:5], append([]event{other}, e[5:]...)...)
		}, "two different events"},
		"not confirmed":       {func(_ *scene, e []event) []event { e[5].unconfirmed = true; return e }, "not confirmed by any NATS server"},
		"another's message":   {func(_ *scene, e []event) []event { e[2].data = "2.0 0 ..."; return e }, "Seq 2 is"},
		"missed, undisturbed": {func(_ *scene, e []event) []event { e[3].witnesses = []int{0, 1}; return e }, "subscribers missed 1 events"},
		"message lost":        {func(sc *scene, e []event) []event { sc.judge.visits[0].sent = 3; return e }, "sent 3 messages and left in order"},
		"counters wrong":      {func(_ *scene, e []event) []event { e[5].data = `{"cause":"PEER_CLOSE","messages_in":"3"}`; return e }, "counts 3 messages"},
		"received, and was not": {func(sc *scene, e []event) []event {
			sc.backend.sends[0].number = 2
			return e
		}, "confirmed as received, and was not"},
		"written, and lost in order": {func(sc *scene, e []event) []event {
			sc.judge.visits[0].left, sc.judge.visits[0].how = false, closedWith(1012)
			sc.excuses = append(sc.excuses, excuse{broker: 0, from: time.Now().Add(-time.Hour), to: time.Now().Add(time.Hour)})
			sc.backend.sends[0] = send{number: 2, id: good, confirmation: holdfastv1.Confirmation_WRITTEN}
			return e
		}, "did not arrive"},
		"arrived twice":  {func(sc *scene, e []event) []event { sc.receive(1, good); return e }, "arrived 2 times"},
		"socket lost":    {func(sc *scene, e []event) []event { sc.excuses = nil; return e }, "lost its connection"},
		"no open event":  {func(sc *scene, e []event) []event { e[0].data = `{"url":"/?n=3.0"}`; return e }, "has no open event"},
		"late closes":    {func(sc *scene, e []event) []event { sc.kills[0].after[0] = 13 * time.Second; return e }, "came later than 12s"},
		"closes missing": {func(sc *scene, e []event) []event { sc.kills[0].connections = 2; return e }, "2 connections of a killed broker, and 1 closes"},
		"no pong":        {func(sc *scene, e []event) []event { sc.judge.silent = []string{"answers no ping"}; return e }, "answers no ping"},
		"unknown node":   {func(sc *scene, e []event) []event { sc.stage.brokers[0].fates = nil; return e }, "no broker has said"},
	} {
		t.Run(name, func(t *testing.T) {
			sc := newScene()
			v := sc.tell(test.spoil(sc, story()))
			if !strings.Contains(strings.Join(v.Broken, "\n"), test.want) {
				t.Errorf("broken promises %q, want one with %q", v.Broken, test.want)
			}
		})
	}
}

// Protocol that passes a tap may be cut anywhere.
func TestTapReadsWhatPasses(t *testing.T) {
	const stream = "INFO {}\r\nPING\r\nHPUB holdfast.a.open.b reply 29 31\r\nNATS/1.0\r\nHoldfast-Seq: 7\r\n\r\nhi\r\nPUB x 2\r\n\r\n\r\nPONG\r\n"
	for size := 1; size <= len(stream); size++ {
		var got []string
		s := natsScanner{visit: func(verb string, args []string, header, payload []byte) {
			got = append(got, fmt.Sprintf("%s%v%s%q", verb, args, headerValue(header, "Holdfast-Seq"), payload))
		}}
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			s.feed([]byte(rest[:n]))
			rest = rest[n:]
		}
		const want = `INFO[{}]"" PING[]"" HPUB[holdfast.a.open.b reply 29 31]7"hi" PUB[x 2]"\r\n" PONG[]""`
		if text := strings.Join(got, " "); text != want {
			t.Fatalf("in pieces of %d: %s, want %s", size, text, want)
		}
	}
}

package main_test

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// clients is how many WebSocket clients load the broker.
const clients = 50

// impatient closes a silent client within seconds, so that an outage would show if a connection that is
// not read counted as dead.
const impatient = `
endpoints:
  - path: /
    heartbeat: {interval: 1s, timeout: 5s}
`

// Promise 1: the events of a connection arrive in order, open first, messages as they were sent, close
// last, numbered without gaps.
func TestPromise1Order(t *testing.T) {
	url := bustest.Server(t)
	b := brokertest.Start(t, "--nats-url="+url)
	ledger := newLedger(t, url)
	load := startLoad(t, b, ledger)
	ledger.until("load", func() bool { return ledger.events > 50_000 })
	load.finish()
}

// Promise 3: every event reaches the NATS server at least once and in order, whatever happens to the
// server or to the way there. Nobody is disconnected meanwhile.
func TestPromise3AtLeastOnceToNATS(t *testing.T) {
	t.Parallel() // it waits most of the time
	t.Run("stopped for 10 s", func(t *testing.T) {
		s := newScene(t)
		s.server.Freeze()
		s.eventually("a client that is not read", func() bool { return s.metric("holdfast_outbox_waiting_connections") > 0 })
		time.Sleep(10 * time.Second) // the outage itself: longer than every time limit of the heartbeat
		s.server.Thaw()
		s.more()
		s.load.finish()
	})
	t.Run("connection cut", func(t *testing.T) {
		s := newScene(t)
		for i := range 5 {
			s.proxy.Cut()
			s.eventually("reconnect", func() bool { return s.metric("holdfast_bus_reconnects_total") > float64(i) })
			s.more()
		}
		s.load.finish()
	})
	t.Run("terminated and started again", func(t *testing.T) {
		s := newScene(t)
		s.restart(s.server.Terminate)
		s.load.finish()
	})
	t.Run("killed and started again", func(t *testing.T) {
		s := newScene(t)
		s.restart(s.server.Kill)
		if s.metric("holdfast_events_republished_total") == 0 {
			t.Error("nothing was published again: the test disturbed nothing")
		}
		s.load.finish()
	})
}

// Promise 4: a message that the bus cannot carry closes its connection with 1009 and says so.
func TestPromise4NothingUnsendableIsSwallowed(t *testing.T) {
	big := bustest.StartProcess(t)
	small := bustest.StartProcess(t, "--config="+natsConfig(t, "max_payload: 65536"))
	proxy := bustest.NewProxy(t, big.URL)
	b := brokertest.Start(t, "--nats-url="+proxy.URL)
	events := bustest.Record(t, small.URL, "holdfast.default.close.*")

	// The server that we reconnect to takes less than the limit that clients were accepted with.
	proxy.Redirect(small.URL)
	peer := wstest.Dial(t, b.URL("/"), nil)
	proxy.Cut()
	peer.Send(wstest.Binary(make([]byte, 500_000)))
	peer.ExpectClose(wire.MessageTooBig)
	peer.Send(wstest.Close(wire.MessageTooBig, ""))
	if got := closed(t, events.Wait(1)[0].Data); got.Cause != "MESSAGE_TOO_LARGE" || got.SentCode != 1009 {
		t.Errorf("close event %+v", got)
	}

	// From the start the limit is what fits.
	second := brokertest.Start(t, "--nats-url="+small.URL)
	peer = wstest.Dial(t, second.URL("/"), nil)
	peer.Send(wstest.Binary(make([]byte, 65_000)))
	peer.ExpectClose(wire.MessageTooBig)
	if got := closed(t, events.Wait(2)[1].Data); got.Fault != "UNSUPPORTED_MESSAGE_LENGTH" {
		t.Errorf("close event %+v", got)
	}
}

// scene is a broker under load whose way to NATS is disturbed.
type scene struct {
	t      *testing.T
	server *bustest.Process
	proxy  *bustest.Proxy
	broker *brokertest.Broker
	ledger *ledger
	load   *load
}

func newScene(t *testing.T) *scene {
	// A server that is stopped for 10 s finds, when it wakes, that a write to its subscriber took longer than
	// the 10 s it allows, and cuts the subscriber off: that is NATS's promise, not the one tested here.
	patient := natsConfig(t, `write_deadline: "60s"`)
	s := &scene{t: t, server: bustest.StartProcess(t, "--config="+patient)}
	s.proxy = bustest.NewProxy(t, s.server.URL)
	s.broker = brokertest.Start(t, "--nats-url="+s.proxy.URL, "--nats-outbox=1MiB", brokertest.Config(t, impatient))
	s.ledger = newLedger(t, s.server.URL)
	s.load = startLoad(t, s.broker, s.ledger)
	s.more()
	return s
}

// more waits until events flow.
func (s *scene) more() {
	s.t.Helper()
	target := s.ledger.count() + 5000
	s.ledger.until("events flow", func() bool { return s.ledger.events >= target })
}

// restart ends the server under load and starts it again. What a server has confirmed but not yet given
// to its subscriber dies with it, which no publisher can know; so before it ends, no confirmation
// passes until the subscriber has all that can have been confirmed.
func (s *scene) restart(end func()) {
	s.t.Helper()
	s.proxy.Hold()
	s.eventually("a full outbox", func() bool { return s.metric("holdfast_outbox_waiting_connections") > 0 })
	published := int(s.metric("holdfast_events_published_total"))
	s.ledger.until("all that was published", func() bool { return s.ledger.events >= published })
	end()
	s.proxy.Refuse()
	s.server.Start()
	s.ledger.Connect(s.server.URL)
	s.proxy.Admit()
	s.more()
}

// eventually asks again and again: what a process counts, nobody is told of.
func (s *scene) eventually(what string, met func() bool) {
	s.t.Helper()
	for begin := time.Now(); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > brokertest.Patience {
			s.t.Fatalf("no %s; stderr:\n%s", what, s.broker.Stderr())
		}
	}
}

func (s *scene) metric(name string) float64 {
	s.t.Helper()
	_, body := get(s.t, s.broker.Ops+"/metrics")
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return f
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}

// load is clients that send numbered messages until they are told to stop, and answer pings.
type load struct {
	t       *testing.T
	broker  *brokertest.Broker
	ledger  *ledger
	stop    chan struct{}
	senders sync.WaitGroup
	readers sync.WaitGroup
	sent    atomic.Int64
}

func startLoad(t *testing.T, b *brokertest.Broker, l *ledger) *load {
	ld := &load{t: t, broker: b, ledger: l, stop: make(chan struct{})}
	for range clients {
		peer := wstest.Dial(t, b.URL("/"), nil)
		out := make(chan wstest.Frame, 16) // pongs beside messages: one goroutine writes
		ld.senders.Go(func() { ld.send(peer, out) })
		ld.readers.Go(func() { ld.read(peer, out) })
	}
	return ld
}

// send sends message n with the text n, paced so that the machine has time for everybody.
func (ld *load) send(peer *wstest.Peer, pongs <-chan wstest.Frame) {
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	filler := strings.Repeat(".", 300)
	for n := 0; ; {
		select {
		case <-ld.stop:
			if err := peer.TrySend(wstest.Close(wire.NormalClosure, "")); err != nil {
				ld.t.Errorf("client after %d messages: %v", n, err)
			}
			return
		case pong := <-pongs:
			if err := peer.TrySend(pong); err != nil {
				ld.t.Errorf("client after %d messages: %v", n, err)
				return
			}
		case <-pace.C:
			if err := peer.TrySend(wstest.Text(strconv.Itoa(n) + " " + filler)); err != nil {
				ld.t.Errorf("client after %d messages: %v", n, err)
				return
			}
			n++
			ld.sent.Add(1)
		}
	}
}

// read answers pings, and fails the test when the broker ends the connection by itself.
func (ld *load) read(peer *wstest.Peer, pongs chan<- wstest.Frame) {
	for {
		f, err := peer.TryReceive()
		switch {
		case err != nil:
			ld.t.Errorf("client lost its connection: %v", err)
			return
		case f.Opcode == wire.Ping:
			select {
			case pongs <- wstest.Pong(string(f.Payload)):
			case <-ld.stop:
			}
		case f.Opcode == wire.Close:
			if code, _, _ := wire.ParseClose(f.Payload); code != wire.NormalClosure {
				ld.t.Errorf("client was closed with %d", code)
			}
			return
		}
	}
}

// finish lets every client close, and settles the account.
func (ld *load) finish() {
	ld.t.Helper()
	close(ld.stop)
	ld.senders.Wait()
	ld.readers.Wait()
	ld.ledger.until("a close event for every client", func() bool { return ld.ledger.closed == clients })
	ld.ledger.check(int(ld.sent.Load()))
}

// ledger follows the events of all connections as a subscriber sees them.
type ledger struct {
	*bustest.Recorder

	t        *testing.T
	events   int // distinct
	repeats  int
	messages int
	closed   int
	last     map[string]int // connection: highest Seq
	errors   []string
}

func newLedger(t *testing.T, url string) *ledger {
	l := &ledger{t: t, last: make(map[string]int)}
	l.Recorder = bustest.RecordFunc(t, url, "holdfast.default.>", l.enter)
	return l
}

// enter checks one event: its first occurrence follows the one before without a gap.
func (l *ledger) enter(m *nats.Msg) {
	token := strings.Split(m.Subject, ".")
	kind, id := token[2], token[3]
	seq, err := strconv.Atoi(m.Header.Get("Holdfast-Seq"))
	if err != nil {
		l.fail("%s: Holdfast-Seq: %v", m.Subject, err)
		return
	}
	if seq <= l.last[id] {
		l.repeats++
		return
	}
	if seq != l.last[id]+1 {
		l.fail("%s: Seq %d after %d", m.Subject, seq, l.last[id])
	}
	l.last[id] = seq
	l.events++
	l.enterKind(kind, seq, m)
}

func (l *ledger) enterKind(kind string, seq int, m *nats.Msg) {
	switch kind {
	case "open":
		if seq != 1 {
			l.fail("%s: Seq %d", m.Subject, seq)
		}
	case "message":
		l.messages++
		if n, _, _ := strings.Cut(string(m.Data), " "); n != strconv.Itoa(seq-2) {
			l.fail("%s: Seq %d has message %s", m.Subject, seq, n)
		}
	case "close":
		l.closed++
	}
}

func (l *ledger) fail(format string, args ...any) {
	if len(l.errors) < 10 {
		l.errors = append(l.errors, fmt.Sprintf(format, args...))
	}
}

func (l *ledger) count() (n int) {
	l.Until(func() bool { n = l.events; return true })
	return n
}

func (l *ledger) until(what string, met func() bool) {
	l.t.Helper()
	if !l.Until(met) {
		l.t.Fatalf("no %s: %d events, %d closed, %v", what, l.count(), l.closed, l.errors)
	}
}

func (l *ledger) check(sent int) {
	l.t.Helper()
	l.Until(func() bool { return true })
	l.t.Logf("%d messages sent, %d seen, %d repeats", sent, l.messages, l.repeats)
	for _, e := range l.errors {
		l.t.Error(e)
	}
	if l.messages != sent {
		l.t.Errorf("%d messages sent, %d seen", sent, l.messages)
	}
}

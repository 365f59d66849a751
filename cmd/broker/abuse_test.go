package main_test

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// abuse is a broker with an echo behind it, neighbours who mind their own business, and what the process took before
// anybody attacked.
type abuse struct {
	t      *testing.T
	broker *brokertest.Broker
	before int64
	pinger *neighbour // whose round trip is the broker's alone
	echoer *neighbour // whose round trip is through NATS and a backend
}

// The neighbours have a backend of their own: the attack is on the broker, and the echo of an attacker may be late.
func newAbuse(t *testing.T, endpoint string, args ...string) *abuse {
	url := bustest.Server(t) // not in the broker's process, whose memory counts
	config := "endpoints: [{" + endpoint + "}, {path: /neighbour, namespace: neighbour}]\n"
	b := brokertest.Start(t, append(args, "--nats-url="+url, brokertest.Config(t, config))...)
	for _, namespace := range []string{"default", "neighbour"} {
		nc := bustest.Dial(t, url)
		if _, err := nc.Subscribe("holdfast."+namespace+".message.*", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	a := &abuse{
		t: t, broker: b,
		pinger: moveIn(t, b, "ping", wstest.Ping, wire.Pong),
		echoer: moveIn(t, b, "echo", wstest.Text, wire.Text),
	}
	a.pinger.await(10)
	a.echoer.await(10)
	a.before = a.memory()
	a.pinger.forget()
	a.echoer.forget()
	return a
}

// over ends the attack, as far as the neighbours are concerned, and looks at how they were served. The echo must come
// but may be late: messages of attackers are on the way to NATS and to the backend before it.
func (a *abuse) over() {
	a.t.Helper()
	a.pinger.inTime()
	a.echoer.report()
}

// memory is the resident set of the broker's process, which it tells of itself from /proc.
func (a *abuse) memory() int64 {
	a.t.Helper()
	value, err := strconv.ParseFloat(metric(a.t, a.broker, "process_resident_memory_bytes"), 64)
	if err != nil {
		a.t.Fatal(err)
	}
	return int64(value)
}

// within fails the test if the process took more than so much for the attack. Call it while that goes on.
func (a *abuse) within(bound int64) {
	a.t.Helper()
	a.pinger.await(10)
	grown := a.memory() - a.before
	a.t.Logf("%d KiB above the %d KiB before, %d KiB allowed", grown>>10, a.before>>10, bound>>10)
	if grown > bound {
		a.t.Errorf("the attack takes %d KiB, want %d KiB at most", grown>>10, bound>>10)
	}
}

// attackers run attack on so many connections at once, until stop is called.
func (a *abuse) attackers(n int, attack func(*wstest.Peer) error) (stop func()) {
	var running sync.WaitGroup
	var peers []*wstest.Peer
	for range n {
		p := wstest.Dial(a.t, a.broker.URL("/"), nil)
		peers = append(peers, p)
		running.Go(func() {
			for attack(p) == nil {
			}
		})
	}
	return func() {
		for _, p := range peers {
			_ = p.Close()
		}
		running.Wait()
	}
}

// whileAttacked looks at the memory again and again while the attack goes on.
func (a *abuse) whileAttacked(n int, bound int64, attack func(*wstest.Peer) error) {
	a.t.Helper()
	stop := a.attackers(n, attack)
	defer stop()
	for range 10 {
		a.within(bound)
	}
}

const mib = 1 << 20

// withEachDriver attacks a broker of each kind: what a client can do to it must not depend on who waits for its socket.
func withEachDriver(t *testing.T, attack func(*testing.T)) {
	for _, driver := range []string{"epoll", "portable"} {
		t.Run(driver, func(t *testing.T) {
			t.Setenv("HOLDFAST_DRIVER", driver)
			attack(t)
		})
	}
}

// Empty fragments without end: each message is refused at its limit, and holds nothing before.
func TestAbuseEndlessFragments(t *testing.T) { withEachDriver(t, attackWithEndlessFragments) }

func attackWithEndlessFragments(t *testing.T) {
	a := newAbuse(t, "limits: {fragments: 1000}")
	a.whileAttacked(20, 64*mib, func(p *wstest.Peer) error {
		return p.TrySend(wstest.Frame{Opcode: wire.Text, NoFin: true}, wstest.Frame{Opcode: wire.Continuation, NoFin: true})
	})
	b := bytes.Repeat(frame(wstest.Frame{Opcode: wire.Continuation, NoFin: true}), 1000)
	for range 20 {
		p := wstest.Dial(t, a.broker.URL("/"), nil)
		p.Raw(append(frame(wstest.Frame{Opcode: wire.Text, NoFin: true}), b...))
		p.ExpectClose(wire.PolicyViolation)
	}
	a.within(64 * mib)
	a.over()
}

// Pings, empty messages and small messages as fast as they go.
func TestAbuseFrameFlood(t *testing.T) { withEachDriver(t, attackWithFrameFlood) }

func attackWithFrameFlood(t *testing.T) {
	for name, f := range map[string]wstest.Frame{
		"pings": wstest.Ping("0123456789"), "pongs": wstest.Pong(""), "messages": wstest.Text("x"),
	} {
		t.Run(name, func(t *testing.T) {
			a := newAbuse(t, "rates: {messages: 1000}")
			flood := bytes.Repeat(f.Append(nil), 1000)
			a.whileAttacked(20, 96*mib, func(p *wstest.Peer) error {
				_, err := p.Write(flood)
				return err
			})
			a.over()
			if n := metric(t, a.broker, `holdfast_connections_over_rate_total{limit="connection"}`); n == "" || n == "0" {
				t.Error("the flood was within every rate")
			}
		})
	}
}

// Clients that ask for much and read nothing: what waits for them is bounded by their queues.
func TestAbuseSlowReader(t *testing.T) { withEachDriver(t, attackWithSlowReader) }

func attackWithSlowReader(t *testing.T) {
	const readers = 20
	a := newAbuse(t, "limits: {send_queue: 256KiB}")
	big := wstest.Binary(make([]byte, 64<<10)).Append(nil)
	a.whileAttacked(readers, 128*mib, func(p *wstest.Peer) error {
		_ = p.SetWriteDeadline(time.Now().Add(wstest.Patience))
		_, err := p.Write(big)
		return err
	})
	a.over()
}

// Headers that announce much and bring nothing: memory follows what came, not what was said.
func TestAbuseLengthLies(t *testing.T) { withEachDriver(t, attackWithLengthLies) }

func attackWithLengthLies(t *testing.T) {
	a := newAbuse(t, "limits: {message_size: 4MiB}")
	for _, length := range []uint64{4 * mib, 1 << 31, 1 << 32, 1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		for range 100 {
			p := wstest.Dial(t, a.broker.URL("/"), nil)
			p.Raw(wire.AppendHeader(nil, wire.Header{Fin: true, Opcode: wire.Binary, Masked: true, Length: length}))
			if length > 4*mib {
				continue
			}
			p.Raw([]byte("x"))
		}
		a.within(64 * mib)
	}
	a.over()
	if n := metric(t, a.broker, fmt.Sprintf("holdfast_protocol_faults_total{fault=%q}", "UNSUPPORTED_MESSAGE_LENGTH")); n == "0" {
		t.Error("no lie was refused")
	}
}

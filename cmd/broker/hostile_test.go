package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
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

// hostileBroker has an endpoint for everybody, one that wants a token, and one for honest clients.
const hostileBroker = `
clients: {handshakes: 2000, handshake_timeout: 2s, compression_memory: 16MiB}
endpoints:
  - path: /
    compression: {enabled: true}
    limits: {message_size: 64KiB, fragments: 100, send_queue: 64KiB, send_queue_messages: 256}
    rates: {messages: 20, bytes: 256KiB, control_frames: 20}
  - path: /token
    admission: {mode: jwt, jwt: {algorithms: [HS256], secret: ` + tokenSecret + `, claims: {user: sub}}}
  - path: /honest
    namespace: honest
`

// hostileMemory is what a thousand hostile clients may cost, beside what the broker takes anyway.
const hostileMemory = 256 * mib

// hostility is how much of it there is. The full measure is for "make hostile".
type hostility struct {
	hostile, honest int
	time            time.Duration
	inTime          bool // honest clients must be served within 250 ms
}

func hostilityOf(t *testing.T) hostility {
	t.Helper()
	text := os.Getenv("HOLDFAST_HOSTILE")
	if text == "" {
		return hostility{hostile: 100, honest: 20, time: 10 * time.Second}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("HOLDFAST_HOSTILE: %v", err)
	}
	return hostility{hostile: 1000, honest: 100, time: d, inTime: true}
}

// TestThreatEverythingAtOnce: hostile clients of every kind do what they can beside honest ones, none of whom is cut
// off, misses an answer, or takes part in what it costs.
func TestThreatEverythingAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("ten seconds of hostility")
	}
	h := hostilityOf(t)
	needFiles(t, uint64(4*h.hostile+1000))
	server := bustest.StartProcess(t) // not in the test's process, which is busy
	b := brokertest.Start(t, "--nats-url="+server.URL, "--drain-timeout=1s", brokertest.Config(t, hostileBroker))
	echoIn(t, server.URL, "honest")
	echoIn(t, server.URL, "default")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	honest := make([]*honestClient, h.honest)
	var attacks, trips sync.WaitGroup
	for i := range honest {
		honest[i] = &honestClient{peer: wstest.Dial(t, b.URL("/honest"), nil)}
		trips.Go(func() { honest[i].live(ctx) })
	}
	before, highest, spent := residentMemory(t, b), int64(0), gauge(t, b, "process_cpu_seconds_total")
	a := newAttack(t, b)
	for i := range h.hostile {
		attacks.Go(func() { a.keepAt(ctx, i) })
	}
	for end := time.Now().Add(h.time); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		highest = max(highest, residentMemory(t, b))
	}
	spent = gauge(t, b, "process_cpu_seconds_total") - spent
	cancel()
	attacks.Wait()
	trips.Wait()

	a.report()
	echoes, pings := gathered(t, honest)
	t.Logf("beside %d hostile clients for %v: %d MiB above %d MiB, %.2f cores", h.hostile, h.time, (highest-before)>>20, before>>20, spent/h.time.Seconds())
	t.Logf("honest echoes, %s", percentiles(echoes))
	t.Logf("honest pings, %s", percentiles(pings))
	if p99 := echoes[len(echoes)*99/100]; h.inTime && p99 >= 250*time.Millisecond {
		t.Errorf("99%% of the honest echoes took up to %v, want less than 250ms", p99)
	}
	if highest-before > hostileMemory {
		t.Errorf("it cost %d MiB, want %d MiB at most", (highest-before)>>20, hostileMemory>>20)
	}
}

func echoIn(t *testing.T, url, namespace string) {
	t.Helper()
	nc := bustest.Dial(t, url)
	if _, err := nc.Subscribe("holdfast."+namespace+".message.*", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

func residentMemory(t *testing.T, b *brokertest.Broker) int64 {
	t.Helper()
	return int64(gauge(t, b, "process_resident_memory_bytes"))
}

func gauge(t *testing.T, b *brokertest.Broker, series string) float64 {
	t.Helper()
	value, err := strconv.ParseFloat(metric(t, b, series), 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// honestClient asks four times a second and waits for the answer each time, by turns of a backend and, with a ping, of
// the broker alone.
type honestClient struct {
	peer          *wstest.Peer
	echoes, pings []time.Duration
	err           error
}

func (c *honestClient) live(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		text, trips := strconv.Itoa(i), &c.echoes
		question, want := wstest.Text(text), wire.Text
		if i%2 == 1 {
			question, want, trips = wstest.Ping(text), wire.Pong, &c.pings
		}
		begin := time.Now()
		if c.err = c.trip(question, want, text); c.err != nil {
			return
		}
		*trips = append(*trips, time.Since(begin))
		rest(ctx, 250*time.Millisecond)
	}
}

func (c *honestClient) trip(question wstest.Frame, want wire.Opcode, text string) error {
	if err := c.peer.TrySend(question); err != nil {
		return err
	}
	for {
		f, err := c.peer.TryReceive()
		switch {
		case err != nil:
			return err
		case f.Opcode == wire.Ping:
			_ = c.peer.TrySend(wstest.Pong(string(f.Payload)))
		case f.Opcode == want && string(f.Payload) == text:
			return nil
		default:
			return fmt.Errorf("%q is answered with %q", text, f.Payload)
		}
	}
}

// gathered are the round trips of all, sorted, both kinds. Every one of them must have been answered.
func gathered(t *testing.T, honest []*honestClient) (echoes, pings []time.Duration) {
	t.Helper()
	for i, c := range honest {
		if c.err != nil {
			t.Errorf("honest client %d, after %d round trips: %v", i, len(c.echoes)+len(c.pings), c.err)
		}
		echoes, pings = append(echoes, c.echoes...), append(pings, c.pings...)
	}
	if len(echoes) == 0 || len(pings) == 0 {
		t.Fatal("nobody was served")
	}
	slices.Sort(echoes)
	slices.Sort(pings)
	return echoes, pings
}

func percentiles(trips []time.Duration) string {
	return fmt.Sprintf("%d: median %v, 99%% %v, longest %v", len(trips), trips[len(trips)/2], trips[len(trips)*99/100], trips[len(trips)-1])
}

// rest waits so long, a half more or less: nobody keeps step with the others.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d/2 + rand.N(d)):
	}
}

// attack is the hostile clients, each of which keeps at one kind of it.
type attack struct {
	t       *testing.T
	clients string // addresses
	control string
	bomb    []byte
	kinds   []kind
	steps   []atomic.Int64
}

// kind is what a hostile client does: a connection on which step is called until it fails, again and again.
type kind struct {
	name string
	path string // of a handshake; empty: a bare connection, to the control port if the name says so
	step func(ctx context.Context, nc net.Conn) error
}

var errEnough = errors.New("enough")

func newAttack(t *testing.T, b *brokertest.Broker) *attack {
	a := &attack{t: t, clients: address(b.URL("/")), control: b.Control, bomb: bomb(t, 64<<20)}
	a.clients = strings.TrimSuffix(a.clients, "/")
	say := func(frames ...wstest.Frame) []byte {
		var out []byte
		for _, f := range frames {
			out = f.Append(out)
		}
		return out
	}
	repeat := func(frames ...wstest.Frame) func(context.Context, net.Conn) error {
		return write(bytes.Repeat(say(frames...), 200))
	}
	once := func(bytes []byte) func(context.Context, net.Conn) error {
		return func(ctx context.Context, nc net.Conn) error {
			_ = write(bytes)(ctx, nc)
			_, _ = io.Copy(io.Discard, nc) // until it is cut off
			return errEnough
		}
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"root"}`)) + "."
	a.kinds = []kind{
		{"half-open", "", once([]byte("GET / HTTP/1.1\r\nHost: ho"))},
		{"drip", "", func(ctx context.Context, nc net.Conn) error { return write([]byte("x"))(ctx, nc) }},
		{"slow reader", "/", write(say(wstest.Binary(make([]byte, 16<<10))))},
		{"messages", "/", repeat(wstest.Text("x"))},
		{"pings", "/", repeat(wstest.Ping("0123456789"))},
		{"fragments", "/", repeat(wstest.Frame{Opcode: wire.Text, NoFin: true}, wstest.Frame{Opcode: wire.Continuation, NoFin: true})},
		{"faults", "/", once([]byte{0xf3, 0x00, 0xff, 0xff})},
		{"bomb", "/", once(say(wstest.Frame{Opcode: wire.Binary, RSV1: true, Payload: a.bomb}))},
		{"oversized", "/", once(wire.AppendHeader(nil, wire.Header{Fin: true, Opcode: wire.Binary, Masked: true, Length: 1 << 62}))},
		{"forged token", "/token\nAuthorization: Bearer " + none, nil},
		{"storm", "/", func(context.Context, net.Conn) error { return errEnough }},
		{"foreign origin", "/\nOrigin: https://foreign.example", nil},
		{"garbage to control", "", once(bytes.Repeat([]byte("GET / HTTP/1.1\r\n\x00\xff"), 1000))},
	}
	a.steps = make([]atomic.Int64, len(a.kinds))
	return a
}

// write writes within a second: whoever is not read longer than that tries again.
func write(b []byte) func(context.Context, net.Conn) error {
	return func(_ context.Context, nc net.Conn) error {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, err := nc.Write(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	}
}

// keepAt is a hostile client: five times a second it does the next thing, with a new connection if it has none.
func (a *attack) keepAt(ctx context.Context, i int) {
	k := a.kinds[i%len(a.kinds)]
	for ctx.Err() == nil {
		nc, err := a.open(k)
		if err != nil {
			rest(ctx, 200*time.Millisecond)
			continue
		}
		release := context.AfterFunc(ctx, func() { _ = nc.Close() })
		for ; err == nil && ctx.Err() == nil && k.step != nil; rest(ctx, 200*time.Millisecond) {
			err = k.step(ctx, nc)
			a.steps[i%len(a.kinds)].Add(1)
		}
		if k.step == nil {
			a.steps[i%len(a.kinds)].Add(1)
			rest(ctx, 200*time.Millisecond)
		}
		release()
		_ = nc.Close()
	}
}

// open makes a connection, and with a path its handshake, which may be refused.
func (a *attack) open(k kind) (net.Conn, error) {
	to := a.clients
	if strings.HasSuffix(k.name, "control") {
		to = a.control
	}
	nc, err := net.DialTimeout("tcp", to, time.Second)
	if err != nil || k.path == "" {
		return nc, err
	}
	path, header, _ := strings.Cut(k.path, "\n")
	request := "GET " + path + " HTTP/1.1\r\nHost: " + to + "\r\n" + upgradeFields + "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	if header != "" {
		request += header + "\r\n"
	}
	_ = nc.SetDeadline(time.Now().Add(2 * time.Second))
	_, err = io.WriteString(nc, request+"\r\n")
	if err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(bufio.NewReader(nc), nil); err == nil {
			_ = resp.Body.Close()
		}
		if err == nil && k.step == nil && resp.StatusCode < 400 {
			a.t.Errorf("%s: the answer is %s", k.name, resp.Status)
		}
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	_ = nc.SetDeadline(time.Time{})
	return nc, nil
}

// report fails if a kind of hostility did not take place.
func (a *attack) report() {
	for i, k := range a.kinds {
		n := a.steps[i].Load()
		a.t.Logf("%-20s %d times", k.name, n)
		if n == 0 {
			a.t.Errorf("there was no %s", k.name)
		}
	}
}

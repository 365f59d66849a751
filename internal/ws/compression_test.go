package ws_test

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/deflate"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// deflating is a connection that agreed to compress, with a peer that can.
type deflating struct {
	*link
	session *deflate.Session // the peer's
}

// everything compresses messages of all sizes.
var everything = ws.Compression{Enabled: true, Threshold: -1}

const offered = "permessage-deflate; client_max_window_bits"

func compressed(t testing.TB, e *ws.Engine, cfg ws.Config, offer string, set func(*link)) *deflating {
	t.Helper()
	server, client := wstest.TCP(t)
	return compressedOver(t, e, cfg, offer, server, client, set)
}

func compressedOver(t testing.TB, e *ws.Engine, cfg ws.Config, offer string, server, client net.Conn, set func(*link)) *deflating {
	t.Helper()
	l := &link{rec: wstest.NewRecorder(t)}
	var answer http.Header
	l.Conn, l.peer, answer = wstest.HandshakeOver(t, e, e.Prepare(cfg), http.Header{"Sec-Websocket-Extensions": {offer}}, server, client)
	t.Cleanup(func() { l.Terminate(0) })
	if set != nil {
		set(l)
	}
	if got := answer.Get("Sec-WebSocket-Extensions"); got != l.Extensions() || got == "" {
		t.Fatalf("answered %q, agreed to %q", got, l.Extensions())
	}
	l.Start(l.rec, 0)
	return &deflating{l, peerSession(t, l.Extensions())}
}

// peerSession does what a client does that got this answer.
func peerSession(t testing.TB, answer string) *deflate.Session {
	t.Helper()
	said, err := wire.Extensions(map[string][]string{"Sec-Websocket-Extensions": {answer}})
	if err != nil {
		t.Fatal(err)
	}
	agreed, _, ok := wire.NegotiateDeflate(said, wire.DeflateParams{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15})
	if !ok {
		t.Fatalf("%q is no answer", answer)
	}
	s, _ := deflate.NewPool(0).Open(wire.DeflateParams{ // its own part is what the server calls the client's
		ServerNoContextTakeover: agreed.ClientNoContextTakeover, ServerMaxWindowBits: agreed.ClientMaxWindowBits,
		ClientNoContextTakeover: agreed.ServerNoContextTakeover, ClientMaxWindowBits: agreed.ServerMaxWindowBits,
	}, 0)
	t.Cleanup(s.Close)
	return s
}

// frame is a whole message as the peer sends it.
func (d *deflating) frame(op wire.Opcode, message string) wstest.Frame {
	return wstest.Frame{Opcode: op, RSV1: true, Payload: d.session.Fragment(nil, []byte(message), true)}
}

// receive reads a message, in one frame or several, and answers how many of them there were.
func (d *deflating) receive(t testing.TB) (op wire.Opcode, message string, compressed bool, frames int) {
	t.Helper()
	first := d.peer.Receive()
	op, compressed = first.Opcode, first.RSV1
	payload := first.Payload
	for f := first; f.NoFin; {
		f = d.peer.Receive()
		if f.Opcode != wire.Continuation || f.RSV1 {
			t.Fatalf("received %v, RSV1=%v within a message", f.Opcode, f.RSV1)
		}
		payload = append(payload, f.Payload...)
		frames++
	}
	if compressed {
		inflated, fault := d.session.Inflate(payload, deflate.Message{Text: op == wire.Text})
		if fault != nil {
			t.Fatal(fault)
		}
		payload = inflated
	}
	return op, string(payload), compressed, frames + 1
}

func (d *deflating) expect(t testing.TB, message string, compressed bool) {
	t.Helper()
	op, got, was, _ := d.receive(t)
	if op != wire.Text || got != message || was != compressed {
		t.Fatalf("received %v of %d bytes, compressed=%v; want text of %d, %v", op, len(got), was, len(message), compressed)
	}
}

func TestCompressionIsOffUnlessAsked(t *testing.T) {
	for name, test := range map[string]struct {
		cfg   ws.Compression
		offer string
		want  string
	}{
		"off":            {ws.Compression{}, offered, ""},
		"not offered":    {everything, "x-other", ""},
		"illegal":        {everything, "permessage-deflate; server_max_window_bits=16", ""},
		"malformed":      {everything, "permessage-deflate; =", ""},
		"no memory held": {everything, offered, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		"contexts": {
			ws.Compression{Enabled: true, ServerContextTakeover: true, ClientContextTakeover: true, ServerMaxWindowBits: 9, ClientMaxWindowBits: 10},
			offered + "; server_max_window_bits=12", "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t)
			c, p, answer := wstest.Handshake(t, e, e.Prepare(ws.Config{Compression: test.cfg}), http.Header{"Sec-Websocket-Extensions": {test.offer}})
			defer c.Terminate(0)
			if got := answer.Get("Sec-WebSocket-Extensions"); got != test.want || c.Extensions() != test.want {
				t.Errorf("answered %q, agreed to %q, want %q", got, c.Extensions(), test.want)
			}
			if test.want != "" {
				return
			}
			c.Start(wstest.NewRecorder(t), 0)
			compress := true
			mustSend(t, c, &ws.Message{Opcode: wire.Text, Payload: []byte(long), Compress: &compress}, nil)
			p.Expect(wire.Text, long)
			p.Send(wstest.Frame{Opcode: wire.Text, RSV1: true, Payload: []byte("x")})
			if reason := p.ExpectClose(wire.ProtocolError); !strings.Contains(reason, "RSV1") {
				t.Error(reason)
			}
		})
	}
}

var long = strings.Repeat("Hello, Holdfast. ", 100)

// TestEveryParameterSetEchoes sends messages through a connection and back, many times.
func TestEveryParameterSetEchoes(t *testing.T) {
	var wg sync.WaitGroup
	for _, bits := range []int{8, 9, 12, 15} {
		for _, context := range []bool{false, true} {
			cfg := ws.Compression{
				Enabled: true, Threshold: -1, Level: 1 + bits%9, ServerContextTakeover: context, ClientContextTakeover: context,
				ServerMaxWindowBits: bits, ClientMaxWindowBits: 23 - bits,
			}
			d := compressed(t, newEngine(t), ws.Config{
				Compression: cfg, SendQueueBytes: 8 << 20, HeartbeatInterval: -1, // a slow machine takes longer than to the first ping
			}, offered+"; server_max_window_bits=15", echo(t))
			wg.Go(func() {
				for i := range 60 {
					message := strconv.Itoa(i) + strings.Repeat(long, i)
					go d.peer.Send(d.frame(wire.Text, message))
					if op, got, _, _ := d.receive(t); op != wire.Text || got != message {
						t.Errorf("%d bits, context %v: message %d of %d bytes came back with %d", bits, context, i, len(message), len(got))
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

func TestWhichMessagesAreCompressed(t *testing.T) {
	yes, no := true, false
	d := compressed(t, newEngine(t), ws.Config{Compression: ws.Compression{Enabled: true}}, offered, nil)
	for _, test := range []struct {
		size     int
		compress *bool
		want     bool
	}{
		{1023, nil, false}, {1024, nil, true}, {100, &yes, true}, {5000, &no, false}, {0, &yes, false}, {0, nil, false}, {200_000, nil, true},
	} {
		message := strings.Repeat("a", test.size)
		mustSend(t, d.Conn, &ws.Message{Opcode: wire.Text, Payload: []byte(message), Compress: test.compress}, nil)
		d.expect(t, message, test.want)
	}
	mustSend(t, d.Conn, &ws.Message{Opcode: wire.Binary, Payload: noise(5000), Compress: &yes}, nil)
	if _, got, was, _ := d.receive(t); was || got != string(noise(5000)) {
		t.Error("noise was not sent as it is")
	}
	if err := d.Ping([]byte(strings.Repeat("p", 125)), ws.Queued, nil); err != nil {
		t.Fatal(err)
	}
	if f := d.peer.Receive(); f.Opcode != wire.Ping || f.RSV1 || len(f.Payload) != 125 {
		t.Errorf("a ping of %d bytes, RSV1=%v", len(f.Payload), f.RSV1)
	}
}

// noise does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	for i, x := 0, uint32(1); i < n; i++ {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestFirstFragmentDecides(t *testing.T) {
	for _, context := range []bool{false, true} {
		d := compressed(t, newEngine(t), ws.Config{Compression: ws.Compression{Enabled: true, ServerContextTakeover: context}}, offered, nil)
		for _, first := range []string{long, "short", ""} {
			number := mustSend(t, d.Conn, part(0, first, true), nil).Fragment
			for _, more := range []string{"", long, "x"} {
				mustSend(t, d.Conn, part(number, more, true), nil)
			}
			no := false // which nobody asks
			mustSend(t, d.Conn, &ws.Message{Opcode: wire.Text, Payload: []byte("end"), Fragment: number, Compress: &no}, nil)
			_, message, was, frames := d.receive(t)
			if message != first+long+"xend" || was != (first == long) || frames != 5 {
				t.Errorf("context %v: %d bytes in %d frames, compressed=%v", context, len(message), frames, was)
			}
		}
		mustSend(t, d.Conn, text(long), nil)
		d.expect(t, long, true)
		eventually(t, "all written", func() bool { return d.State().MessagesOut == 4 })
		if bytes, frames, _ := d.Unaccounted(); bytes != 0 || frames != 0 {
			t.Errorf("the empty queue counts %d bytes, %d frames", bytes, frames)
		}
		if got, want := d.State().BytesOut, uint64(3*(len(long)+4)+2*len(long)+5); got != want {
			t.Errorf("%d bytes out, want %d: as they were before they were compressed", got, want)
		}
	}
}

func TestCompressedFragmentsAreReceivedWithPingsBetween(t *testing.T) {
	d := compressed(t, newEngine(t), ws.Config{Compression: everything}, offered, nil)
	payload := d.session.Fragment(nil, []byte("Hello"), true)
	d.peer.Send(wstest.Frame{Opcode: wire.Text, RSV1: true, NoFin: true, Payload: payload[:3]}, wstest.Ping("p"),
		wstest.Frame{Opcode: wire.Continuation, NoFin: true}, wstest.Frame{Opcode: wire.Continuation, Payload: payload[3:]},
		wstest.Text("plain"))
	if got, want := strings.Join(d.rec.Wait(3), ", "), "ping p, text Hello, text plain"; got != want {
		t.Errorf("recorded %s, want %s", got, want)
	}
}

func TestQueueCountsWhatWasNotCompressed(t *testing.T) {
	d := compressed(t, newEngine(t), ws.Config{Compression: everything, SendQueueBytes: 4 << 20}, offered, nil)
	no := false
	for d.State().Buffered < 64<<10 { // until the socket is full
		mustSend(t, d.Conn, &ws.Message{Opcode: wire.Binary, Payload: make([]byte, 64<<10), Compress: &no}, nil)
	}
	before, out := d.State().Buffered, d.State().BytesOut
	for range 20 {
		mustSend(t, d.Conn, text(long), nil)
	}
	if got := d.State().Buffered - before; got != 20*len(long) {
		t.Errorf("20 messages of %d bytes count as %d", len(long), got)
	}
	go func() {
		for {
			if _, err := d.peer.TryReceive(); err != nil {
				return
			}
		}
	}()
	eventually(t, "an empty queue", func() bool { return d.State().Buffered == 0 })
	if got := d.State().BytesOut - out; got != uint64(before+20*len(long)) {
		t.Errorf("%d bytes out, want %d", got, before+20*len(long))
	}
}

func TestCompressedMessageThatIsNotTakenIsOfferedAgain(t *testing.T) {
	d := compressed(t, newEngine(t), ws.Config{Compression: ws.Compression{Enabled: true, ClientContextTakeover: true}}, offered, func(l *link) {
		asked := 0
		l.rec.Message = func(wire.Opcode, []byte) bool {
			if asked++; asked%2 == 1 {
				time.AfterFunc(0, func() { l.Release(ws.HoldBusy) })
				return false
			}
			return true
		}
	})
	d.peer.Send(d.frame(wire.Text, long), d.frame(wire.Text, long+"2"), d.frame(wire.Text, long+"3"))
	if got := strings.Join(d.rec.Wait(3), ", "); got != "text "+long+", text "+long+"2, text "+long+"3" {
		t.Errorf("recorded %.200s", got)
	}
}

// TestManySendersShareAConnection: what is compressed goes in the order of the queue, or the contexts would differ.
func TestManySendersShareAConnection(t *testing.T) {
	const senders, each = 8, 100
	d := compressed(t, newEngine(t), ws.Config{Compression: ws.Compression{Enabled: true, Threshold: 500, ServerContextTakeover: true}, SendQueueBytes: 64 << 20}, offered, nil)
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				confirmation := ws.Confirmation(i % 2)
				m := &ws.Message{Opcode: wire.Text, Payload: []byte(fmt.Sprintf("%d %d %s", s, i, long[:1+i*16])), Confirmation: confirmation}
				if _, err := d.Send(m, func(ws.Outcome) {}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := [senders]int{}
	for range senders * each {
		_, message, _, _ := d.receive(t)
		var s, i int
		if _, err := fmt.Sscanf(message, "%d %d", &s, &i); err != nil || next[s] != i {
			t.Fatalf("received %.20q, want number %d", message, next[s])
		}
		next[s]++
	}
	wg.Wait()
}

package main_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

func frame(f wstest.Frame) []byte { return f.Append(nil) }

// endless is the start of a message in more fragments than the endpoint of TestFaults allows.
func endless() []byte {
	b := frame(wstest.Frame{Opcode: wire.Text, NoFin: true})
	for range 10 {
		b = wstest.Frame{Opcode: wire.Continuation, NoFin: true}.Append(b)
	}
	return b
}

// faults are those that a plain connection can meet, and bytes that show them. INVALID_COMPRESSED_DATA
// needs a compressed one: see compression_test.go.
var faults = []struct {
	name string
	code int
	sent []byte
}{
	{"EXPECTED_FIN", 1002, frame(wstest.Frame{Opcode: wire.Ping, NoFin: true})},
	{"EXPECTED_MASK", 1002, frame(wstest.Frame{Opcode: wire.Text, Unmasked: true})},
	{"INVALID_CLOSE_CODE", 1002, frame(wstest.Close(1005, ""))},
	{"INVALID_CONTROL_PAYLOAD_LENGTH", 1002, frame(wstest.Ping(strings.Repeat("x", 126)))},
	{"INVALID_OPCODE", 1002, frame(wstest.Frame{Opcode: 3})},
	{"INVALID_UTF8", 1007, frame(wstest.Text("\xff"))},
	{"UNEXPECTED_RSV_1", 1002, frame(wstest.Frame{Opcode: wire.Text, RSV1: true})},
	{"UNEXPECTED_RSV_2_3", 1002, frame(wstest.Frame{Opcode: wire.Text, RSV3: true})},
	{"UNSUPPORTED_DATA_PAYLOAD_LENGTH", 1002, []byte{0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0}},
	{"UNSUPPORTED_MESSAGE_LENGTH", 1009, []byte{0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4}},
	{"TOO_MANY_FRAGMENTS", 1008, endless()},
}

func TestFaultsShowInTheCloseEventAndTheMetric(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, "endpoints: [{limits: {fragments: 10}}]\n"))
	events := bustest.Record(t, b.NATS, "holdfast.default.close.*")
	causes := make(map[string]int)
	for i, f := range faults {
		peer := wstest.Dial(t, b.URL("/"), nil)
		peer.Raw(f.sent)
		peer.ExpectClose(uint16(f.code))
		_ = peer.Close()
		want := closedEvent{Code: 1006, SentCode: f.code, Cause: "PROTOCOL_FAULT", Fault: f.name}
		if f.code == 1009 {
			want.Cause = "MESSAGE_TOO_LARGE"
		}
		causes[want.Cause]++
		if diff := cmp.Diff(want, closed(t, events.Wait(i + 1)[i].Data)); diff != "" {
			t.Errorf("close event (-want +got):\n%s", diff)
		}
		if n := metric(t, b, fmt.Sprintf("holdfast_protocol_faults_total{fault=%q}", f.name)); n != "1" {
			t.Errorf("%s is counted as %q", f.name, n)
		}
	}
	for cause, n := range causes {
		if got := metric(t, b, fmt.Sprintf("holdfast_connections_closed_total{cause=%q}", cause)); got != strconv.Itoa(n) {
			t.Errorf("%s is counted as %q, want %d", cause, got, n)
		}
	}
}

// TestLimitsShowInTheCloseEventAndTheMetric: causes that are no fault of the protocol.
func TestLimitsShowInTheCloseEventAndTheMetric(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, `
endpoints:
  - {path: /idle, limits: {idle_timeout: 1s}}
  - {path: /old, limits: {max_lifetime: 1s}}
  - {path: /hasty, rates: {messages: 1, policy: close}}
  - {path: /slow, rates: {messages: 1}}
  - {path: /frame, limits: {frame_size: 10B}}
`))
	events := bustest.Record(t, b.NATS, "holdfast.default.close.*")
	messages := bustest.Record(t, b.NATS, "holdfast.default.message.*")
	two := []wstest.Frame{wstest.Text("a"), wstest.Text("b")}
	for i, c := range []struct {
		path, cause, fault string
		code               uint16
		send               []wstest.Frame
	}{
		{"/idle", "IDLE_TIMEOUT", "", 1001, nil},
		{"/old", "EXPIRED", "", 4401, nil},
		{"/hasty", "RATE_LIMITED", "", 1008, two},
		{"/frame", "MESSAGE_TOO_LARGE", "UNSUPPORTED_MESSAGE_LENGTH", 1009, []wstest.Frame{wstest.Text("0123456789A")}},
	} {
		peer := wstest.Dial(t, b.URL(c.path), nil)
		peer.Send(c.send...)
		peer.ExpectClose(c.code)
		_ = peer.TrySend(wstest.Close(c.code, ""))
		_ = peer.Close()
		got := closed(t, events.Wait(i + 1)[i].Data)
		if got.Cause != c.cause || got.SentCode != int(c.code) || got.Fault != c.fault {
			t.Errorf("%s: close event %+v", c.path, got)
		}
		if n := metric(t, b, fmt.Sprintf("holdfast_connections_closed_total{cause=%q}", c.cause)); n != "1" {
			t.Errorf("%s is counted as %q", c.cause, n)
		}
	}
	slow := wstest.Dial(t, b.URL("/slow"), nil)
	slow.Send(append(two, wstest.Text("c"))...)
	messages.Wait(1 + 3) // the one within the rate of /hasty, and all of these in time
	if n := metric(t, b, `holdfast_connections_over_rate_total{limit="connection"}`); n == "" || n == "0" || n == "1" {
		t.Errorf("%q times over a rate", n)
	}
	slow.Send(wstest.Ping("still here"))
	slow.Expect(wire.Pong, "still here")
}

// TestCloseEventSaysWhatThePeerSent: its code and reason, 1005 for none, 1006 when it just went.
func TestCloseEventSaysWhatThePeerSent(t *testing.T) {
	b := brokertest.Start(t)
	events := bustest.Record(t, b.NATS, "holdfast.default.close.*")
	for i, c := range []struct {
		leave func(*wstest.Peer)
		want  closedEvent
	}{
		{func(p *wstest.Peer) { p.Send(wstest.Close(4321, "bye")) }, closedEvent{Code: 4321, SentCode: 4321, WasClean: true, Cause: "PEER_CLOSE"}},
		{func(p *wstest.Peer) { p.Send(wstest.Close(0, "")) }, closedEvent{Code: 1005, SentCode: 1005, WasClean: true, Cause: "PEER_CLOSE"}},
		{func(p *wstest.Peer) { _ = p.Close() }, closedEvent{Code: 1006, Cause: "TRANSPORT_ERROR"}},
		{func(p *wstest.Peer) { p.Reset() }, closedEvent{Code: 1006, Cause: "TRANSPORT_ERROR"}},
		{func(p *wstest.Peer) { p.Raw([]byte{0x82, 0xFE, 1}); p.Reset() }, closedEvent{Code: 1006, Cause: "TRANSPORT_ERROR"}},
	} {
		c.leave(wstest.Dial(t, b.URL("/"), nil))
		if diff := cmp.Diff(c.want, closed(t, events.Wait(i + 1)[i].Data)); diff != "" {
			t.Errorf("%d: close event (-want +got):\n%s", i, diff)
		}
	}
}

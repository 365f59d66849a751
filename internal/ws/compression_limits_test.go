package ws_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"runtime"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/deflate"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

func TestFaultsOfCompressedMessages(t *testing.T) {
	zeros := make([]byte, 1<<20)
	for name, test := range map[string]struct {
		frames func(*deflating) []wstest.Frame
		code   uint16
		fault  wire.FaultName
	}{
		"broken data": {func(*deflating) []wstest.Frame {
			return []wstest.Frame{{Opcode: wire.Text, RSV1: true, Payload: []byte("not DEFLATE")}}
		}, wire.InvalidPayload, wire.InvalidCompressedData},
		"empty": {func(*deflating) []wstest.Frame {
			return []wstest.Frame{{Opcode: wire.Text, RSV1: true}}
		}, wire.InvalidPayload, wire.InvalidCompressedData},
		"not UTF-8": {func(d *deflating) []wstest.Frame {
			return []wstest.Frame{d.frame(wire.Text, "\xff")}
		}, wire.InvalidPayload, wire.InvalidUTF8},
		"a byte too long": {func(d *deflating) []wstest.Frame {
			return []wstest.Frame{d.frame(wire.Binary, string(zeros[:100_001]))}
		}, wire.MessageTooBig, wire.UnsupportedMessageLength},
		"too long also compressed": {func(*deflating) []wstest.Frame {
			return []wstest.Frame{{Opcode: wire.Binary, RSV1: true, Payload: noise(200_000)}}
		}, wire.MessageTooBig, wire.UnsupportedMessageLength},
		"RSV1 on a continuation": {func(*deflating) []wstest.Frame {
			return []wstest.Frame{{Opcode: wire.Text, RSV1: true, NoFin: true}, {Opcode: wire.Continuation, RSV1: true}}
		}, wire.ProtocolError, wire.UnexpectedRSV1},
		"RSV1 on a ping": {func(*deflating) []wstest.Frame {
			return []wstest.Frame{{Opcode: wire.Ping, RSV1: true}}
		}, wire.ProtocolError, wire.UnexpectedRSV1},
	} {
		t.Run(name, func(t *testing.T) {
			d := compressed(t, newEngine(t), ws.Config{Compression: everything, MessageSize: 100_000}, offered, nil)
			d.peer.Send(d.frame(wire.Binary, string(noise(100_000))), d.frame(wire.Binary, string(zeros[:100_000]))) // which fit
			d.rec.Wait(2)
			d.peer.Send(test.frames(d)...)
			d.peer.ExpectClose(test.code)
			d.peer.Send(wstest.Close(test.code, ""))
			_ = d.peer.Close()
			if end := d.rec.End(); end.Fault == nil || end.Fault.Name != test.fault {
				t.Errorf("ended as %+v", end)
			}
		})
	}
}

// TestBombIsRefusedWithBoundedMemory: 1 GiB in 1 MiB on the wire.
func TestBombIsRefusedWithBoundedMemory(t *testing.T) {
	const limit = 1 << 20
	e := newEngine(t)
	d := compressed(t, e, ws.Config{Compression: everything, MessageSize: limit}, offered, nil)
	part := d.session.Fragment(nil, make([]byte, 4<<20), false)
	bomb := append(bytes.Repeat(part, 256), 0)
	frame := wstest.Frame{Opcode: wire.Binary, RSV1: true, Payload: bomb[:min(len(bomb), limit)]}.Append(nil)
	d.peer.Send(d.frame(wire.Text, "warm"))
	d.rec.Wait(1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d.peer.Raw(frame)
	reason := d.peer.ExpectClose(wire.MessageTooBig)
	runtime.ReadMemStats(&after)
	t.Logf("%d bytes on the wire, %d allocated: %s", len(frame), after.TotalAlloc-before.TotalAlloc, reason)
	// The message as it came (its buffer grew by doubling) and what was inflated of it.
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 5*limit {
		t.Errorf("%d bytes allocated, with a limit of %d", allocated, limit)
	}
}

func TestOverTheCeilingMessagesGoUncompressed(t *testing.T) {
	e := ws.NewEngine(ws.EngineConfig{Logger: slog.New(slog.DiscardHandler), CompressionMemory: 1})
	t.Cleanup(e.Close)
	d := compressed(t, e, ws.Config{Compression: everything}, offered, echo(t))
	d.peer.Send(d.frame(wire.Text, long)) // must be inflated all the same
	d.expect(t, long, false)
	number := mustSend(t, d.Conn, part(0, long, true), nil).Fragment
	mustSend(t, d.Conn, part(number, long, false), nil)
	d.expect(t, long+long, true) // it was promised with the first fragment's header
	if got := e.Uncompressed(); got != (deflate.Refused{Messages: 3}) {
		t.Errorf("%+v", got)
	}
	// A connection whose contexts have no room agrees to nothing.
	c, _, answer := wstest.Handshake(t, e, e.Prepare(ws.Config{Compression: ws.Compression{Enabled: true, ClientContextTakeover: true}}),
		http.Header{"Sec-Websocket-Extensions": {offered}})
	c.Terminate(0)
	if len(answer["Sec-Websocket-Extensions"]) != 0 || e.Uncompressed().Connections != 1 {
		t.Errorf("agreed to %q, %+v", answer["Sec-Websocket-Extensions"], e.Uncompressed())
	}
}

func TestMemoryIsGivenBackAtTheEnd(t *testing.T) {
	e := newEngine(t)
	cfg := ws.Config{Compression: ws.Compression{Enabled: true, ServerContextTakeover: true, ClientContextTakeover: true}}
	d := compressed(t, e, cfg, offered, nil)
	if e.CompressionMemory() != 64<<10 {
		t.Errorf("%d bytes for two contexts", e.CompressionMemory())
	}
	never, _, _ := wstest.Handshake(t, e, e.Prepare(cfg), http.Header{"Sec-Websocket-Extensions": {offered}})
	never.Terminate(0) // it was not started
	never.Terminate(0)
	d.peer.Send(wstest.Close(1000, ""))
	d.rec.End()
	if e.CompressionMemory() != 0 {
		t.Errorf("%d bytes are left", e.CompressionMemory())
	}
}

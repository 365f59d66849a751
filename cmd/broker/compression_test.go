package main_test

import (
	"bytes"
	"compress/flate"
	"net/http"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

var compressing = http.Header{"Sec-Websocket-Extensions": {"permessage-deflate"}}

func TestBrokenCompressionShowsInTheCloseEvent(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, "endpoints: [{compression: {enabled: true}}]\n"))
	events := bustest.Record(t, b.NATS, "holdfast.default.close.*")
	peer := wstest.Dial(t, b.URL("/"), compressing)
	peer.Send(wstest.Frame{Opcode: wire.Binary, RSV1: true, Payload: []byte{0xFF, 0xFF, 0xFF}})
	peer.ExpectClose(wire.InvalidPayload)
	_ = peer.Close()
	if got := closed(t, events.Wait(1)[0].Data); got.Fault != "INVALID_COMPRESSED_DATA" || got.SentCode != 1007 {
		t.Errorf("close event %+v", got)
	}
}

// A bomb of 1 GiB in 1 MiB is refused once the limit is reached, and costs no more memory than that.
func TestAbuseCompressionBomb(t *testing.T) {
	a := newAbuse(t, "compression: {enabled: true}, limits: {message_size: 2MiB}")
	payload := bomb(t, 1<<30)
	for range 4 {
		peer := wstest.Dial(t, a.broker.URL("/"), compressing)
		peer.Send(wstest.Frame{Opcode: wire.Binary, RSV1: true, Payload: payload})
		peer.ExpectClose(wire.MessageTooBig)
		_ = peer.Close()
		a.within(64 << 20)
	}
	a.over()
}

// bomb is n zero bytes, compressed as RFC 7692 7.2.1 has it: one piece of them, again and again, because a
// flush ends on a byte and the piece refers to nothing before it.
func bomb(t *testing.T, n int) []byte {
	t.Helper()
	const piece = 8 << 20
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, piece)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(bytes.Repeat(out.Bytes(), n/piece), []byte{0, 0, 0xFF, 0xFF})
}

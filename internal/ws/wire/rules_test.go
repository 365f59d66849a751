package wire_test

import (
	"testing"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

func TestEveryHeaderRule(t *testing.T) {
	const (
		protocol = "RFC 6455 5.2"
		fragment = "RFC 6455 5.4"
		control  = "RFC 6455 5.5"
		masking  = "RFC 6455 5.1"
		deflate  = "RFC 7692 6"
	)
	idle := wire.State{FromClient: true}
	fragmented := wire.State{FromClient: true, Fragmented: true}
	deflated := wire.State{FromClient: true, RSV1Allowed: true}
	deflatedFragmented := wire.State{FromClient: true, RSV1Allowed: true, Fragmented: true}
	for name, c := range map[string]struct {
		header  wire.Header
		state   wire.State
		want    wire.FaultName
		section string
	}{
		"text":                     {wire.Header{Fin: true, Opcode: wire.Text}, idle, "", ""},
		"binary":                   {wire.Header{Fin: true, Opcode: wire.Binary}, idle, "", ""},
		"first fragment":           {wire.Header{Opcode: wire.Text}, idle, "", ""},
		"next fragment":            {wire.Header{Opcode: wire.Continuation}, fragmented, "", ""},
		"last fragment":            {wire.Header{Fin: true, Opcode: wire.Continuation}, fragmented, "", ""},
		"ping between fragments":   {wire.Header{Fin: true, Opcode: wire.Ping}, fragmented, "", ""},
		"close between fragments":  {wire.Header{Fin: true, Opcode: wire.Close}, fragmented, "", ""},
		"control payload of 125":   {wire.Header{Fin: true, Opcode: wire.Ping, Length: 125}, idle, "", ""},
		"data length has no bound": {wire.Header{Fin: true, Opcode: wire.Binary, Length: 1<<63 - 1}, idle, "", ""},
		"compressed message":       {wire.Header{Fin: true, RSV1: true, Opcode: wire.Text}, deflated, "", ""},
		"compressed, in fragments": {wire.Header{RSV1: true, Opcode: wire.Binary}, deflated, "", ""},

		"RSV1 without extension":    {wire.Header{Fin: true, RSV1: true, Opcode: wire.Text}, idle, wire.UnexpectedRSV1, protocol},
		"RSV1 on a continuation":    {wire.Header{Fin: true, RSV1: true}, deflatedFragmented, wire.UnexpectedRSV1, deflate},
		"RSV1 on a ping":            {wire.Header{Fin: true, RSV1: true, Opcode: wire.Ping}, deflated, wire.UnexpectedRSV1, deflate},
		"RSV2":                      {wire.Header{Fin: true, RSV2: true, Opcode: wire.Text}, idle, wire.UnexpectedRSV23, protocol},
		"RSV3":                      {wire.Header{Fin: true, RSV3: true, Opcode: wire.Text}, idle, wire.UnexpectedRSV23, protocol},
		"RSV2 beside compression":   {wire.Header{Fin: true, RSV2: true, Opcode: wire.Text}, deflated, wire.UnexpectedRSV23, protocol},
		"RSV3 beside compression":   {wire.Header{Fin: true, RSV3: true, Opcode: wire.Text}, deflated, wire.UnexpectedRSV23, protocol},
		"reserved data opcode 3":    {wire.Header{Fin: true, Opcode: 0x3}, idle, wire.InvalidOpcode, protocol},
		"reserved data opcode 7":    {wire.Header{Fin: true, Opcode: 0x7}, idle, wire.InvalidOpcode, protocol},
		"reserved control opcode B": {wire.Header{Fin: true, Opcode: 0xB}, idle, wire.InvalidOpcode, protocol},
		"reserved control opcode F": {wire.Header{Fin: true, Opcode: 0xF}, idle, wire.InvalidOpcode, protocol},
		"continuation of nothing":   {wire.Header{Fin: true}, idle, wire.InvalidOpcode, fragment},
		"text within a message":     {wire.Header{Fin: true, Opcode: wire.Text}, fragmented, wire.InvalidOpcode, fragment},
		"binary within a message":   {wire.Header{Fin: true, Opcode: wire.Binary}, fragmented, wire.InvalidOpcode, fragment},
		"fragmented ping":           {wire.Header{Opcode: wire.Ping}, idle, wire.ExpectedFIN, control},
		"fragmented pong":           {wire.Header{Opcode: wire.Pong}, idle, wire.ExpectedFIN, control},
		"fragmented close":          {wire.Header{Opcode: wire.Close}, idle, wire.ExpectedFIN, control},
		"control payload of 126":    {wire.Header{Fin: true, Opcode: wire.Pong, Length: 126}, idle, wire.InvalidControlPayloadLength, control},
		"control payload, 64 bits":  {wire.Header{Fin: true, Opcode: wire.Close, Length: 1 << 40}, idle, wire.InvalidControlPayloadLength, control},
		"several rules: first on wire": {
			wire.Header{RSV1: true, RSV2: true, Opcode: 0xF, Length: 126}, idle, wire.UnexpectedRSV1, protocol},
	} {
		t.Run(name, func(t *testing.T) {
			c.header.Masked = true
			checkFault(t, wire.Check(c.header, c.state), c.want, 1002, c.section)
		})
	}

	t.Run("unmasked frame from a client", func(t *testing.T) {
		h := wire.Header{Fin: true, Opcode: wire.Text}
		checkFault(t, wire.Check(h, wire.State{FromClient: true}), wire.ExpectedMask, 1002, masking)
		checkFault(t, wire.Check(h, wire.State{}), "", 0, "")
	})
	t.Run("masked frame from a server", func(t *testing.T) {
		h := wire.Header{Fin: true, Opcode: wire.Text, Masked: true}
		checkFault(t, wire.Check(h, wire.State{}), wire.UnexpectedMask, 1002, masking)
	})
}

func TestEveryReservedOpcodeIsRefused(t *testing.T) {
	for op := range wire.Opcode(16) {
		known := op <= wire.Binary || op >= wire.Close && op <= wire.Pong
		h := wire.Header{Fin: true, Opcode: op, Masked: true}
		fault := wire.Check(h, wire.State{FromClient: true, Fragmented: op == wire.Continuation})
		if (fault == nil) != known {
			t.Errorf("opcode %v: %v", op, fault)
		}
	}
}

// Reader relies on it: what two bytes tell is judged as the whole header would be.
func TestRulesNeedOnlyTheFirstTwoBytes(t *testing.T) {
	for first := range 256 {
		for second := range 256 {
			for bits := range 8 {
				s := wire.State{FromClient: bits&1 != 0, Fragmented: bits&2 != 0, RSV1Allowed: bits&4 != 0}
				whole := headerOf(byte(first), byte(second))
				short := whole
				short.Length = uint64(second & 0x7f)
				short.Mask = [4]byte{}
				if wire.Check(whole, s) != wire.Check(short, s) {
					t.Fatalf("%02x %02x in %+v: %v, but in full %v", first, second, s, wire.Check(short, s), wire.Check(whole, s))
				}
			}
		}
	}
}

// headerOf is a header that starts with two given bytes.
func headerOf(first, second byte) wire.Header {
	h := wire.Header{
		Fin: first&0x80 != 0, RSV1: first&0x40 != 0, RSV2: first&0x20 != 0, RSV3: first&0x10 != 0,
		Opcode: wire.Opcode(first & 0xf),
		Masked: second&0x80 != 0,
		Length: uint64(second & 0x7f),
	}
	switch h.Length {
	case 126:
		h.Length = 65535
	case 127:
		h.Length = 1<<63 - 1
	}
	if h.Masked {
		h.Mask = testMask
	}
	return h
}

func TestFaultReadsAsNameTextAndSection(t *testing.T) {
	var err error = wire.FaultInvalidUTF8
	if got, want := err.Error(), "INVALID_UTF8: text is not UTF-8 (RFC 6455 8.1)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	checkFault(t, wire.FaultInvalidUTF8, "INVALID_UTF8", 1007, "RFC 6455 8.1")
	checkFault(t, wire.FaultInvalidCompressedData, "INVALID_COMPRESSED_DATA", 1007, "RFC 7692 7.2.2")
	checkFault(t, wire.FaultMessageTooLong, "UNSUPPORTED_MESSAGE_LENGTH", 1009, "RFC 6455 10.4")
}

package wire_test

import (
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// sampleStreams are what the tests of chunking cut and the fuzzer starts from.
func sampleStreams() [][]byte {
	long := strings.Repeat("κόσμε ", 40)
	return [][]byte{
		clientFrame(wire.Text, true, "Hello"),
		clientFrame(wire.Text, true, ""),
		clientFrame(wire.Binary, true, "\xff\x00"),
		clientFrame(wire.Text, true, long),
		join(clientFrame(wire.Text, false, "Hel"), clientFrame(wire.Continuation, true, "lo")),
		join(clientFrame(wire.Text, false, "\xe2"), clientFrame(wire.Continuation, false, "\x82"),
			clientFrame(wire.Continuation, false, ""), clientFrame(wire.Continuation, true, "\xac")),
		join(clientFrame(wire.Binary, false, ""), clientFrame(wire.Continuation, true, "")),
		join(clientFrame(wire.Text, false, ""), clientFrame(wire.Continuation, true, "late")),
		join(clientFrame(wire.Text, false, "one "), clientFrame(wire.Ping, true, "still there?"),
			clientFrame(wire.Continuation, false, "two "), clientFrame(wire.Pong, true, ""),
			clientFrame(wire.Continuation, true, "three"), clientFrame(wire.Close, true, "\x03\xe8bye")),
		join(clientFrame(wire.Binary, false, long), clientFrame(wire.Close, true, "")),
		join(clientFrame(wire.Text, true, "fine"), clientFrame(wire.Text, true, "not \xff fine")),
		join(clientFrame(wire.Text, false, "cut \xe2\x82"), clientFrame(wire.Continuation, true, "")),
		join(clientFrame(wire.Ping, true, strings.Repeat("p", 125)), clientFrame(wire.Ping, false, "")),
		join(maskedFrame(wire.Header{RSV1: true, Opcode: wire.Text}, "\xff"), clientFrame(wire.Continuation, true, "\xfe")),
		clientFrame(wire.Close, true, "\x03"),
		clientFrame(wire.Close, true, "\x03\xee"),
		wire.AppendFrame(nil, wire.Text, true, []byte("unmasked")),
		join(clientFrame(wire.Binary, true, strings.Repeat("b", 70_000)), clientFrame(wire.Ping, true, "")),
	}
}

func TestEventsDoNotDependOnTheChunks(t *testing.T) {
	for _, stream := range sampleStreams() {
		cfg := wire.ReaderConfig{MessageLimit: 1 << 20, FragmentLimit: 100, RSV1: true}
		compareWithModel(t, cfg, stream, [][]byte{stream})
		compareWithModel(t, cfg, stream, bytewise(stream))
		for at := range min(len(stream), 600) {
			compareWithModel(t, cfg, stream, [][]byte{stream[:at], stream[at:]})
			compareWithModel(t, cfg, stream, [][]byte{stream[:at/2], stream[at/2 : at], {}, stream[at:]})
		}
	}
}

func TestControlFramesComeBetweenFragments(t *testing.T) {
	stream := join(
		clientFrame(wire.Text, false, "Hel"), clientFrame(wire.Ping, true, "p"),
		clientFrame(wire.Continuation, false, "lo"), clientFrame(wire.Pong, true, "q"),
		clientFrame(wire.Continuation, true, "!"), clientFrame(wire.Close, true, "\x03\xe8bye"))
	want := []found{
		ping("p"),
		{Kind: wire.PongEvent, Opcode: wire.Pong, Payload: "q"},
		message(wire.Text, "Hello!"),
		{Kind: wire.CloseEvent, Opcode: wire.Close, Payload: "\x03\xe8bye", Code: 1000, Reason: "bye"},
	}
	for _, chunks := range [][][]byte{{stream}, bytewise(stream)} {
		got, fault := read(t, wire.ReaderConfig{}, chunks...)
		if fault != nil || !slices.Equal(got, want) {
			t.Errorf("in %d chunks: %+v, %v", len(chunks), got, fault)
		}
	}
}

func TestCloseWithoutCodeIs1005(t *testing.T) {
	got, fault := read(t, wire.ReaderConfig{}, clientFrame(wire.Close, true, ""))
	want := []found{{Kind: wire.CloseEvent, Opcode: wire.Close, Code: wire.NoStatusReceived}}
	if fault != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, fault)
	}
}

func TestClientReadsUnmaskedFrames(t *testing.T) {
	frame := wire.AppendFrame(nil, wire.Binary, true, []byte("from the server"))
	for _, chunks := range [][][]byte{{frame}, bytewise(frame)} {
		got, fault := read(t, wire.ReaderConfig{Client: true}, chunks...)
		if fault != nil || !slices.Equal(got, []found{message(wire.Binary, "from the server")}) {
			t.Errorf("got %+v, %v", got, fault)
		}
	}
	_, fault := read(t, wire.ReaderConfig{Client: true}, clientFrame(wire.Binary, true, ""))
	checkFault(t, fault, wire.UnexpectedMask, 1002, "RFC 6455 5.1")
}

func TestCompressedMessageIsHandedOnUnchecked(t *testing.T) {
	stream := join(maskedFrame(wire.Header{RSV1: true, Opcode: wire.Text}, "\xff"), clientFrame(wire.Continuation, true, "\xc0"),
		clientFrame(wire.Text, true, "plain"))
	got, fault := read(t, wire.ReaderConfig{RSV1: true}, stream)
	want := []found{{Kind: wire.MessageEvent, Opcode: wire.Text, Compressed: true, Payload: "\xff\xc0"}, message(wire.Text, "plain")}
	if fault != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, fault)
	}
	_, fault = read(t, wire.ReaderConfig{RSV1: true}, clientFrame(wire.Text, true, "\xff"))
	checkFault(t, fault, wire.InvalidUTF8, 1007, "RFC 6455 8.1") // the plain one still is checked
}

func TestCompressedMessageHasALimitOfItsOwn(t *testing.T) {
	cfg := wire.ReaderConfig{RSV1: true, MessageLimit: 4, CompressedLimit: 6}
	fits := join(maskedFrame(wire.Header{RSV1: true, Opcode: wire.Binary}, "123"), clientFrame(wire.Continuation, true, "456"),
		clientFrame(wire.Binary, true, "1234"))
	if got, fault := read(t, cfg, bytewise(fits)...); fault != nil || len(got) != 2 {
		t.Errorf("got %+v, %v", got, fault)
	}
	for _, long := range [][]byte{
		clientFrame(wire.Binary, true, "12345"),
		maskedFrame(wire.Header{Fin: true, RSV1: true, Opcode: wire.Binary}, "1234567"),
	} {
		_, fault := read(t, cfg, join(fits, long))
		checkFault(t, fault, wire.UnsupportedMessageLength, 1009, "RFC 6455 10.4")
	}
}

func TestFaultComesAsEarlyAsTheBytesAllow(t *testing.T) {
	text := clientFrame(wire.Text, true, "ab\xc0cdefgh")
	cut := clientFrame(wire.Text, true, "ab\xe2\x82")
	for name, c := range map[string]struct {
		stream  []byte
		at      int // the first byte with which the fault is certain, counted from 1
		want    wire.FaultName
		code    uint16
		section string
	}{
		"unmasked":          {wire.AppendFrame(nil, wire.Text, true, []byte("x")), 2, wire.ExpectedMask, 1002, "RFC 6455 5.1"},
		"RSV1":              {maskedFrame(wire.Header{Fin: true, RSV1: true, Opcode: 1}, "x"), 2, wire.UnexpectedRSV1, 1002, "RFC 6455 5.2"},
		"RSV2":              {maskedFrame(wire.Header{Fin: true, RSV2: true, Opcode: 1}, "x"), 2, wire.UnexpectedRSV23, 1002, "RFC 6455 5.2"},
		"reserved opcode":   {clientFrame(3, true, "x"), 2, wire.InvalidOpcode, 1002, "RFC 6455 5.2"},
		"lone continuation": {clientFrame(0, true, "x"), 2, wire.InvalidOpcode, 1002, "RFC 6455 5.4"},
		"interleaved":       {join(clientFrame(1, false, ""), clientFrame(2, true, "")), 8, wire.InvalidOpcode, 1002, "RFC 6455 5.4"},
		"fragmented ping":   {clientFrame(wire.Ping, false, ""), 2, wire.ExpectedFIN, 1002, "RFC 6455 5.5"},
		"long ping":         {clientFrame(wire.Ping, true, strings.Repeat("x", 126)), 2, wire.InvalidControlPayloadLength, 1002, "RFC 6455 5.5"},
		"length form":       {[]byte{0x82, 0x80 | 126, 0, 125, 0, 0, 0, 0}, 4, wire.UnsupportedDataPayloadLength, 1002, "RFC 6455 5.2"},
		"length sign":       {[]byte{0x82, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0}, 10, wire.UnsupportedDataPayloadLength, 1002, "RFC 6455 5.2"},
		"too long":          {clientFrame(wire.Binary, true, strings.Repeat("x", 101)), 6, wire.UnsupportedMessageLength, 1009, "RFC 6455 10.4"},
		"bad byte of text":  {text, 6 + 3, wire.InvalidUTF8, 1007, "RFC 6455 8.1"},
		"text cut short":    {cut, 6 + 4, wire.InvalidUTF8, 1007, "RFC 6455 8.1"},
		"bad close code":    {clientFrame(wire.Close, true, "\x03\xedx"), 6 + 3, wire.InvalidCloseCode, 1002, "RFC 6455 7.4"},
		"bad close reason":  {clientFrame(wire.Close, true, "\x03\xe8\xff"), 6 + 3, wire.InvalidUTF8, 1007, "RFC 6455 5.5.1"},
		"half a close code": {clientFrame(wire.Close, true, "\x03"), 6 + 1, wire.InvalidControlPayloadLength, 1002, "RFC 6455 5.5.1"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := wire.ReaderConfig{MessageLimit: 100}
			if _, fault := read(t, cfg, c.stream[:c.at-1]); fault != nil {
				t.Fatalf("a byte before: %v", fault)
			}
			_, fault := read(t, cfg, c.stream[:c.at])
			checkFault(t, fault, c.want, c.code, c.section)
			_, fault = read(t, cfg, bytewise(c.stream)...)
			checkFault(t, fault, c.want, c.code, c.section)
			_, fault = read(t, cfg, c.stream)
			checkFault(t, fault, c.want, c.code, c.section)
		})
	}
}

func TestMessageLimitHoldsForTheAssembledMessage(t *testing.T) {
	const limit = 300
	payload := strings.Repeat("x", limit)
	inThree := func(last string) []byte {
		return join(clientFrame(wire.Text, false, payload[:100]), clientFrame(wire.Continuation, false, payload[:100]),
			clientFrame(wire.Ping, true, strings.Repeat("p", 125)), // control frames do not count
			clientFrame(wire.Continuation, true, last))
	}
	for name, c := range map[string]struct {
		stream []byte
		want   wire.FaultName
	}{
		"one frame at the limit":     {clientFrame(wire.Text, true, payload), ""},
		"one frame over it":          {clientFrame(wire.Text, true, payload+"x"), wire.UnsupportedMessageLength},
		"fragments at the limit":     {inThree(payload[:100]), ""},
		"fragments over it":          {inThree(payload[:101]), wire.UnsupportedMessageLength},
		"each message on its own":    {join(inThree(payload[:100]), clientFrame(wire.Text, true, payload)), ""},
		"empty fragment at the edge": {join(clientFrame(wire.Text, false, payload), clientFrame(0, true, "")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, chunks := range [][][]byte{{c.stream}, bytewise(c.stream)} {
				_, fault := read(t, wire.ReaderConfig{MessageLimit: limit}, chunks...)
				checkFault(t, fault, c.want, 1009, "RFC 6455 10.4")
			}
		})
	}
}

func TestFragmentLimitCountsEmptyFragments(t *testing.T) {
	fragments := func(n int) []byte {
		stream := clientFrame(wire.Text, false, "")
		for range n - 2 {
			stream = append(stream, clientFrame(wire.Continuation, false, "")...)
			stream = append(stream, clientFrame(wire.Pong, true, "")...) // control frames do not count
		}
		return append(stream, clientFrame(wire.Continuation, true, "")...)
	}
	for _, c := range []struct{ limit, allowed int }{{2, 2}, {7, 7}, {0, wire.DefaultFragmentLimit}} {
		cfg := wire.ReaderConfig{FragmentLimit: c.limit}
		_, fault := read(t, cfg, fragments(c.allowed), fragments(c.allowed))
		checkFault(t, fault, "", 0, "")
		_, fault = read(t, cfg, fragments(c.allowed+1))
		checkFault(t, fault, wire.TooManyFragments, 1008, "RFC 6455 10.4")
	}
	_, fault := read(t, wire.ReaderConfig{FragmentLimit: 1}, clientFrame(wire.Text, true, "whole"))
	checkFault(t, fault, "", 0, "")
}

func TestReaderIsReadyAgainAfterReset(t *testing.T) {
	cfg := wire.ReaderConfig{Buffers: newLender(t)}
	var r wire.Reader
	r.Reset(&cfg)
	if _, fault := feed(t, &r, []byte{0xff, 0xff}); fault == nil {
		t.Fatal("no fault")
	}
	r.Reset(&cfg)
	if _, fault := feed(t, &r, clientFrame(wire.Text, false, "unfinished")); fault != nil {
		t.Fatal(fault)
	}
	r.Reset(&cfg)
	got, fault := feed(t, &r, clientFrame(wire.Text, true, "new"))
	if fault != nil || !slices.Equal(got, []found{message(wire.Text, "new")}) {
		t.Errorf("got %+v, %v", got, fault)
	}
	if n := len(cfg.Buffers.(*lender).out); n > 0 {
		t.Errorf("%d buffers are missing", n)
	}
}

func TestInMessageFromTheFirstByteToTheLast(t *testing.T) {
	stream := join(clientFrame(wire.Text, false, "a"), clientFrame(wire.Ping, true, "b"), clientFrame(wire.Continuation, true, "c"))
	var r wire.Reader
	r.Reset(&wire.ReaderConfig{})
	if r.InMessage() {
		t.Error("in a message before the first byte")
	}
	for i, chunk := range bytewise(stream) {
		ev, _, fault := r.Next(chunk)
		if last := i == len(stream)-1; r.InMessage() == last || fault != nil || last != (ev.Kind == wire.MessageEvent) {
			t.Fatalf("byte %d of %d: in a message is %v, event %v, fault %v", i+1, len(stream), r.InMessage(), ev.Kind, fault)
		}
	}
	if _, _, fault := r.Next(clientFrame(wire.Ping, true, "")); r.InMessage() || fault != nil {
		t.Errorf("in a message after a lone ping; fault %v", fault)
	}
}

func TestEventKindNames(t *testing.T) {
	for kind, want := range map[wire.Kind]string{
		wire.NoEvent: "none", wire.MessageEvent: "message", wire.PingEvent: "ping", wire.PongEvent: "pong", wire.CloseEvent: "close",
	} {
		if got := kind.String(); got != want {
			t.Errorf("kind %d is %q, want %q", kind, got, want)
		}
	}
}

func TestReaderIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(wire.Reader{}); size > 96 {
		t.Errorf("a Reader has %d bytes; every idle connection has one", size)
	}
}

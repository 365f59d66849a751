package ws_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

func TestPeerThatBreaksTheProtocolReadsWhy(t *testing.T) {
	long := strings.Repeat("x", 126)
	tests := map[string]struct {
		raw  []byte
		code uint16
		name wire.FaultName
	}{
		"unmasked":            {wstest.Frame{Opcode: wire.Text, Unmasked: true}.Append(nil), 1002, wire.ExpectedMask},
		"reserved opcode":     {wstest.Frame{Opcode: 3}.Append(nil), 1002, wire.InvalidOpcode},
		"RSV1":                {wstest.Frame{Opcode: wire.Text, RSV1: true}.Append(nil), 1002, wire.UnexpectedRSV1},
		"RSV2":                {wstest.Frame{Opcode: wire.Text, RSV2: true}.Append(nil), 1002, wire.UnexpectedRSV23},
		"lone continuation":   {wstest.Frame{Opcode: wire.Continuation}.Append(nil), 1002, wire.InvalidOpcode},
		"fragmented ping":     {wstest.Frame{Opcode: wire.Ping, NoFin: true}.Append(nil), 1002, wire.ExpectedFIN},
		"long ping":           {wstest.Ping(long).Append(nil), 1002, wire.InvalidControlPayloadLength},
		"text not UTF-8":      {wstest.Text("\xff").Append(nil), 1007, wire.InvalidUTF8},
		"close code 1005":     {wstest.Close(1005, "").Append(nil), 1002, wire.InvalidCloseCode},
		"close of one byte":   {wstest.Frame{Opcode: wire.Close, Payload: []byte{3}}.Append(nil), 1002, wire.InvalidControlPayloadLength},
		"reason not UTF-8":    {wstest.Close(1000, "\xff").Append(nil), 1007, wire.InvalidUTF8},
		"message too large":   {wstest.Binary(make([]byte, 1001)).Append(nil), 1009, wire.UnsupportedMessageLength},
		"too many fragments":  {fragments(12), 1008, wire.TooManyFragments},
		"length not shortest": {[]byte{0x82, 0xFE, 0, 5, 1, 2, 3, 4}, 1002, wire.UnsupportedDataPayloadLength},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := connected(t, ws.Config{MessageSize: 1000, Fragments: 10}, nil)
			l.peer.Raw(append(wstest.Text("before").Append(nil), test.raw...))
			flooded := make(chan struct{})
			stop := make(chan struct{})
			go func() { // it does not care that it was refused
				defer close(flooded)
				junk := []byte(strings.Repeat("junk", 10<<10))
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := l.peer.Write(junk); err != nil {
						return
					}
				}
			}()
			l.peer.ExpectClose(test.code)
			l.peer.ExpectEnd()
			close(stop)
			<-flooded
			_ = l.peer.Close()
			end := l.rec.End()
			cause := ws.ProtocolFault
			if test.code == 1009 {
				cause = ws.MessageTooBig
			}
			if end.Cause != cause || end.Fault == nil || end.Fault.Name != test.name || end.SentCode != test.code ||
				end.Code != wire.AbnormalClosure || end.WasClean {
				t.Errorf("ended as %+v", end)
			}
			if got := strings.Join(l.rec.Events(), ", "); got != "text before, close" {
				t.Errorf("recorded %s", got)
			}
		})
	}
}

func fragments(n int) []byte {
	b := wstest.Frame{Opcode: wire.Text, NoFin: true}.Append(nil)
	for range n {
		b = wstest.Frame{Opcode: wire.Continuation, NoFin: true}.Append(b)
	}
	return b
}

func TestPeerThatStaysAfterAFaultIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{}, nil)
		l.peer.Send(wstest.Frame{Opcode: 3})
		l.peer.ExpectClose(1002)
		if end := l.rec.End(); end.Cause != ws.ProtocolFault {
			t.Errorf("ended as %+v", end)
		}
	})
}

func TestFaultAfterOurCloseEndsTheWait(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	l.Close(4000, "", 0, nil)
	l.peer.ExpectClose(4000)
	l.peer.Send(wstest.Frame{Opcode: 3})
	l.peer.ExpectEnd()
	_ = l.peer.Close()
	if end := l.rec.End(); end.Cause != ws.LocalClose || end.WasClean {
		t.Errorf("ended as %+v", end)
	}
}

func TestPanicClosesThatConnectionAlone(t *testing.T) {
	e := newEngine(t)
	var links []*link
	for range 2 {
		server, client := wstest.TCP(t)
		links = append(links, started(t, e, ws.Config{}, server, client, func(l *link) {
			l.rec.Message = func(_ wire.Opcode, payload []byte) bool {
				if string(payload) == "boom" {
					panic("boom")
				}
				return true
			}
		}))
	}
	bad, good := links[0], links[1]
	bad.peer.Send(wstest.Text("fine"), wstest.Text("boom"), wstest.Text("lost"))
	bad.peer.ExpectClose(1011)
	bad.peer.ExpectEnd()
	_ = bad.peer.Close()
	if end := bad.rec.End(); end.Cause != ws.Panic || end.SentCode != 1011 {
		t.Errorf("ended as %+v", end)
	}
	good.peer.Send(wstest.Text("still here"))
	good.rec.WaitFor("text still here")
	if n := e.Panics(); n != 1 {
		t.Errorf("%d panics counted", n)
	}
}

func TestPanicInOtherCallbacks(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	m := text("x")
	m.Confirmation = ws.Written
	mustSend(t, l.Conn, m, func(ws.Outcome) { panic("in a Done") })
	l.peer.Expect(wire.Text, "x")
	l.peer.ExpectClose(1011)
	l.peer.Send(wstest.Close(1011, ""))
	if end := l.rec.End(); end.Cause != ws.Panic || !end.WasClean {
		t.Errorf("ended as %+v", end)
	}

	l = connected(t, ws.Config{}, nil)
	l.rec.Close = func(ws.End) { panic("in OnClose") }
	l.Terminate(0)
	if _, err := l.peer.TryReceive(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestPanicInOnWritable(t *testing.T) {
	l := connected(t, ws.Config{SendQueueBytes: 128 << 10}, func(l *link) {
		l.rec.Writable = func() { panic("in OnWritable") }
	})
	for {
		if _, err := l.Send(binaryMessage(64<<10), nil); err != nil {
			break
		}
	}
	l.peer.ExpectClose(1011)
	l.peer.Send(wstest.Close(1011, ""))
	if end := l.rec.End(); end.Cause != ws.Panic || !end.WasClean {
		t.Errorf("ended as %+v", end)
	}
}

func TestRefusedMessageClosesWith1009(t *testing.T) {
	l := connected(t, ws.Config{}, func(l *link) {
		l.rec.Message = func(wire.Opcode, []byte) bool { l.Refuse("larger than the bus takes"); return true }
	})
	l.peer.Send(wstest.Text("big"))
	if reason := l.peer.ExpectClose(1009); reason != "larger than the bus takes" {
		t.Errorf("reason %q", reason)
	}
	l.peer.Send(wstest.Close(1009, ""))
	if end := l.rec.End(); end.Cause != ws.MessageTooBig || !end.WasClean {
		t.Errorf("ended as %+v", end)
	}
}

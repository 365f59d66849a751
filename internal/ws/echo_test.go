package ws_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

var edgeSizes = []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20}

func TestMessagesOfAllSizesGoBothWays(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS=%v", secure), func(t *testing.T) {
			// Room for two: the one before may be written, and not yet off the account.
			url := serve(t, ws.Config{SendQueueBytes: 2 << 20, HeartbeatInterval: -1}, secure, echo(t))
			p := wstest.Dial(t, url, nil)
			for _, op := range []wire.Opcode{wire.Text, wire.Binary} {
				for _, n := range edgeSizes {
					payload := bytes.Repeat([]byte("a"), n)
					go p.Send(wstest.Frame{Opcode: op, Payload: payload})
					p.Expect(op, string(payload))
				}
			}
			p.Send(wstest.Close(1000, ""))
			p.ExpectClose(1000)
			p.ExpectEnd()
		})
	}
}

func TestFramesBehindTheHandshakeAreRead(t *testing.T) {
	url := serve(t, ws.Config{}, false, echo(t))
	p := wstest.Dial(t, url, nil, wstest.Text("one"), wstest.Text("two"))
	p.Expect(wire.Text, "one")
	p.Expect(wire.Text, "two")
	p.Send(wstest.Text("three"))
	p.Expect(wire.Text, "three")
}

func TestHandshakeIsAnswered(t *testing.T) {
	url := serve(t, ws.Config{}, false, echo(t))
	_, resp := wstest.TryDial(t, url, http.Header{"Sec-Websocket-Protocol": {"other, chat"}})
	if got := resp.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("accept key is %q", got)
	}
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "chat" {
		t.Errorf("subprotocol is %q", got)
	}
	_, resp = wstest.TryDial(t, url, http.Header{"Origin": {"https://evil.example"}})
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("foreign origin answered with %s", resp.Status)
	}
}

func TestFragmentsAreAssembledWithPingsBetween(t *testing.T) {
	l := connected(t, ws.Config{}, echo(t))
	l.peer.Send(wstest.Frame{Opcode: wire.Text, Payload: []byte("Hel"), NoFin: true}, wstest.Ping("p1"),
		wstest.Frame{Opcode: wire.Continuation, Payload: []byte("lo"), NoFin: true})
	l.peer.Expect(wire.Pong, "p1")
	l.peer.Send(wstest.Frame{Opcode: wire.Continuation})
	l.peer.Expect(wire.Text, "Hello")
	want := "ping p1, text Hello"
	if got := strings.Join(l.rec.Wait(2), ", "); got != want {
		t.Errorf("recorded %s, want %s", got, want)
	}
}

func TestBytesMayComeOneByOne(t *testing.T) {
	l := connected(t, ws.Config{}, echo(t))
	for _, b := range wstest.Text("slow").Append(nil) {
		l.peer.Raw([]byte{b})
	}
	l.peer.Expect(wire.Text, "slow")
}

func TestEveryPingOfAChunkIsAnswered(t *testing.T) {
	l := connected(t, ws.Config{}, nil)
	l.peer.Send(wstest.Ping("1"), wstest.Ping("2"), wstest.Ping("3"))
	l.peer.Expect(wire.Pong, "1")
	l.peer.Expect(wire.Pong, "2")
	l.peer.Expect(wire.Pong, "3")
	l.peer.Send(wstest.Ping("")) // an empty one too
	l.peer.Expect(wire.Pong, "")
	l.rec.Wait(4)
}

func TestPingIsAnsweredThoughTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := stuck(t, ws.Config{SendQueueBytes: 10})
		mustSend(t, l.Conn, text("fills it"), nil)
		if _, err := l.Send(text("no room"), nil); !errors.Is(err, ws.ErrQueueFull) {
			t.Fatal(err)
		}
		for i := range 20 {
			l.peer.Send(wstest.Ping(strconv.Itoa(i)))
		}
		l.rec.WaitFor("ping 19")
		l.peer.Expect(wire.Text, "0")
		for i := 4; i < 20; i++ { // the latest 16 (RFC 6455 5.5.3)
			l.peer.Expect(wire.Pong, strconv.Itoa(i))
		}
		l.peer.Expect(wire.Text, "fills it")
	})
}

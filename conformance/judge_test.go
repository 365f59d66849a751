package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// impostor plays a broker that, once the client has said something, answers with those bytes, whatever was said, and
// then ends TCP.
func impostor(t *testing.T, extensions, answer string, hangUp bool) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		in := bufio.NewReader(nc)
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, _ = nc.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + extensions +
			"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"))
		_, _ = in.ReadByte()
		_, _ = nc.Write([]byte(answer))
		if tcp, ok := nc.(*net.TCPConn); ok && hangUp {
			_ = tcp.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, in) // closing with unread input would reset the connection
		_ = nc.Close()
	}()
	return l.Addr().String()
}

const (
	serverHello = "\x81\x05Hello"
	serverClose = "\x88\x02\x03\xe8"
)

// TestJudgeSeesEveryFault: a check that cannot fail is none.
func TestJudgeSeesEveryFault(t *testing.T) {
	echo := testCase{steps: []step{send(text("Hello")), textEcho("Hello"), closes()}}
	refuse := testCase{steps: []step{send(text("Hello")), fails(1002)}}
	three := testCase{steps: []step{send(ping("1"), ping("2"), ping("3")), pongs("1", "2", "3"), closes()}}
	for name, c := range map[string]struct {
		play   testCase
		answer string
		open   bool // TCP stays open
		want   verdict
		why    string
	}{
		"right":                  {echo, serverHello + serverClose, false, ok, ""},
		"in fragments":           {echo, "\x01\x02He\x80\x03llo" + serverClose, false, ok, ""},
		"nothing":                {echo, "", true, failed, "nothing came"},
		"wrong payload":          {echo, "\x81\x05Hallo" + serverClose, false, failed, "differ at byte 1"},
		"wrong opcode":           {echo, "\x82\x05Hello" + serverClose, false, failed, "want text"},
		"twice":                  {echo, serverHello + serverHello + serverClose, false, failed, "want close 1000"},
		"unasked pong":           {echo, "\x8a\x00" + serverHello + serverClose, false, failed, "want text"},
		"masked":                 {echo, "\x81\x85\x00\x00\x00\x00Hello" + serverClose, false, failed, "masked"},
		"reserved bit":           {echo, "\xc1\x05Hello" + serverClose, false, failed, "reserved bits"},
		"reserved opcode":        {echo, "\x83\x05Hello" + serverClose, false, failed, "reserved opcode"},
		"length too long":        {echo, "\x81\x7e\x00\x05Hello" + serverClose, false, failed, "length 5"},
		"stray continuation":     {echo, "\x80\x05Hello" + serverClose, false, failed, "5.4"},
		"fragmented control":     {echo, "\x09\x00" + serverHello, false, failed, "5.5"},
		"not UTF-8":              {echo, "\x81\x01\xff", false, failed, "UTF-8"},
		"no close frame":         {echo, serverHello, false, failed, "want close 1000"},
		"wrong code":             {echo, serverHello + "\x88\x02\x03\xe9", false, failed, "want close 1000"},
		"code left out":          {echo, serverHello + "\x88\x00", false, nonStrict, "5.5.1"},
		"illegal code":           {echo, serverHello + "\x88\x02\x03\xed", false, failed, "7.4"},
		"frame after close":      {echo, serverHello + serverClose + serverHello, false, failed, "after the close frame"},
		"TCP left open":          {echo, serverHello + serverClose, true, failed, "nothing came"},
		"ends within a frame":    {echo, serverHello + "\x88\x02\x03", false, failed, "want close 1000"},
		"failed as it should":    {refuse, "\x88\x02\x03\xea", false, ok, ""},
		"not failed":             {refuse, serverHello, true, failed, "want close 1002"},
		"failed for another":     {refuse, serverClose, false, failed, "want close 1002"},
		"failed without a frame": {refuse, "", false, failed, "want close 1002"},
		"all pongs":              {three, "\x8a\x011\x8a\x012\x8a\x013" + serverClose, false, ok, ""},
		"last pong only":         {three, "\x8a\x013" + serverClose, false, nonStrict, "5.5.3"},
		"pongs out of order":     {three, "\x8a\x012\x8a\x011\x8a\x013" + serverClose, false, failed, "answers no ping"},
		"pong to nothing":        {three, "\x8a\x014" + serverClose, false, failed, "answers no ping"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.open {
				c.play.limit = 2 * time.Second
			}
			st := &stage{address: impostor(t, "", c.answer, !c.open)}
			r := play(t.Context(), st, &c.play)
			if r.verdict != c.want || !strings.Contains(r.why, c.why) {
				t.Errorf("%s: %s; want %s: %s", verdictNames[r.verdict], r.why, verdictNames[c.want], c.why)
			}
		})
	}
}

// TestJudgeSeesAWrongAgreement: the answer to an offer is part of the examination.
func TestJudgeSeesAWrongAgreement(t *testing.T) {
	for answer, want := range map[string]verdict{
		"":                   nonStrict,
		"permessage-deflate": failed, // without what was asked for
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=9":                            ok,
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=8":                            ok,
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=10":                           failed,
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=10": failed,
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=9; nonsense":                  failed,
		"x-unknown": failed,
	} {
		extensions := ""
		if answer != "" {
			extensions = "Sec-WebSocket-Extensions: " + answer + "\r\n"
		}
		st := &stage{address: impostor(t, extensions, serverClose, true)}
		r := play(t.Context(), st, &testCase{
			offer: "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
			steps: []step{agreed},
		})
		if r.verdict != want {
			t.Errorf("%q: %s: %s; want %s", answer, verdictNames[r.verdict], r.why, verdictNames[want])
		}
	}
}

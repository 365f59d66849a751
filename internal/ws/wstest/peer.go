package wstest

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Patience is how long a Peer and a Recorder wait for what a test expects before they fail it. Under
// testing/synctest it is virtual time.
const Patience = 20 * time.Second

// Frame is one frame. The zero values of Unmasked and NoFin make it what a client should send.
type Frame struct {
	Opcode   wire.Opcode
	Payload  []byte
	NoFin    bool // more frames of the message follow
	Unmasked bool // against RFC 6455 5.1
	RSV1     bool
	RSV2     bool
	RSV3     bool
}

// Append appends the frame in its wire format.
func (f Frame) Append(dst []byte) []byte {
	h := wire.Header{
		Fin: !f.NoFin, RSV1: f.RSV1, RSV2: f.RSV2, RSV3: f.RSV3, Opcode: f.Opcode,
		Masked: !f.Unmasked, Length: uint64(len(f.Payload)),
	}
	if h.Masked {
		h.Mask = [4]byte{0xA1, 0x5C, 0x03, 0x7E}
	}
	dst = wire.AppendHeader(dst, h)
	start := len(dst)
	dst = append(dst, f.Payload...)
	if h.Masked {
		wire.Mask(dst[start:], h.Mask, 0)
	}
	return dst
}

// Text is a whole text message.
func Text(s string) Frame { return Frame{Opcode: wire.Text, Payload: []byte(s)} }

// Binary is a whole binary message.
func Binary(b []byte) Frame { return Frame{Opcode: wire.Binary, Payload: b} }

// Ping is a ping frame.
func Ping(payload string) Frame { return Frame{Opcode: wire.Ping, Payload: []byte(payload)} }

// Pong is a pong frame.
func Pong(payload string) Frame { return Frame{Opcode: wire.Pong, Payload: []byte(payload)} }

// Close is a close frame; code 0 stands for none.
func Close(code uint16, reason string) Frame {
	f := Frame{Opcode: wire.Close}
	if code != 0 {
		f.Payload = append(binary.BigEndian.AppendUint16(nil, code), reason...)
	}
	return f
}

// Peer is the client's end of a connection. Its methods fail the test when they cannot do their work.
// One goroutine may send while another receives.
type Peer struct {
	net.Conn // for what is not a frame
	t        testing.TB
	in       *bufio.Reader
	sendMu   sync.Mutex
}

// NewPeer makes a peer of a connection whose handshake is over. It is closed with the test.
func NewPeer(t testing.TB, nc net.Conn) *Peer {
	p := &Peer{Conn: nc, t: t, in: bufio.NewReader(nc)}
	t.Cleanup(func() { _ = nc.Close() })
	return p
}

// Dial connects to "ws://host:port/path", or wss without looking at the certificate, and fails the test
// unless the answer is 101. header may be nil. early is sent in the same segment as the handshake.
func Dial(t testing.TB, url string, header http.Header, early ...Frame) *Peer {
	t.Helper()
	p, resp := TryDial(t, url, header, early...)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake answered with %s", resp.Status)
	}
	return p
}

// TryDial is Dial for handshakes that may be refused.
func TryDial(t testing.TB, url string, header http.Header, early ...Frame) (*Peer, *http.Response) {
	t.Helper()
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	nc, err := net.DialTimeout("tcp", host, Patience)
	if err != nil {
		t.Fatal(err)
	}
	if scheme == "wss" {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) // the certificate is not what is tested
	}
	p := NewPeer(t, nc)
	request := "GET /" + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + handshakeHeader(header) + "\r\n"
	out := []byte(request)
	for _, f := range early {
		out = f.Append(out)
	}
	p.Raw(out)
	resp, err := http.ReadResponse(p.in, &http.Request{Method: http.MethodGet})
	if err != nil {
		t.Fatal("handshake: ", err)
	}
	return p, resp
}

func handshakeHeader(extra http.Header) string {
	var b strings.Builder
	_ = defaultHeader(extra).Write(&b)
	return b.String()
}

// defaultHeader is the header of a handshake, with more or other fields.
func defaultHeader(extra http.Header) http.Header {
	h := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	maps.Copy(h, extra)
	return h
}

// Send sends frames in one write.
func (p *Peer) Send(frames ...Frame) {
	p.t.Helper()
	if err := p.TrySend(frames...); err != nil {
		p.t.Error("send: ", err)
	}
}

// TrySend is Send for when the other end may be gone.
func (p *Peer) TrySend(frames ...Frame) error {
	var b []byte
	for _, f := range frames {
		b = f.Append(b)
	}
	p.sendMu.Lock()
	defer p.sendMu.Unlock()
	_, err := p.Write(b)
	return err
}

// Raw sends bytes as they are.
func (p *Peer) Raw(b []byte) {
	p.t.Helper()
	p.sendMu.Lock()
	defer p.sendMu.Unlock()
	if _, err := p.Write(b); err != nil {
		p.t.Error("send: ", err)
	}
}

// Forget gives the peer's buffer up, for tests that measure memory. It cannot receive afterwards.
func (p *Peer) Forget() { p.in = nil }

// TryReceive reads the next frame.
func (p *Peer) TryReceive() (Frame, error) {
	_ = p.SetReadDeadline(time.Now().Add(Patience))
	var h wire.Header
	var n int
	for size := 2; n == 0; size++ {
		b, err := p.in.Peek(size)
		if err != nil {
			return Frame{}, err
		}
		var fault *wire.Fault
		if h, n, fault = wire.ParseHeader(b); fault != nil {
			return Frame{}, fault
		}
	}
	_, _ = p.in.Discard(n)
	f := Frame{
		Opcode: h.Opcode, NoFin: !h.Fin, Unmasked: !h.Masked, RSV1: h.RSV1, RSV2: h.RSV2, RSV3: h.RSV3,
		Payload: make([]byte, h.Length),
	}
	_, err := io.ReadFull(p.in, f.Payload)
	return f, err
}

// Receive reads the next frame.
func (p *Peer) Receive() Frame {
	p.t.Helper()
	f, err := p.TryReceive()
	if err != nil {
		p.t.Fatal("receive: ", err)
	}
	if !f.Unmasked {
		p.t.Error("a server must not mask a frame (RFC 6455 5.1)")
	}
	return f
}

// Expect reads the next frame and fails the test unless it is a whole one of that kind and payload.
func (p *Peer) Expect(op wire.Opcode, payload string) {
	p.t.Helper()
	f := p.Receive()
	if f.Opcode != op || f.NoFin || string(f.Payload) != payload {
		p.t.Fatalf("received %s, want %v %s", f.describe(), op, clip([]byte(payload)))
	}
}

// ExpectClose reads frames, discarding messages, until a close frame, which must have that code. It
// answers the reason.
func (p *Peer) ExpectClose(code uint16) (reason string) {
	p.t.Helper()
	for {
		f := p.Receive()
		if f.Opcode != wire.Close {
			continue
		}
		got, reason, fault := wire.ParseClose(f.Payload)
		if fault != nil || got != code {
			p.t.Fatalf("close frame has code %d (%v), want %d", got, fault, code)
		}
		return reason
	}
}

// ExpectEnd fails the test unless the stream ends orderly, without a further frame.
func (p *Peer) ExpectEnd() {
	p.t.Helper()
	if f, err := p.TryReceive(); !errors.Is(err, io.EOF) {
		p.t.Fatalf("received %s, %v; want the end of the stream", f.describe(), err)
	}
}

// Reset closes the TCP connection with a reset instead of an orderly end.
func (p *Peer) Reset() {
	if c, ok := p.Conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	_ = p.Close()
}

func (f Frame) describe() string { return f.Opcode.String() + " " + clip(f.Payload) }

func clip(b []byte) string {
	if len(b) > 60 {
		return string(b[:60]) + "…"
	}
	return string(b)
}

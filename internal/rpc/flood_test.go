package rpc

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// rogue is a client that speaks HTTP/2 frame by frame, and misbehaves. It reads whatever it is sent.
type rogue struct {
	net.Conn
	*http2.Framer

	t      *testing.T
	header bytes.Buffer
	enc    *hpack.Encoder
	frames chan any // of those that count: settings, and why a stream or the connection ended
}

// dialRogue connects to the server and gets over the preface.
func dialRogue(t *testing.T, b *broker) *rogue {
	t.Helper()
	nc, err := b.listener.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	r := &rogue{Conn: nc, Framer: http2.NewFramer(nc, nc), t: t, frames: make(chan any, 1<<20)}
	r.enc = hpack.NewEncoder(&r.header)
	go r.read()
	r.must(io.WriteString(nc, http2.ClientPreface))
	r.must(0, r.WriteSettings())
	return r
}

func (r *rogue) must(_ int, err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// read tells what comes; the end of the connection closes frames.
func (r *rogue) read() {
	defer close(r.frames)
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if n, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
				r.frames <- http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n}
			}
		case *http2.RSTStreamFrame:
			r.frames <- f.ErrCode
		case *http2.GoAwayFrame:
			r.frames <- errors.New(f.ErrCode.String())
		}
	}
}

// open begins a call of a stream that lasts until its client ends it.
func (r *rogue) open(stream uint32, more ...hpack.HeaderField) error {
	r.header.Reset()
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "broker"},
		{Name: ":path", Value: holdfastv1.ConnectionService_SendStream_FullMethodName},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, more...) {
		_ = r.enc.WriteField(f)
	}
	const frame = 16 << 10
	rest := r.header.Bytes()
	first := rest[:min(len(rest), frame)]
	rest = rest[len(first):]
	err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndHeaders: len(rest) == 0})
	for err == nil && len(rest) > 0 {
		part := rest[:min(len(rest), frame)]
		rest = rest[len(part):]
		err = r.WriteContinuation(stream, len(rest) == 0, part)
	}
	return err
}

// next waits for what the server says next; nil: it has closed the connection.
func (r *rogue) next() any {
	r.t.Helper()
	select {
	case f := <-r.frames:
		return f
	case <-time.After(patience):
		r.t.Fatal("the server says nothing")
		return nil
	}
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// served checks that others are.
func (b *broker) served(t *testing.T) {
	t.Helper()
	if _, err := b.client.Count(t.Context(), &holdfastv1.CountRequest{}); err != nil {
		t.Errorf("a call of somebody else: %v", err)
	}
}

func TestThreatControlFloodOfStreams(t *testing.T) {
	b := start(t, Config{})
	r := dialRogue(t, b)
	if got, want := r.next(), (http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams}); got != want {
		t.Fatalf("the server announces %v", got)
	}
	for n := range uint32(maxStreams + 1) {
		if err := r.open(2*n + 1); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.next(); got != http2.ErrCodeRefusedStream {
		t.Errorf("one stream too many: %v", got)
	}
	b.served(t)
}

// TestThreatControlFloodOfResets: streams that are begun and reset at once (CVE-2023-44487).
func TestThreatControlFloodOfResets(t *testing.T) {
	b := start(t, Config{})
	r := dialRogue(t, b)
	for n := range uint32(20_000) {
		if r.open(2*n+1) != nil || r.WriteRSTStream(2*n+1, http2.ErrCodeCancel) != nil {
			break // the server has had enough, which is fine, too
		}
		if n%1000 == 0 {
			b.served(t)
		}
	}
	b.served(t)
}

func TestThreatControlFloodOfPings(t *testing.T) {
	b := start(t, Config{})
	r := dialRogue(t, b)
	r.next() // settings
	for range 1000 {
		if r.WritePing(false, [8]byte{}) != nil {
			break
		}
	}
	for got := r.next(); ; got = r.next() {
		if err, ok := got.(error); ok && err.Error() == http2.ErrCodeEnhanceYourCalm.String() {
			break
		} else if got == nil {
			t.Fatal("the connection ended without a word")
		}
	}
	b.served(t)
}

// TestThreatControlFloodOfMetadata: also in frames that never end, of which each is small (CVE-2024-24549 and others).
func TestThreatControlFloodOfMetadata(t *testing.T) {
	b := start(t, Config{})
	r := dialRogue(t, b)
	r.next() // settings
	value := string(bytes.Repeat([]byte("x"), 1000))
	var fields []hpack.HeaderField
	for range 2 * maxHeader / len(value) {
		fields = append(fields, hpack.HeaderField{Name: "x", Value: value, Sensitive: true})
	}
	if err := r.open(1, fields...); err != nil {
		t.Fatal(err)
	}
	switch got := r.next().(type) {
	case http2.ErrCode, error, nil:
	default:
		t.Errorf("the server says %v", got)
	}
	b.served(t)
}

// TestThreatSlowControlHandshake: who connects and says nothing, or half of what begins HTTP/2.
func TestThreatSlowControlHandshake(t *testing.T) {
	b := start(t, Config{HandshakeTimeout: 50 * time.Millisecond})
	for _, sent := range []string{"", http2.ClientPreface[:10]} {
		nc, err := b.listener.Dial()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(nc, sent)
		_ = nc.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %q: it was not cut off", sent)
		}
		_ = nc.Close()
	}
	b.served(t)
}

func TestThreatControlFloodOfConnections(t *testing.T) {
	b := start(t, Config{Connections: 2})
	b.served(t) // one
	second := dialRogue(t, b)
	second.next()
	third, err := b.listener.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = third.Close() }()
	if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the third: %d, %v", n, err)
	}
	if n := b.server.RefusedConnections(); n != 1 {
		t.Errorf("%d refused", n)
	}
	_ = second.Close()
	for deadline := time.Now().Add(patience); b.server.connections.n.Load() > 1; {
		if time.Now().After(deadline) {
			t.Fatal("a connection that is closed still counts")
		}
	}
	dialRogue(t, b).next()
}

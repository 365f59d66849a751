package ws_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// sharing is a text message as it goes to many.
func sharing(s string) *ws.Message {
	m := text(s)
	m.Shared = ws.NewShared(m.Opcode, m.Payload)
	return m
}

// written is what the peer gets when these are sent, byte for byte.
func written(t *testing.T, l *link, messages ...*ws.Message) []byte {
	t.Helper()
	go func() {
		for _, m := range messages {
			mustSend(t, l.Conn, m, nil)
		}
		l.Close(1000, "", 0, nil)
	}()
	_ = l.peer.SetReadDeadline(time.Now().Add(wstest.Patience))
	var got bytes.Buffer
	end := wstest.Close(1000, "")
	end.Unmasked = true
	for tail := end.Append(nil); !bytes.HasSuffix(got.Bytes(), tail); {
		if _, err := io.CopyN(&got, l.peer.Conn, 1); err != nil {
			t.Fatal(err)
		}
	}
	return got.Bytes()
}

func TestSharedMessageIsTheSameOnTheWire(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65_535, 65_536, ws.ChunkSize * 3} {
		m := sharing(strings.Repeat("x", size))
		ordinary := *m
		ordinary.Shared = nil
		want := written(t, connected(t, ws.Config{}, nil), &ordinary, text("behind"))
		if got := written(t, connected(t, ws.Config{}, nil), m, text("behind")); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d on the wire, want %d", size, len(got), len(want))
		}
		if got := written(t, piped(t, ws.Config{}, nil), m, text("behind")); !bytes.Equal(got, want) {
			t.Errorf("%d bytes over a stream: %d on the wire, want %d", size, len(got), len(want))
		}
	}
}

// parameterSets are the ways in which the connections of one broadcast may differ. alone: what is compressed for one of
// them can be sent to no other.
var parameterSets = map[string]struct {
	compression ws.Compression
	alone       bool
}{
	"15 bits":      {compression: everything},
	"10 bits":      {compression: ws.Compression{Enabled: true, Threshold: -1, ServerMaxWindowBits: 10}},
	"level 6":      {compression: ws.Compression{Enabled: true, Threshold: -1, Level: 6}},
	"with context": {compression: ws.Compression{Enabled: true, Threshold: -1, ServerContextTakeover: true}, alone: true},
}

func TestSharedMessageIsCompressedAsAnyOther(t *testing.T) {
	e := newEngine(t)
	m := sharing(strings.Repeat(long, 50))
	ordinary := *m
	ordinary.Shared = nil
	for name, set := range parameterSets {
		cfg := ws.Config{Compression: set.compression}
		for range 2 {
			got := written(t, compressed(t, e, cfg, offered, nil).link, m, m)
			like := compressed(t, e, cfg, offered, nil).link
			if set.alone {
				like = connected(t, ws.Config{}, nil)
			}
			if want := written(t, like, &ordinary, &ordinary); !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes on the wire, want %d", name, len(got), len(want))
			}
		}
	}
	if got, want := written(t, connected(t, ws.Config{}, nil), m), written(t, connected(t, ws.Config{}, nil), &ordinary); !bytes.Equal(got, want) {
		t.Errorf("without compression: %d bytes on the wire, want %d", len(got), len(want))
	}
}

// TestSharedMessageIsCompressedOncePerParameterSet counts those who asked for a compressor, of which there is none.
func TestSharedMessageIsCompressedOncePerParameterSet(t *testing.T) {
	e := ws.NewEngine(ws.EngineConfig{Logger: slog.New(slog.DiscardHandler), CompressionMemory: 1})
	t.Cleanup(e.Close)
	var members []*deflating
	for _, set := range parameterSets {
		for range 3 {
			if !set.alone { // its context would have no room
				members = append(members, compressed(t, e, ws.Config{Compression: set.compression}, offered, nil))
			}
		}
	}
	m := sharing(long)
	for _, d := range members {
		mustSend(t, d.Conn, m, nil)
		d.expect(t, long, false)
	}
	if got, want := e.Uncompressed().Messages, uint64(len(parameterSets)-1); got != want {
		t.Errorf("compressed %d times, want %d", got, want)
	}
}

func TestSharedMessageIsCompressedWhereItIsWorthIt(t *testing.T) {
	e := newEngine(t)
	yes, no := true, false
	for _, test := range []struct {
		compression ws.Compression
		compress    *bool
		want        bool
	}{
		{everything, nil, true},
		{ws.Compression{Enabled: true, Threshold: len(long) + 1}, nil, false},
		{ws.Compression{Enabled: true, Threshold: len(long)}, nil, true},
		{ws.Compression{Enabled: true, Threshold: len(long) + 1}, &yes, true},
		{everything, &no, false},
		{ws.Compression{Enabled: true, ServerContextTakeover: true}, &yes, false},
	} {
		m := sharing(long)
		m.Compress = test.compress
		d := compressed(t, e, ws.Config{Compression: test.compression}, offered, nil)
		mustSend(t, d.Conn, m, nil)
		d.expect(t, long, test.want)
		mustSend(t, d.Conn, text(long), nil) // a context is not upset
		d.expect(t, long, test.compression.Threshold <= len(long))
	}
}

// TestSharedMessageCountsAsAnyOther compares what a connection says of itself, and tells those who sent.
func TestSharedMessageCountsAsAnyOther(t *testing.T) {
	for name, compression := range map[string]ws.Compression{
		"as it is": {Enabled: true, Threshold: 1 << 30}, "compressed": everything, "with context": parameterSets["with context"].compression,
	} {
		t.Run(name, func(t *testing.T) {
			want, got := accounts(t, compression, text), accounts(t, compression, sharing)
			if got != want {
				t.Errorf("ordinary messages:\n%sshared ones:\n%s", want, got)
			}
		})
	}
}

// accounts sends messages that of makes through a full queue, whose oldest give way, and then to a peer that reads.
func accounts(t *testing.T, compression ws.Compression, of func(string) *ws.Message) string {
	t.Helper()
	var account strings.Builder
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		d := compressedOver(t, newEngine(t), ws.Config{
			Compression: compression, HeartbeatInterval: -1,
			SendQueueBytes: 100_000, SendQueueMessages: 8, SendQueuePolicy: ws.QueueDropOldest,
		}, offered, server, client, nil)
		said := make([]string, 12)
		var mu sync.Mutex
		send := func(i, size int, expireAfter time.Duration) {
			m := of(strings.Repeat("x", size))
			m.Confirmation, m.ExpireAfter = ws.Confirmation(1+i%2), expireAfter
			sent, err := d.Send(m, func(o ws.Outcome) {
				mu.Lock()
				defer mu.Unlock()
				said[i] += fmt.Sprint(o)
			})
			if i < 10 { // nothing is read yet
				fmt.Fprintln(&account, i, sent.Buffered)
			}
			fmt.Fprintln(&account, err)
		}
		state := func() {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			bytes, frames, receipts := d.Unaccounted()
			fmt.Fprintln(&account, bytes, frames, receipts, d.State(), said)
		}
		for i := range 10 {
			send(i, 1000+i, time.Duration(i%5/4)*time.Second)
			state()
		}
		time.Sleep(2 * time.Second)
		state()
		send(10, 100_001, 0)
		go answer(d.peer)
		state()
		send(11, 90_000, 0)
		state()
	})
	return account.String()
}

// answer reads everything, and answers what asks for it.
func answer(p *wstest.Peer) {
	for {
		f, err := p.TryReceive()
		if err != nil {
			return
		}
		if f.Opcode == wire.Ping {
			_ = p.TrySend(wstest.Pong(string(f.Payload)))
		}
	}
}

// TestManySendShared lets many goroutines send the same messages through connections of all kinds.
func TestManySendShared(t *testing.T) {
	const broadcasts = 50
	e := newEngine(t)
	var members []*deflating
	for range 5 {
		for _, set := range parameterSets {
			members = append(members, compressed(t, e, ws.Config{Compression: set.compression, SendQueueBytes: 8 << 20}, offered, nil))
		}
	}
	messages := make([]*ws.Message, broadcasts)
	for i := range messages {
		messages[i] = sharing(fmt.Sprint(i, strings.Repeat(long, i)))
	}
	var wg sync.WaitGroup
	for _, d := range members {
		wg.Go(func() {
			for _, m := range messages {
				if _, err := d.Send(m, nil); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for i, m := range messages {
				if _, got, _, _ := d.receive(t); got != string(m.Payload) {
					t.Errorf("message %d of %d bytes came as %d", i, len(m.Payload), len(got))
				}
			}
		})
	}
	wg.Wait()
}

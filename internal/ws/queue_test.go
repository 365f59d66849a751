package ws_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// stuck makes a connection over a pipe whose peer does not read, with one message of one byte on its way.
func stuck(t *testing.T, cfg ws.Config) *link {
	l := piped(t, cfg, nil)
	mustSend(t, l.Conn, text("0"), nil)
	synctest.Wait()
	return l
}

func TestFullQueueRefusesAndTellsWhenItIsEmpty(t *testing.T) {
	for name, cfg := range map[string]ws.Config{
		"bytes":    {SendQueueBytes: 10},
		"messages": {SendQueueMessages: 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := stuck(t, cfg)
				for _, s := range []string{"111", "222", "333"} {
					mustSend(t, l.Conn, text(s), nil)
				}
				if sent, err := l.Send(text("4"), nil); !errors.Is(err, ws.ErrQueueFull) || sent.Buffered != 10 {
					t.Errorf("send to a full queue: %+v, %v", sent, err)
				}
				l.peer.Expect(wire.Text, "0")
				synctest.Wait()
				if len(l.rec.Events()) != 0 {
					t.Errorf("recorded %v before the queue was empty", l.rec.Events())
				}
				for _, s := range []string{"111", "222", "333"} { // one batch
					l.peer.Expect(wire.Text, s)
				}
				l.rec.WaitFor("writable")
				mustSend(t, l.Conn, text("4"), nil)
				l.peer.Expect(wire.Text, "4")
				synctest.Wait()
				if n := len(l.rec.Events()); n != 1 {
					t.Errorf("recorded %v", l.rec.Events())
				}
				if s := l.State(); s.Buffered != 0 || s.MessagesOut != 5 || s.BytesOut != 11 {
					t.Errorf("state %+v", s)
				}
			})
		})
	}
}

func TestLentPayloadIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{}, nil)
		for _, s := range []string{"written at once", "queued", "queued behind it"} {
			m := text(s)
			m.Lent = true
			mustSend(t, l.Conn, m, nil)
			clear(m.Payload)
		}
		for _, s := range []string{"written at once", "queued", "queued behind it"} {
			l.peer.Expect(wire.Text, s)
		}
	})
}

func TestMessageLargerThanTheQueueIsRefused(t *testing.T) {
	l := connected(t, ws.Config{SendQueueBytes: 10}, nil)
	if _, err := l.Send(binaryMessage(11), nil); !errors.Is(err, ws.ErrTooLarge) {
		t.Errorf("send: %v", err)
	}
	mustSend(t, l.Conn, binaryMessage(10), nil)
	l.peer.Receive()
}

func TestSlowConsumerIsClosedWith1013(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := stuck(t, ws.Config{SendQueueBytes: 10, SendQueuePolicy: ws.QueueClose})
		m := text("111111111")
		m.Confirmation = ws.Written
		done, told := outcome(t)
		mustSend(t, l.Conn, m, done)
		if _, err := l.Send(text("222"), nil); !errors.Is(err, ws.ErrClosing) {
			t.Errorf("send: %v", err)
		}
		if o := <-told; !errors.Is(o.Err, ws.ErrClosing) {
			t.Errorf("queued message: %v", o.Err)
		}
		l.peer.Expect(wire.Text, "0") // begun, so completed
		f := l.peer.Receive()
		if f.Opcode != wire.Close || binary.BigEndian.Uint16(f.Payload) != 1013 {
			t.Errorf("received %v %q", f.Opcode, f.Payload)
		}
		l.peer.Send(wstest.Close(1013, ""))
		if end := l.rec.End(); end.Cause != ws.SlowConsumer || !end.WasClean {
			t.Errorf("ended as %+v", end)
		}
	})
}

func TestOldestMessagesGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := stuck(t, ws.Config{SendQueueBytes: 10, SendQueuePolicy: ws.QueueDropOldest})
		var told []<-chan ws.Outcome
		for _, s := range []string{"111", "222", "333"} {
			m := text(s)
			m.Confirmation = ws.Written
			done, ch := outcome(t)
			told = append(told, ch)
			mustSend(t, l.Conn, m, done)
		}
		mustSend(t, l.Conn, text("4444"), nil)
		if _, err := l.Send(text("0123456789"), nil); !errors.Is(err, ws.ErrQueueFull) {
			t.Errorf("a message that would not fit beside what is on its way: %v", err)
		}
		for _, s := range []string{"0", "333", "4444"} {
			l.peer.Expect(wire.Text, s)
		}
		for i, want := range []error{ws.ErrQueueFull, ws.ErrQueueFull, nil} {
			if o := <-told[i]; !errors.Is(o.Err, want) {
				t.Errorf("message %d: %v, want %v", i, o.Err, want)
			}
		}
		l.rec.WaitFor("writable")
	})
}

func TestMessageExpiresInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := stuck(t, ws.Config{HeartbeatInterval: -1})
		m := text("late")
		m.Confirmation, m.ExpireAfter = ws.Written, 2*time.Second
		done, told := outcome(t)
		mustSend(t, l.Conn, m, done)
		mustSend(t, l.Conn, text("patient"), nil)
		start := time.Now()
		if o := <-told; !errors.Is(o.Err, ws.ErrExpired) || !around(time.Since(start), 2*time.Second) {
			t.Errorf("outcome %v after %v", o.Err, time.Since(start))
		}
		l.peer.Expect(wire.Text, "0")
		l.peer.Expect(wire.Text, "patient")
	})
}

// Whoever waits for room is told also when all that took it has expired, and nobody waited for that.
func TestQueueThatExpiresTellsThatItIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := piped(t, ws.Config{HeartbeatInterval: -1, FragmentTimeout: time.Hour, SendQueueMessages: 1}, nil)
		mustSend(t, l.Conn, part(0, "begun", true), nil)
		l.expectPart(t, wire.Text, "begun", true)
		m := text("waits behind it")
		m.ExpireAfter = time.Second
		synctest.Wait()
		mustSend(t, l.Conn, m, nil)
		if _, err := l.Send(text("refused"), nil); !errors.Is(err, ws.ErrQueueFull) {
			t.Errorf("send: %v", err)
		}
		start := time.Now()
		l.rec.WaitFor("writable")
		if d := time.Since(start); !around(d, time.Second) {
			t.Errorf("told after %v", d)
		}
	})
}

func TestControlFramesPassMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := stuck(t, ws.Config{})
		mustSend(t, l.Conn, text("1"), nil)
		if err := l.Ping([]byte("ping"), ws.Queued, nil); err != nil {
			t.Fatal(err)
		}
		if err := l.Pong([]byte("pong"), ws.Queued, nil); err != nil {
			t.Fatal(err)
		}
		l.peer.Expect(wire.Text, "0")
		l.peer.Expect(wire.Ping, "ping")
		l.peer.Expect(wire.Pong, "pong")
		l.peer.Expect(wire.Text, "1")
	})
}

// A batch that is nearly full must not lose the control frames that are added at its end.
func TestControlFramesAtTheEndOfABatch(t *testing.T) {
	reason := strings.Repeat("r", wire.MaxReason)
	for size := ws.ChunkSize - 320; size < ws.ChunkSize+10; size++ {
		synctest.Test(t, func(t *testing.T) {
			l := stuck(t, ws.Config{})
			m := binaryMessage(size)
			m.Confirmation = ws.Received
			mustSend(t, l.Conn, m, func(ws.Outcome) {})
			l.Close(4000, reason, 0, nil)
			l.peer.Expect(wire.Text, "0")
			if f := l.peer.Receive(); len(f.Payload) != size {
				t.Fatalf("message of %d bytes came with %d", size, len(f.Payload))
			}
			if f := l.peer.Receive(); f.Opcode != wire.Ping {
				t.Fatalf("received %v behind a message of %d bytes", f.Opcode, size)
			}
			if got := l.peer.ExpectClose(4000); got != reason {
				t.Fatalf("reason is %q behind a message of %d bytes", got, size)
			}
			l.peer.Send(wstest.Close(4000, ""))
			l.rec.End()
		})
	}
}

// Messages carry sender, number and checksum, so that nothing lost, mixed or out of order goes unseen.
func TestConcurrentSendersToASlowReader(t *testing.T) {
	const senders, each = 8, 150
	l := connected(t, ws.Config{SendQueueBytes: 300 << 10}, nil)
	var wg sync.WaitGroup
	var written atomic.Int32
	for s := range senders {
		wg.Go(func() {
			for n := range each {
				b := make([]byte, 12+rand.IntN(100<<10)>>rand.IntN(10))
				binary.BigEndian.PutUint32(b, uint32(s))
				binary.BigEndian.PutUint32(b[4:], uint32(n))
				for i := range b[12:] {
					b[12+i] = byte(s*31 + n + i)
				}
				binary.BigEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:]))
				m := ws.Message{Opcode: wire.Binary, Payload: b, Confirmation: ws.Written}
				for {
					_, err := l.Send(&m, func(o ws.Outcome) {
						if o.Err != nil {
							t.Error(o.Err)
						}
						written.Add(1)
					})
					if err == nil {
						break
					}
					if !errors.Is(err, ws.ErrQueueFull) {
						t.Error(err)
						return
					}
					time.Sleep(100 * time.Microsecond) // the sender's way to wait for room
				}
			}
		})
	}
	var next [senders]uint32
	for got := range senders * each {
		f := l.peer.Receive()
		s, n, sum := binary.BigEndian.Uint32(f.Payload), binary.BigEndian.Uint32(f.Payload[4:]), binary.BigEndian.Uint32(f.Payload[8:])
		if s >= senders || n != next[s] || sum != crc32.ChecksumIEEE(f.Payload[12:]) {
			t.Fatalf("message %d of sender %d came when %v was next, or is damaged", n, s, next)
		}
		next[s]++
		if got%100 == 0 {
			time.Sleep(time.Millisecond) // slow
		}
	}
	wg.Wait()
	eventually(t, "every outcome", func() bool { return written.Load() == senders*each })
	if bytes, frames, receipts := l.Unaccounted(); bytes != 0 || frames != 0 || receipts != 0 {
		t.Errorf("the empty queue counts %d bytes, %d frames, %d receipts", bytes, frames, receipts)
	}
}

func TestEveryAcceptedSendIsToldOnce(t *testing.T) {
	for round := range 60 {
		l := connected(t, ws.Config{SendQueueBytes: 200 << 10, SendQueuePolicy: ws.QueuePolicy(round % 3)}, nil)
		if round%2 == 0 {
			go func() {
				for {
					f, err := l.peer.TryReceive()
					if err != nil {
						return
					}
					if f.Opcode == wire.Ping {
						_ = l.peer.TrySend(wstest.Frame{Opcode: wire.Pong, Payload: f.Payload})
					}
				}
			}()
		}
		var accepted, told atomic.Int64
		var wg sync.WaitGroup
		for s := range 4 {
			wg.Go(func() {
				for n := range 100 {
					done := func(ws.Outcome) { told.Add(1) }
					m := binaryMessage(rand.IntN(20 << 10))
					m.Confirmation = ws.Confirmation(1 + (s+n)%2)
					if n%10 == 0 {
						m.ExpireAfter = time.Millisecond
					}
					if _, err := l.Send(m, done); err == nil {
						accepted.Add(1)
					}
					if n%16 == 5 && l.Ping([]byte{byte(n)}, m.Confirmation, done) == nil {
						accepted.Add(1)
					}
				}
			})
		}
		wg.Go(func() {
			time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
			switch round % 4 {
			case 0:
				l.Terminate(0)
			case 1:
				accepted.Add(1)
				l.Close(1000, "", 0, func(ws.Outcome) { told.Add(1) })
				l.peer.Reset()
			case 2:
				l.peer.Reset()
			case 3:
				_ = l.peer.TrySend(wstest.Close(1000, ""))
				_ = l.peer.Close()
			}
		})
		wg.Wait()
		l.rec.End()
		eventually(t, "every outcome", func() bool { return told.Load() == accepted.Load() })
		time.Sleep(time.Millisecond)
		if told.Load() != accepted.Load() {
			t.Fatalf("%d outcomes of %d accepted sends", told.Load(), accepted.Load())
		}
	}
}

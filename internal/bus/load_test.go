package bus

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

// load is clients that send as fast as the bus takes it, each a life from open to close.
type load struct {
	t       testing.TB
	wg      sync.WaitGroup
	enough  chan struct{}
	slowest atomic.Int64 // the longest time that a Publish took

	mu   sync.Mutex
	seqs map[string]int // the seq of each connection's close event
}

// startLoad begins; each client sends so many messages, or until stop when there are 0.
func startLoad(t testing.TB, n *node, conns, messages int) *load {
	l := &load{t: t, enough: make(chan struct{}), seqs: make(map[string]int)}
	for range conns {
		c, s := n.open(t)
		l.wg.Go(func() { l.client(c, s, messages) })
	}
	return l
}

func (l *load) client(c *hub.Conn, s *fakeSocket, messages int) {
	payload, sent := []byte(nil), 0
	for messages == 0 || sent < messages {
		if messages == 0 && l.stopped() {
			break
		}
		// Every byte depends on the seq, so that memory used twice shows.
		payload = append(payload[:0], bytes.Repeat([]byte{byte(sent + 2)}, rand.IntN(2000))...)
		begin := time.Now()
		taken := c.Message(hub.Binary, payload)
		l.note(time.Since(begin))
		if taken {
			sent++
			continue
		}
		select {
		case <-s.room:
		case <-l.enough:
			if messages == 0 {
				l.end(c, sent)
				return
			}
		}
	}
	l.end(c, sent)
}

func (l *load) end(c *hub.Conn, sent int) {
	c.Closed(hub.End{Code: 1000, Cause: hub.CausePeerClose})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seqs[c.ID().String()] = sent + 2
}

func (l *load) stopped() bool {
	select {
	case <-l.enough:
		return true
	default:
		return false
	}
}

func (l *load) note(d time.Duration) {
	for {
		old := l.slowest.Load()
		if int64(d) <= old || l.slowest.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// stop ends the clients.
func (l *load) stop() {
	close(l.enough)
	l.wait()
}

// wait waits for them.
func (l *load) wait() { l.wg.Wait() }

// ledger is a subscriber that allows repeats, and nothing else: every event of a connection must have
// been seen for the first time before the one after it, and a repeat must be the same, byte for byte.
type ledger struct {
	*bustest.Recorder
	t       testing.TB
	sums    map[string][]uint32 // by connection, index seq-1
	events  int                 // each once
	repeats int
	faults  []string
}

func newLedger(t testing.TB, url string) *ledger {
	l := &ledger{t: t, sums: make(map[string][]uint32)}
	l.Recorder = bustest.RecordFunc(t, url, "holdfast.>", l.keep)
	return l
}

func (l *ledger) keep(m *nats.Msg) {
	id := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	seq, err := strconv.Atoi(m.Header.Get(HeaderSeq))
	sum := crc32.ChecksumIEEE(append([]byte(m.Subject+m.Reply), m.Data...))
	known := l.sums[id]
	switch {
	case strings.Contains(m.Subject, ".message.") && bytes.Count(m.Data, []byte{byte(seq)}) != len(m.Data):
		l.faults = append(l.faults, fmt.Sprintf("%s: payload of seq %d is not what was published", id, seq))
	case err != nil || seq > len(known)+1:
		l.faults = append(l.faults, fmt.Sprintf("%s: seq %d after %d (%v)", id, seq, len(known), err))
	case seq == len(known)+1:
		l.sums[id] = append(known, sum)
		l.events++
	default:
		l.repeats++
		if known[seq-1] != sum {
			l.faults = append(l.faults, fmt.Sprintf("%s: repeat of seq %d differs", id, seq))
		}
	}
}

// count answers how many distinct events were seen.
func (l *ledger) count() (n int) {
	l.Until(func() bool { n = l.events; return true })
	return n
}

// waitFor waits until n distinct events were seen.
func (l *ledger) waitFor(n int) {
	l.t.Helper()
	if !l.Until(func() bool { return l.events >= n || len(l.faults) > 0 }) {
		l.t.Fatalf("%d events seen, want %d", l.count(), n)
	}
}

// check fails unless everything that the load published was seen.
func (l *ledger) check(load *load) {
	l.t.Helper()
	complete := l.Until(func() bool {
		if len(l.faults) > 0 {
			return true
		}
		for id, last := range load.seqs {
			if len(l.sums[id]) != last {
				return false
			}
		}
		return true
	})
	for i, f := range l.faults {
		if i < 10 {
			l.t.Error(f)
		}
	}
	for id, last := range load.seqs {
		if !complete && len(l.sums[id]) != last {
			l.t.Errorf("%s: seen up to seq %d of %d", id, len(l.sums[id]), last)
		}
	}
	l.t.Logf("%d events, %d repeats, slowest Publish %v", l.events, l.repeats, time.Duration(load.slowest.Load()))
}

package bus

import (
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
)

func never() bool { return false }

// guests are connections to which nothing happens but what the test does.
func guests(t testing.TB, n int, e *hub.Endpoint) []*hub.Conn {
	t.Helper()
	h := hub.New(hub.NewNodeID(), new(hubtest.Publisher))
	conns := make([]*hub.Conn, n)
	for i := range conns {
		c, err := h.Open(e, &hub.Facts{}, newFakeSocket())
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c
	}
	return conns
}

// takes publishes what may be published now, and answers the sequence numbers.
func takes(o *outbox) (seqs []uint64) {
	for o.publishableLocked() {
		first, batch := o.next(nil, never)
		for i := range batch {
			seqs = append(seqs, batch[i].seq)
		}
		o.published(first + uint64(len(batch)))
	}
	return seqs
}

func TestOutboxTellsAboutRoomBelowHalf(t *testing.T) {
	const size = entryOverhead + 10
	o := newOutbox(10 * size)
	o.window = o.limit
	conns := guests(t, 12, testEndpoint)
	put := func(c *hub.Conn) bool {
		return o.put(&hub.Event{Kind: hub.KindMessage, Conn: c}, make([]byte, 10))
	}
	for i, c := range conns[:10] {
		if !put(c) {
			t.Fatalf("%d refused", i)
		}
	}
	for range 2 {
		if put(conns[10]) || put(conns[11]) {
			t.Fatal("taken by a full outbox")
		}
	}
	if got := takes(o); len(got) != 10 {
		t.Fatalf("took %v", got)
	}
	if got := o.release(4); got != nil {
		t.Errorf("room for %d with 6 of 10 left", len(got))
	}
	if got := o.release(5); len(got) != 1 || got[0] != conns[10] {
		t.Errorf("room for %d with 5 of 10 left, want the first that waits, and no more than have room", len(got))
	}
	if got := o.release(10); len(got) != 1 || got[0] != conns[11] || o.bytes != 0 {
		t.Errorf("room for %d with nothing left, want all that wait; %d bytes", len(got), o.bytes)
	}
	if got := o.release(10); got != nil {
		t.Errorf("told again: %d", len(got))
	}
}

func TestOutboxRewindComesBeforeNewer(t *testing.T) {
	o := newOutbox(1 << 20)
	c := guests(t, 1, testEndpoint)[0]
	put := func(seq uint64) { o.put(&hub.Event{Kind: hub.KindMessage, Conn: c, Seq: seq}, nil) }
	for seq := range uint64(3) {
		put(seq)
	}
	takes(o)
	o.release(1)
	o.rewind()
	put(3)
	if got := takes(o); len(got) != 3 || got[0] != 1 || got[1] != 2 || got[2] != 3 {
		t.Errorf("took %v, want 1 2 3", got)
	}
	if c := o.counts; c.published != 4 || c.republished != 2 || c.confirmed != 1 {
		t.Errorf("%+v", c)
	}
}

// Memory is reused while other events are still in it, and given back after a burst.
func TestOutboxMemory(t *testing.T) {
	o := newOutbox(64 << 20)
	o.window = o.limit
	conn := guests(t, 1, testEndpoint)[0]
	const events = 3 * keepRing
	next, checked, freed := uint64(0), uint64(0), uint64(0)
	put := func() {
		payload := make([]byte, next%300)
		for i := range payload {
			payload[i] = byte(next)
		}
		o.put(&hub.Event{Kind: hub.KindMessage, Conn: conn, Seq: next, User: "ann"}, payload)
		next++
	}
	check := func() {
		_, batch := o.next(nil, never)
		for _, en := range batch {
			if en.seq != checked {
				t.Fatalf("%d follows %d", en.seq, checked)
			}
			checked++
			for _, b := range en.payload {
				if b != byte(en.seq) {
					t.Fatalf("payload of %d was overwritten", en.seq)
				}
			}
		}
		o.published(o.sent + uint64(len(batch)))
	}
	for next < events {
		for range 50 {
			put()
		}
		check()
		if freed+20 < o.sent { // less than comes in
			freed += 20
			o.release(freed)
		}
	}
	for o.publishableLocked() {
		check()
	}
	if len(o.log.entries) <= keepRing {
		t.Fatal("the burst is too small to show anything")
	}
	o.release(o.log.tail)
	if len(o.log.entries) > keepRing || len(o.arena.spare) > spareChunks || o.bytes != 0 {
		t.Errorf("kept: ring %d, chunks %d, bytes %d", len(o.log.entries), len(o.arena.spare), o.bytes)
	}
	e, payload := &hub.Event{Kind: hub.KindMessage, Conn: conn, User: "ann"}, []byte("hello")
	batch := make([]entry, 0, batchEvents)
	if allocs := testing.AllocsPerRun(1000, func() {
		o.put(e, payload)
		_, batch = o.next(batch[:0], never)
		o.published(o.log.tail)
		o.release(o.log.tail)
	}); allocs > 0 {
		t.Errorf("%v allocations per event", allocs)
	}
}

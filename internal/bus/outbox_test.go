package bus

import (
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

func never() bool { return false }

// takes answers what next gives, as sequence numbers, and publishes it.
func takes(o *outbox) (seqs []uint64) {
	if o.sent == o.tail {
		return nil
	}
	first, batch := o.next(nil, never)
	for i := range batch {
		seqs = append(seqs, batch[i].seq)
	}
	o.published(first + uint64(len(batch)))
	return seqs
}

func TestOutboxTellsAboutRoomBelowHalf(t *testing.T) {
	o := newOutbox(10 * (entryOverhead + 10))
	a, b := new(hub.Conn), new(hub.Conn)
	put := func(c *hub.Conn, seq uint64) bool {
		return o.put(&hub.Event{Kind: hub.KindMessage, Conn: c, Seq: seq}, make([]byte, 10))
	}
	for seq := range uint64(10) {
		if !put(a, seq) {
			t.Fatalf("%d refused", seq)
		}
	}
	for range 2 {
		if put(a, 10) || put(b, 1) {
			t.Fatal("taken by a full outbox")
		}
	}
	if got := takes(o); len(got) != 10 {
		t.Fatalf("took %v", got)
	}
	if got := o.release(4); got != nil {
		t.Errorf("room for %d with 6 of 10 left", len(got))
	}
	if got := o.release(5); len(got) != 2 {
		t.Errorf("room for %d with 5 of 10 left, want 2", len(got))
	}
	if got := o.release(10); got != nil || o.bytes != 0 {
		t.Errorf("told again: %d; %d bytes", len(got), o.bytes)
	}
}

func TestOutboxRewindComesBeforeNewer(t *testing.T) {
	o := newOutbox(1 << 20)
	put := func(seq uint64) { o.put(&hub.Event{Kind: hub.KindMessage, Seq: seq}, nil) }
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
	conn := new(hub.Conn)
	const events = 3 * keepRing
	next, freed := uint64(0), uint64(0)
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
	for o.sent < o.tail {
		check()
	}
	if len(o.ring) <= keepRing {
		t.Fatal("the burst is too small to show anything")
	}
	o.release(o.tail)
	if len(o.ring) > keepRing || len(o.arena.spare) > spareChunks || o.bytes != 0 {
		t.Errorf("kept: ring %d, chunks %d, bytes %d", len(o.ring), len(o.arena.spare), o.bytes)
	}
	e, payload := &hub.Event{Kind: hub.KindMessage, Conn: conn, User: "ann"}, []byte("hello")
	if allocs := testing.AllocsPerRun(1000, func() {
		o.put(e, payload)
		o.published(o.tail)
		o.release(o.tail)
	}); allocs > 0 {
		t.Errorf("%v allocations per event", allocs)
	}
}

package bus

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

var otherEndpoint = &hub.Endpoint{Path: "/other", Namespace: "other"}

// message is a message event of so many bytes in the outbox.
func putMessage(o *outbox, c *hub.Conn, seq uint64, size int) bool {
	return o.put(&hub.Event{Kind: hub.KindMessage, Conn: c, Seq: seq}, make([]byte, size-entryOverhead))
}

// flood has the connections put messages until none of them may put another.
func flood(o *outbox, conns []*hub.Conn, size int) {
	for some := true; some; {
		some = false
		for _, c := range conns {
			some = putMessage(o, c, 0, size) || some
		}
	}
}

// waitsBehind puts one message of c and answers how many bytes are published before it from then on, and how many were
// before but are not confirmed.
func waitsBehind(t *testing.T, o *outbox, c *hub.Conn, size int) (bytes, flying int) {
	t.Helper()
	flying = o.flying
	if !putMessage(o, c, 1, size) {
		t.Fatalf("a message of %d bytes has no room: %d of %d bytes are taken", size, o.bytes, o.limit)
	}
	for {
		o.release(o.sent) // the server confirms everything at once
		first, batch := o.next(nil, never)
		o.published(first + uint64(len(batch)))
		for _, en := range batch {
			if en.conn == c {
				return bytes, flying
			}
			bytes += en.size
		}
	}
}

// TestFloodersLeaveRoomForTheQuiet: of hundreds of connections that put as much as they can while the server takes
// nothing, none is in the way of one that has something to say now and then.
func TestFloodersLeaveRoomForTheQuiet(t *testing.T) {
	const limit = 8 << 20
	for name, size := range map[string]int{"small": 200, "medium": 2 << 10, "large": 16 << 10} {
		t.Run(name, func(t *testing.T) {
			o := newOutbox(limit)
			flooders, quiet := guests(t, 400, testEndpoint), guests(t, 50, testEndpoint)
			for range 10 { // until all of them have been noticed
				flood(o, flooders, size)
				o.release(o.sent)
				takes(o) // as much as the server may owe
			}
			flood(o, flooders, size)
			for i, c := range quiet {
				behind, flying := waitsBehind(t, o, c, 1000)
				if flying > o.window+batchBytes || behind > 2*size+1000 {
					t.Errorf("the message of quiet connection %d goes behind %d bytes of flooders, after %d on their way", i, behind, flying)
				}
				takes(o)
				flood(o, flooders, size)
			}
		})
	}
}

// TestFloodOfOneNamespaceLeavesTurnsToOthers: the connections of another namespace publish as much as those of the one
// that floods, however many these are.
func TestFloodOfOneNamespaceLeavesTurnsToOthers(t *testing.T) {
	o := newOutbox(1 << 20)
	flooders, others := guests(t, 400, testEndpoint), guests(t, 2, otherEndpoint)
	published := map[string]int{}
	for range 200 {
		flood(o, flooders, 2<<10)
		flood(o, others, 2<<10)
		first, batch := o.next(nil, never)
		for _, en := range batch {
			published[en.conn.Endpoint().Namespace] += en.size
		}
		o.published(first + uint64(len(batch)))
		o.release(o.sent)
	}
	most, least := published[testEndpoint.Namespace], published[otherEndpoint.Namespace]
	if least < most*9/10 {
		t.Errorf("%d bytes of 400 connections, %d of the 2 of another namespace, want as many", most, least)
	}
}

// TestBulkGoesOnBesideTheQuiet: who has much waiting is not left standing because others have a little, always.
func TestBulkGoesOnBesideTheQuiet(t *testing.T) {
	o := newOutbox(1 << 20)
	heavy, quiet := guests(t, 1, testEndpoint), guests(t, 600, testEndpoint)
	flood(o, heavy, 1000)
	total, ofHeavy := 0, 0
	for range 100 {
		for _, c := range quiet {
			if c.Backlog.Express == 0 {
				putMessage(o, c, 1, 1000)
			}
		}
		flood(o, heavy, 1000)
		first, batch := o.next(nil, never)
		for _, en := range batch {
			total += en.size
			if en.conn == heavy[0] {
				ofHeavy += en.size
			}
		}
		o.published(first + uint64(len(batch)))
		o.release(o.sent)
	}
	if part := total / ofHeavy; part > bulkPart+1 {
		t.Errorf("%d of %d bytes are of the bulk lane, want one in %d", ofHeavy, total, bulkPart)
	}
}

// TestOutboxWhateverHappens: at random, every event of a connection is published behind the one before, again and in order
// on each new connection, and progress never says of an event that it is confirmed before it is.
func TestOutboxWhateverHappens(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		o := newOutbox(64 << 10)
		conns := slices.Concat(guests(t, 5, testEndpoint), guests(t, 5, otherEndpoint))
		put, sent := make(map[*hub.Conn]uint64), make(map[*hub.Conn]uint64)
		unconfirmed := make(map[uint64]bool) // numbers
		publish := func() {
			first, batch := o.next(nil, never)
			for i, en := range batch {
				if again := first+uint64(i) < o.sentOnce; !again {
					if en.seq != sent[en.conn]+1 {
						t.Fatalf("seed %d: event %d of a connection follows %d", seed, en.seq, sent[en.conn])
					}
					sent[en.conn]++
				}
			}
			o.published(first + uint64(len(batch)))
		}
		for range 5000 {
			switch c := conns[r.IntN(len(conns))]; r.IntN(10) {
			case 0:
				o.rewind()
			case 1, 2:
				mark := o.log.head + r.Uint64N(o.sent-o.log.head+1)
				for i := o.log.head; i < mark; i++ {
					delete(unconfirmed, o.log.at(i).number)
				}
				o.release(mark)
			case 3, 4, 5:
				if o.publishableLocked() {
					publish()
				}
			default:
				number := o.taken
				if putMessage(o, c, put[c]+1, entryOverhead+r.IntN(8<<10)) {
					put[c]++
					unconfirmed[number] = true
				}
			}
			taken, confirmed := o.progress()
			for number := range unconfirmed {
				if number < confirmed {
					t.Fatalf("seed %d: event %d is confirmed before it is", seed, number)
				}
			}
			if len(unconfirmed) == 0 && confirmed != taken {
				t.Fatalf("seed %d: %d of %d are confirmed, want all", seed, confirmed, taken)
			}
		}
		for o.left() > 0 {
			for o.publishableLocked() {
				publish()
			}
			o.release(o.sent)
		}
		for _, c := range conns {
			if sent[c] != put[c] || c.Backlog.Express != 0 || c.Backlog.Bulk {
				t.Fatalf("seed %d: %d of %d published, %+v", seed, sent[c], put[c], c.Backlog)
			}
		}
		if o.bytes != 0 || o.flying != 0 || o.waits != 0 || len(o.bulk) != 0 {
			t.Fatalf("seed %d: %d bytes, %d on their way, %d events; %v", seed, o.bytes, o.flying, o.waits, o.bulk)
		}
	}
}

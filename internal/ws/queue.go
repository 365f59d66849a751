package ws

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// sendQueue holds what waits to be written, in the order in which it may go on the wire: whole
// messages one after the other, control frames between frames. It is guarded by Conn.writeMu; the
// zero value is empty and holds no memory.
//
// Only a connection that has something to write has one: most have not.
type sendQueue struct {
	messages []*outMessage
	control  []outFrame
	pongs    [][]byte // answers to the latest pings, at most maxPongs

	current outFrame // the frame that is being written, when busy
	busy    bool

	bytes    int  // payload that waits or is on its way to the kernel
	count    int  // its frames: messages, and fragments of messages
	receipts int  // those of them that want a receipt
	refused  bool // a message was refused since the queue was last empty
}

var queues = sync.Pool{New: func() any { return new(sendQueue) }}

// takeQueueLocked answers the queue, which the connection has until the writer leaves it empty.
func (c *Conn) takeQueueLocked() *sendQueue {
	if c.queue == nil {
		c.queue = queues.Get().(*sendQueue)
		if c.direct > 0 {
			c.queue.bytes, c.queue.count, c.direct = int(c.direct), 1, 0
		}
	}
	return c.queue
}

// parkQueueLocked gives an empty queue back.
func (c *Conn) parkQueueLocked() {
	if c.queue != nil && c.queue.empty() {
		queues.Put(c.queue)
		c.queue = nil
	}
}

// bufferedLocked is the payload in bytes that waits to be written.
func (c *Conn) bufferedLocked() int {
	if c.queue == nil {
		return int(c.direct)
	}
	return c.queue.bytes
}

// messagesLocked are those that wait to be written.
func (c *Conn) messagesLocked() []*outMessage {
	if c.queue == nil {
		return nil
	}
	return c.queue.messages
}

// clearQueueLocked empties the queue but for a frame that is half written.
func (c *Conn) clearQueueLocked() []Done {
	if c.queue == nil {
		return nil
	}
	return c.queue.clear()
}

// abandonQueueLocked empties the queue for good.
func (c *Conn) abandonQueueLocked() (dones []Done) {
	if c.queue != nil {
		dones = c.queue.abandon()
		c.parkQueueLocked()
	}
	return dones
}

// empty: nothing waits, nothing is on its way, and nobody waits for room.
func (q *sendQueue) empty() bool {
	return !q.busy && q.count == 0 && q.bytes == 0 && !q.refused && len(q.messages) == 0 && len(q.control) == 0 && len(q.pongs) == 0
}

// room reports whether a message of that size may be queued: always into an empty queue.
func (q *sendQueue) room(size int, cfg *Config) bool {
	return fits(q.bytes, q.count, size, cfg)
}

func fits(bytes, count, size int, cfg *Config) bool {
	return count == 0 || bytes+size <= cfg.SendQueueBytes && count < cfg.SendQueueMessages
}

// push queues a whole message or the first fragment of one, and answers the fragment's number.
func (q *sendQueue) push(m *Message, done Done, expires, now int64, compress bool) uint64 {
	om := &outMessage{expires: expires, op: m.Opcode, compress: compress}
	om.single[0] = newFrame(m.Opcode, m, done, compress)
	om.frames = om.single[:]
	if m.More {
		// Unguessable, so that a caller can only continue what it began.
		om.number, om.open, om.continued = max(rand.Uint64(), 1), true, now
	}
	q.messages = append(q.messages, om)
	q.account(&om.single[0], 1)
	return om.number
}

// pass makes a whole message the current frame, without queueing it; false if something is before it.
func (q *sendQueue) pass(m *Message, done Done, compress bool) bool {
	if q.busy || m.More || len(q.messages) > 0 {
		return false
	}
	f := newFrame(m.Opcode, m, done, compress)
	f.ends = true
	q.account(&f, 1)
	q.take(f)
	return true
}

// account takes a message's frame on the account, or with -1 off it, while none of it is on its way.
func (q *sendQueue) account(f *outFrame, sign int) {
	q.count += sign
	q.bytes += sign * len(f.payload)
	if f.confirmation == Received {
		q.receipts += sign
	}
}

// continues queues a further fragment of a message that is continuable.
func (q *sendQueue) continues(m *Message, done Done, now int64) {
	om := q.fragmented(m.Fragment)
	f := newFrame(wire.Continuation, m, done, om.compress)
	om.frames = append(om.frames, f)
	q.account(&f, 1)
	om.open, om.continued = m.More, now
}

// continuable: there is such an unfinished message of that kind.
func (q *sendQueue) continuable(m *Message) bool {
	om := q.fragmented(m.Fragment)
	return om != nil && om.open && om.op == m.Opcode
}

// unfinished: more is expected of that message.
func (q *sendQueue) unfinished(number uint64) bool {
	om := q.fragmented(number)
	return om != nil && om.open
}

func (q *sendQueue) fragmented(number uint64) *outMessage {
	i := slices.IndexFunc(q.messages, func(om *outMessage) bool { return om.number == number })
	if i < 0 || number == 0 {
		return nil
	}
	return q.messages[i]
}

// maxPongs bounds the answers that wait. RFC 6455 5.5.3 lets a peer answer only the latest of several
// pings; every one is answered while the client reads, and older ones give way when it does not.
const maxPongs = 16

// answer queues the pong to a ping.
func (q *sendQueue) answer(payload []byte) {
	if len(q.pongs) == maxPongs {
		q.pongs = q.pongs[1:]
	}
	q.pongs = append(q.pongs, bytes.Clone(payload))
}

// next makes the frame that goes on the wire next the current one; false if there is none. Messages that
// are too late are dropped, and who waits for them is added to expired.
func (q *sendQueue) next(now int64, expired *[]Done) bool {
	switch {
	case q.busy: // a frame must be completed before anything else
	case len(q.pongs) > 0:
		q.take(outFrame{op: wire.Pong, fin: true, payload: q.pongs[0]})
		q.pongs = q.pongs[1:]
	case len(q.control) > 0:
		q.take(q.control[0])
		q.control = q.control[1:]
	default:
		q.nextMessage(now, expired)
	}
	return q.busy
}

func (q *sendQueue) take(f outFrame) { q.current, q.busy = f, true }

// lends: the current frame can be written from where it lies, and nothing else waits that could be written with it.
func (q *sendQueue) lends() bool {
	f := &q.current
	return f.ready != nil && !f.begun && f.confirmation != Received &&
		len(q.messages) == 0 && len(q.control) == 0 && len(q.pongs) == 0
}

func (q *sendQueue) nextMessage(now int64, expired *[]Done) {
	for len(q.messages) > 0 {
		om := q.messages[0]
		if om.expired(now) {
			*expired = q.drop(om, *expired)
			q.shift()
			continue
		}
		if len(om.frames) == 0 {
			return // unfinished: what is behind it waits
		}
		f := om.frames[0]
		om.frames, om.begun = om.frames[1:], true
		if len(om.frames) == 0 && !om.open {
			f.ends = true
			q.shift()
		}
		q.take(f)
		return
	}
}

// shift takes the first message out.
func (q *sendQueue) shift() {
	q.messages[0] = nil // it may go before the rest of the list does
	q.messages = q.messages[1:]
}

// finish says that the current frame is wholly on its way.
func (q *sendQueue) finish() {
	q.current, q.busy = outFrame{}, false
	if len(q.messages) == 0 {
		q.messages = nil
	}
	if len(q.control) == 0 {
		q.control = nil
	}
	if len(q.pongs) == 0 {
		q.pongs = nil
	}
}

// drop takes a message off the account, as far as it is not on its way, and adds who waits for it.
func (q *sendQueue) drop(om *outMessage, dones []Done) []Done {
	for i := range om.frames {
		q.account(&om.frames[i], -1)
		dones = appendDone(dones, om.frames[i].done)
	}
	return dones
}

// remove drops the messages that choose wants and of which nothing is on its way.
func (q *sendQueue) remove(choose func(*outMessage) bool) (dones []Done) {
	q.messages = slices.DeleteFunc(q.messages, func(om *outMessage) bool {
		if om.begun || !choose(om) {
			return false
		}
		dones = q.drop(om, dones)
		return true
	})
	return dones
}

// makeRoom drops the oldest messages that may be dropped until one of that size fits; none if that
// would not be enough.
func (q *sendQueue) makeRoom(size int, cfg *Config) (dones []Done) {
	bytes, count := q.bytes, q.count
	n := 0
	for ; n < len(q.messages) && !fits(bytes, count, size, cfg); n++ {
		if om := q.messages[n]; om.droppable() {
			bytes, count = bytes-om.size(), count-len(om.frames)
		}
	}
	if !fits(bytes, count, size, cfg) {
		return nil
	}
	oldest := 0
	return q.remove(func(om *outMessage) bool {
		oldest++
		return om.droppable() && oldest <= n
	})
}

func (q *sendQueue) clear() (dones []Done) {
	for _, om := range q.messages {
		dones = q.drop(om, dones)
	}
	for i := range q.control {
		dones = appendDone(dones, q.control[i].done)
	}
	q.messages, q.control, q.pongs = nil, nil, nil
	return dones
}

func (q *sendQueue) abandon() []Done {
	dones := appendDone(q.clear(), q.current.done)
	*q = sendQueue{}
	return dones
}

package ws

import (
	"math/rand/v2"
	"slices"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// sendQueue holds what waits to be written, in the order in which it may go on the wire: whole
// messages one after the other, control frames between frames. It is guarded by Conn.writeMu; the
// zero value is empty and holds no memory.
type sendQueue struct {
	messages []*outMessage
	control  []outFrame
	pong     []byte // answers the latest ping; nil: none is due (RFC 6455 5.5.3: older ones may be left out)

	current outFrame // the frame that is being written, when busy
	busy    bool

	bytes   int  // payload that waits or is on its way to the kernel
	count   int  // messages of that
	refused bool // a message was refused since the queue was last empty
}

// outFrame is one frame to write.
type outFrame struct {
	op           wire.Opcode
	fin          bool
	begun        bool // the header is on its way
	ends         bool // the last frame of a message
	confirmation Confirmation
	payload      []byte // what is left of it
	done         Done
}

// outMessage is one message: a frame, or fragments that come one by one.
type outMessage struct {
	expires   int64 // 0: never
	begun     bool  // a frame of it was taken: it must be completed
	frames    []outFrame
	single    [1]outFrame // backs frames of a message that is whole
	op        wire.Opcode // of fragments
	number    uint64      // of fragments, else 0
	open      bool        // fragments: more will come
	continued int64       // fragments: when the last one came
}

// room reports whether a message of that size may be queued: always into an empty queue.
func (q *sendQueue) room(size int, cfg *Config) bool {
	return q.count == 0 || q.bytes+size <= cfg.SendQueueBytes && q.count < cfg.SendQueueMessages
}

// push queues a whole message or the first fragment of one, and answers the fragment's number.
func (q *sendQueue) push(m *Message, done Done, expires, now int64) uint64 {
	om := &outMessage{expires: expires, op: m.Opcode}
	om.single[0] = outFrame{
		op: m.Opcode, fin: !m.More, payload: m.Payload, confirmation: m.Confirmation, done: done,
	}
	om.frames = om.single[:]
	if m.More {
		// Unguessable, so that a caller can only continue what it began.
		om.number, om.open, om.continued = max(rand.Uint64(), 1), true, now
	}
	q.messages = append(q.messages, om)
	q.bytes += len(m.Payload)
	q.count++
	return om.number
}

// continues queues a further fragment; false if there is no such unfinished message of that kind.
func (q *sendQueue) continues(m *Message, done Done, now int64) bool {
	om := q.fragmented(m.Fragment)
	if om == nil || !om.open || om.op != m.Opcode {
		return false
	}
	om.frames = append(om.frames, outFrame{
		op: wire.Continuation, fin: !m.More, payload: m.Payload, confirmation: m.Confirmation, done: done,
	})
	om.open, om.continued = m.More, now
	q.bytes += len(m.Payload)
	return true
}

func (q *sendQueue) fragmented(number uint64) *outMessage {
	i := slices.IndexFunc(q.messages, func(om *outMessage) bool { return om.number == number })
	if i < 0 || number == 0 {
		return nil
	}
	return q.messages[i]
}

// next makes the frame that goes on the wire next the current one; false if there is none. expired is
// told of messages that are too late.
func (q *sendQueue) next(now int64, expired func(*outMessage)) bool {
	switch {
	case q.busy: // a frame must be completed before anything else
	case q.pong != nil:
		q.take(outFrame{op: wire.Pong, fin: true, payload: q.pong})
		q.pong = nil
	case len(q.control) > 0:
		q.take(q.control[0])
		q.control = q.control[1:]
	default:
		q.nextMessage(now, expired)
	}
	return q.busy
}

func (q *sendQueue) take(f outFrame) { q.current, q.busy = f, true }

func (q *sendQueue) nextMessage(now int64, expired func(*outMessage)) {
	for len(q.messages) > 0 {
		om := q.messages[0]
		if om.expired(now) {
			q.drop(om)
			q.messages = q.messages[1:]
			expired(om)
			continue
		}
		if len(om.frames) == 0 {
			return // unfinished: what is behind it waits
		}
		f := om.frames[0]
		om.frames, om.begun = om.frames[1:], true
		if len(om.frames) == 0 && !om.open {
			f.ends = true
			q.messages = q.messages[1:]
		}
		q.take(f)
		return
	}
}

func (om *outMessage) expired(now int64) bool {
	return om.expires != 0 && now >= om.expires && !om.begun
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
}

// written says that the kernel took that much payload, and messages.
func (q *sendQueue) written(bytes, messages int) {
	q.bytes -= bytes
	q.count -= messages
}

// drop takes a message off the account, as far as it is not on its way.
func (q *sendQueue) drop(om *outMessage) {
	for i := range om.frames {
		q.bytes -= len(om.frames[i].payload)
	}
	q.count--
}

// remove takes out the messages that choose wants and of which nothing is on its way.
func (q *sendQueue) remove(choose func(*outMessage) bool) (removed []*outMessage) {
	q.messages = slices.DeleteFunc(q.messages, func(om *outMessage) bool {
		if om.begun || !choose(om) {
			return false
		}
		q.drop(om)
		removed = append(removed, om)
		return true
	})
	return removed
}

// makeRoom drops the oldest messages that may be dropped, until one of that size fits.
func (q *sendQueue) makeRoom(size int, cfg *Config) []*outMessage {
	return q.remove(func(om *outMessage) bool { return !om.open && !q.room(size, cfg) })
}

// clear empties the queue but for a frame that is half written.
func (q *sendQueue) clear() (dones []Done) {
	for _, om := range q.messages {
		q.drop(om)
		dones = om.dones(dones)
	}
	for i := range q.control {
		dones = appendDone(dones, q.control[i].done)
	}
	q.messages, q.control, q.pong = nil, nil, nil
	return dones
}

// abandon empties the queue for good.
func (q *sendQueue) abandon() []Done {
	dones := appendDone(q.clear(), q.current.done)
	q.take(outFrame{})
	q.finish()
	return dones
}

func (om *outMessage) dones(dst []Done) []Done {
	for i := range om.frames {
		dst = appendDone(dst, om.frames[i].done)
	}
	return dst
}

func appendDone(dst []Done, d Done) []Done {
	if d == nil {
		return dst
	}
	return append(dst, d)
}

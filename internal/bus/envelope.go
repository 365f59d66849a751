package bus

import (
	"encoding/binary"
	"errors"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// envelopeVersion is the first byte of every message between nodes. A node drops what has another one.
const envelopeVersion = 1

// kind says what a message between nodes is. The numbers are part of the protocol between versions.
type kind uint8

const (
	_            kind = iota
	kindRequest       // a chunk of a request: size of the whole, value: microseconds left, 0: no deadline
	kindCancel        // the caller no longer wants the answer
	kindCredit        // value: bytes of parts that the caller has taken so far
	kindPart          // a chunk of a part of an answer: size of the part
	kindFail          // the callee cannot serve the call
	kindAlive         // the body is a list of calls that the callee works on
	kindAnnounce      // the body is a holdfast.v1.Node, as of Who, Here and Hello; value: its number, 0: not counted
	kindGoodbye       // an orderly end
	kindWho           // a node that joins asks who is there
	kindHere          // the answer to that: somebody to wait for
	kindHello         // the sender has made the receiver known on its side, and is heard by it
	kindProbe         // to all: the node whose ID is the body shall echo
	kindEcho          // to the prober
	kindEnd
)

// headerLen is the size of an envelope's header:
//
//	0  version  1 byte
//	1  kind     1 byte
//	2  flags    1 byte, and one unused
//	4  from     the sender's node ID, 10 bytes
//	14 call     8 bytes, chosen by the caller
//	22 seq      4 bytes, the message's number within its direction of the call, from 0
//	26 size     4 bytes
//	30 value    8 bytes
const headerLen = 38

// flagLast marks the chunks of the last part of an answer.
const flagLast = 1

var (
	errEnvelope  = errors.New("not an envelope")
	byteOrder    = binary.BigEndian
	errWrongSize = errors.New("not the size that was announced")
)

// envelope is a message between nodes, taken apart. from and body are views of the message.
type envelope struct {
	kind  kind
	flags uint8
	from  []byte
	call  uint64
	seq   uint32
	size  uint32
	value uint64
	body  []byte
}

// append appends the message.
func (e *envelope) append(dst []byte, from hub.NodeID) []byte {
	dst = append(dst, envelopeVersion, byte(e.kind), e.flags, 0)
	dst = append(dst, from...)
	dst = byteOrder.AppendUint64(dst, e.call)
	dst = byteOrder.AppendUint32(dst, e.seq)
	dst = byteOrder.AppendUint32(dst, e.size)
	dst = byteOrder.AppendUint64(dst, e.value)
	return append(dst, e.body...)
}

// parseEnvelope reads what anybody may have sent.
func parseEnvelope(b []byte) (e envelope, err error) {
	if len(b) < headerLen || b[0] != envelopeVersion || b[1] == 0 || b[1] >= byte(kindEnd) {
		return e, errEnvelope
	}
	e = envelope{
		kind: kind(b[1]), flags: b[2], from: b[4:14],
		call: byteOrder.Uint64(b[14:]), seq: byteOrder.Uint32(b[22:]), size: byteOrder.Uint32(b[26:]),
		value: byteOrder.Uint64(b[30:]), body: b[headerLen:],
	}
	if !hub.ValidNodeID(view(e.from)) {
		return e, errEnvelope
	}
	return e, nil
}

// aliveLen is the size of one entry of kindAlive's list: the call, the number that its next message will
// have, and 1 when the callee waits for credit.
const aliveLen = 13

type aliveEntry struct {
	call    uint64
	next    uint32
	blocked bool
}

func (a aliveEntry) append(dst []byte) []byte {
	dst = byteOrder.AppendUint64(dst, a.call)
	dst = byteOrder.AppendUint32(dst, a.next)
	if a.blocked {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// cutAlive reads one entry; false at the end of the list.
func cutAlive(b []byte) (a aliveEntry, rest []byte, ok bool) {
	if len(b) < aliveLen {
		return a, nil, false
	}
	return aliveEntry{byteOrder.Uint64(b), byteOrder.Uint32(b[8:]), b[12] == 1}, b[aliveLen:], true
}

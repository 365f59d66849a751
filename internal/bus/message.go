package bus

import (
	"strconv"
	"unsafe"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// message is the nats.Msg of one event after the other: its buffers and its header map are reused, so
// that what nats.go allocates for the headers is all that an event costs.
type message struct {
	msg     nats.Msg
	id      []byte
	subject []byte
	reply   []byte
	seq     []byte
	msgID   []byte
	// values of the header map, one slice for each header, reused
	seqValue, opcodeValue, userValue, msgIDValue [1]string
	attributes                                   map[string]*attributeHeader // by attribute name; the names are configured, so few
}

// attributeHeader is the header of one attribute name.
type attributeHeader struct {
	name  string
	value [1]string
}

// of answers the message of an event, valid until the next call.
func (m *message) of(en *entry, s Subjects) *nats.Msg {
	namespace := en.conn.Endpoint().Namespace
	m.id = en.conn.AppendID(m.id[:0])
	m.subject = s.AppendEvent(m.subject[:0], namespace, en.kind, m.id)
	if m.msg.Header == nil {
		m.msg.Header = nats.Header{}
	}
	clear(m.msg.Header)
	m.msg.Subject, m.msg.Reply, m.msg.Data = view(m.subject), "", en.payload
	m.seq = strconv.AppendUint(m.seq[:0], en.seq, 10)
	m.set(HeaderSeq, &m.seqValue, view(m.seq))
	switch en.kind {
	case hub.KindMessage:
		m.reply = s.AppendReply(m.reply[:0], namespace, m.id, en.opcode)
		m.msg.Reply = view(m.reply)
		m.set(HeaderOpcode, &m.opcodeValue, en.opcode.String())
		m.setMeta(en.meta)
	case hub.KindOpen, hub.KindClose:
		// The same for every repeat of the event, and for the close event that another node publishes
		// when this one was lost.
		m.msgID = append(append(append(m.msgID[:0], m.id...), '.'), en.kind.String()...)
		m.set(HeaderMsgID, &m.msgIDValue, view(m.msgID))
	}
	return &m.msg
}

func (m *message) set(name string, slot *[1]string, value string) {
	slot[0] = value
	m.msg.Header[name] = slot[:]
}

// setMeta reads what appendMeta wrote.
func (m *message) setMeta(meta []byte) {
	if len(meta) == 0 {
		return
	}
	var piece []byte
	n, meta := cutLen(meta)
	if piece, meta = cutMeta(meta, n); n > 0 {
		m.set(HeaderUser, &m.userValue, view(piece))
	}
	for len(meta) > 0 {
		var nameLen, valueLen int
		nameLen, meta = cutLen(meta)
		valueLen, meta = cutLen(meta)
		piece, meta = cutMeta(meta, nameLen)
		header := m.attribute(piece)
		piece, meta = cutMeta(meta, valueLen)
		m.set(header.name, &header.value, view(piece))
	}
}

func (m *message) attribute(name []byte) *attributeHeader {
	if h := m.attributes[string(name)]; h != nil {
		return h
	}
	if m.attributes == nil {
		m.attributes = make(map[string]*attributeHeader)
	}
	h := &attributeHeader{name: HeaderAttrPrefix + string(name)}
	m.attributes[string(name)] = h
	return h
}

// view is b as a string, without a copy. nats.go copies what it is given into its own buffer before
// PublishMsg returns, and nothing here changes before that.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) } //nolint:gosec // see above

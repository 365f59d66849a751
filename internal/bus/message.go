package bus

import (
	"strconv"
	"unsafe"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// message is what one event after the other is published as. Its buffers are reused.
type message struct {
	subject, reply []byte
	fields         []field // the headers
	payload        []byte

	id, seq, msgID []byte
	attributes     map[string]string // names of headers by names of attributes, which are configured, so few

	msg    nats.Msg
	values []string // of msg.Header
}

// field is one header.
type field struct {
	name, value string
}

// of makes it the message of an event, until the next call.
func (m *message) of(en *entry, s Subjects) {
	namespace := en.conn.Endpoint().Namespace
	m.id = en.conn.AppendID(m.id[:0])
	m.subject = s.AppendEvent(m.subject[:0], namespace, en.kind, m.id)
	m.reply, m.payload = m.reply[:0], en.payload
	m.seq = strconv.AppendUint(m.seq[:0], en.seq, 10)
	m.fields = append(m.fields[:0], field{HeaderSeq, view(m.seq)})
	switch en.kind {
	case hub.KindMessage:
		m.reply = s.AppendReply(m.reply, namespace, m.id, en.opcode)
		m.fields = append(m.fields, field{HeaderOpcode, en.opcode.String()})
		m.addMeta(en.meta)
	case hub.KindOpen, hub.KindClose:
		// The same for every repeat of the event, and for the close event that another node publishes
		// when this one was lost.
		m.msgID = append(append(append(m.msgID[:0], m.id...), '.'), en.kind.String()...)
		m.fields = append(m.fields, field{HeaderMsgID, view(m.msgID)})
	}
}

// addMeta reads what appendMeta wrote.
func (m *message) addMeta(meta []byte) {
	if len(meta) == 0 {
		return
	}
	var piece []byte
	n, meta := cutLen(meta)
	if piece, meta = cutMeta(meta, n); n > 0 {
		m.fields = append(m.fields, field{HeaderUser, view(piece)})
	}
	for len(meta) > 0 {
		var nameLen, valueLen int
		nameLen, meta = cutLen(meta)
		valueLen, meta = cutLen(meta)
		piece, meta = cutMeta(meta, nameLen)
		name := m.attribute(piece)
		piece, meta = cutMeta(meta, valueLen)
		m.fields = append(m.fields, field{name, view(piece)})
	}
}

func (m *message) attribute(name []byte) string {
	if header, known := m.attributes[string(name)]; known {
		return header
	}
	if m.attributes == nil {
		m.attributes = make(map[string]string)
	}
	header := HeaderAttrPrefix + string(name)
	m.attributes[string(name)] = header
	return header
}

// The parts of a header block: a first line, the fields, and an empty line.
const (
	headerLine = "NATS/1.0\r\n"
	separator  = ": "
	lineEnd    = "\r\n"
)

// headerLen is the length of the header block.
func (m *message) headerLen() int {
	n := len(headerLine) + len(lineEnd)
	for i := range m.fields {
		n += len(m.fields[i].name) + len(separator) + len(m.fields[i].value) + len(lineEnd)
	}
	return n
}

// size is what the server's max_payload bounds.
func (m *message) size() int { return m.headerLen() + len(m.payload) }

// append appends the operation of the NATS protocol that publishes the message:
//
//	HPUB <subject> [reply-to] <bytes of headers> <bytes of headers and payload>
//
// and the headers and the payload behind that line. nats.go makes the same of a map of headers, which takes as long as
// everything else that is done for an event (measured).
func (m *message) append(dst []byte) []byte {
	dst = append(dst, "HPUB "...)
	dst = append(dst, m.subject...)
	dst = append(dst, ' ')
	if len(m.reply) > 0 {
		dst = append(dst, m.reply...)
		dst = append(dst, ' ')
	}
	headerLen := m.headerLen()
	dst = strconv.AppendInt(dst, int64(headerLen), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(headerLen+len(m.payload)), 10)
	dst = append(dst, lineEnd+headerLine...)
	for i := range m.fields {
		dst = append(dst, m.fields[i].name...)
		dst = append(dst, separator...)
		dst = append(dst, m.fields[i].value...)
		dst = append(dst, lineEnd...)
	}
	dst = append(dst, lineEnd...)
	dst = append(dst, m.payload...)
	return append(dst, lineEnd...)
}

// nats is the message for nats.go.
func (m *message) nats() *nats.Msg {
	if m.msg.Header == nil {
		m.msg.Header = nats.Header{}
	}
	clear(m.msg.Header)
	m.values = m.values[:0]
	for i := range m.fields {
		m.values = append(m.values, m.fields[i].value)
		m.msg.Header[m.fields[i].name] = m.values[i : i+1 : i+1]
	}
	m.msg.Subject, m.msg.Reply, m.msg.Data = view(m.subject), view(m.reply), m.payload
	return &m.msg
}

// view is b as a string, without a copy. Who gets it copies it before b changes: so does PublishMsg of nats.go.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) } //nolint:gosec // see above

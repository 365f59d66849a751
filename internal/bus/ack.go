package bus

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go"
)

// maxAck bounds what is looked at as an acknowledgement; real ones are far smaller.
const maxAck = 4 << 10

// unknownStream stands for the stream of an acknowledgement that does not name one.
const unknownStream = "(unknown)"

// ackOf reports whether a message on a reply subject is a JetStream acknowledgement and not an answer
// for the client. A stream that captures message events without `no_ack` acknowledges every one of them
// to its reply subject, and the client would receive it.
//
// Whatever carries a header, such as Holdfast-Opcode, is an answer: acknowledgements have none. So a
// backend whose own messages look like acknowledgements sets that header.
func ackOf(m *nats.Msg) (stream string, ok bool) {
	if len(m.Header) > 0 || len(m.Data) == 0 || len(m.Data) > maxAck {
		return "", false
	}
	if strings.HasPrefix(m.Reply, "$JS.") {
		return unknownStream, isConsumerAck(m.Data)
	}
	if m.Reply != "" || m.Data[0] != '{' || m.Data[len(m.Data)-1] != '}' {
		return "", false
	}
	return publishAck(m.Data)
}

// consumerAcks are what the clients of a JetStream consumer answer with.
var consumerAcks = [...]string{"+ACK", "-NAK", "+WPI", "+TERM", "+NXT"}

func isConsumerAck(data []byte) bool {
	for _, word := range consumerAcks {
		if rest, ok := bytes.CutPrefix(data, []byte(word)); ok && (len(rest) == 0 || rest[0] == ' ') {
			return true
		}
	}
	return false
}

// publishAck reads `{"stream":"EVENTS","seq":7}` or `{"error":{"code":…},"stream":"EVENTS","seq":0}`, with
// the other fields that a server may add, and no others.
func publishAck(data []byte) (stream string, ok bool) {
	if !bytes.Contains(data, []byte(`"seq"`)) && !bytes.Contains(data, []byte(`"error"`)) {
		return "", false
	}
	var ack struct {
		Stream    *string `json:"stream"`
		Seq       *uint64 `json:"seq"`
		Domain    string  `json:"domain"`
		Duplicate bool    `json:"duplicate"`
		Value     string  `json:"val"`
		Batch     string  `json:"batch"`
		Count     uint64  `json:"count"`
		Error     *struct {
			Code        int    `json:"code"`
			ErrCode     int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(&ack) != nil || d.More() {
		return "", false
	}
	if ack.Error != nil {
		stream = unknownStream
		if ack.Stream != nil && *ack.Stream != "" {
			stream = *ack.Stream
		}
		return stream, ack.Error.Code != 0 && ack.Error.ErrCode != 0
	}
	if ack.Stream == nil || *ack.Stream == "" || ack.Seq == nil {
		return "", false
	}
	return *ack.Stream, true
}

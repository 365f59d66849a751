package bus

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// maxReply is the largest payload for a client, as in the control API.
const maxReply = 1 << 20

// Replies is what the bus asks of the application: to send a reply to its connection.
type Replies interface {
	// Reply sends to the connection of that ID, if it is in that namespace; else it fails with
	// hub.ErrNotFound. Errors are those of hub.Hub.Lookup and hub.Conn.Send. It must not block: replies
	// wait for each other, which keeps those of a connection in order. A connection that is being admitted is the
	// error, a *hub.Pending: the bus has the reply wait. The payload may be kept.
	Reply(id, namespace string, m *hub.Message) (hub.Sent, error)
	// Flush has those replies written that were Later.
	Flush()
}

// replyMessage reads what shall be sent, or why it cannot be.
func replyMessage(t ReplyTarget, m *nats.Msg) (*hub.Message, error) {
	return inboundMessage(t.Opcode, m)
}

// inboundMessage reads what shall be sent; the opcode is what it is without a header.
func inboundMessage(opcode hub.Opcode, m *nats.Msg) (*hub.Message, error) {
	if values, set := m.Header[HeaderOpcode]; set {
		switch v := values[0]; v {
		case "text":
			opcode = hub.Text
		case "binary":
			opcode = hub.Binary
		default:
			return nil, hub.Invalid(hub.InvalidMessage, HeaderOpcode, v, "text or binary")
		}
	}
	if len(m.Data) > maxReply {
		return nil, hub.Invalid(hub.MessageTooLarge, "payload", fmt.Sprintf("%d bytes", len(m.Data)),
			fmt.Sprintf("at most %d bytes", maxReply))
	}
	if opcode == hub.Text && !utf8.Valid(m.Data) {
		return nil, hub.Invalid(hub.InvalidMessage, "payload", "bytes that are not UTF-8", "UTF-8, or "+HeaderOpcode+": binary")
	}
	return &hub.Message{Opcode: opcode, Payload: m.Data}, nil
}

// verdictOf is the answer to a reply that is a request.
func verdictOf(sent hub.Sent, err error) verdict {
	if err == nil {
		return verdict{code: "OK", buffered: sent.Buffered}
	}
	reason := reasonOf(err)
	return verdict{code: codeOf(reason), reason: reason, message: err.Error()}
}

func reasonOf(err error) hub.Reason {
	if refusal, ok := errors.AsType[*hub.Error](err); ok {
		return refusal.Reason
	}
	return hub.InternalError
}

// codeOf names the gRPC status code of the reasons that a send can be refused for.
func codeOf(r hub.Reason) string {
	switch r {
	case hub.ConnectionNotFound, hub.ConnectionGone:
		return "NOT_FOUND"
	case hub.ConnectionClosing, hub.ConnectionPaused, hub.MessageExpired:
		return "FAILED_PRECONDITION"
	case hub.SendQueueFull, hub.RateLimited:
		return "RESOURCE_EXHAUSTED"
	case hub.InvalidConnectionID, hub.MessageTooLarge, hub.InvalidFragment, hub.InvalidMessage:
		return "INVALID_ARGUMENT"
	case hub.NodeUnreachable, hub.BusUnavailable, hub.NodeStopping:
		return "UNAVAILABLE"
	}
	return "INTERNAL"
}

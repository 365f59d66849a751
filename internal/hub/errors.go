package hub

import (
	"fmt"
	"strings"
)

// Reason is the stable name of a refusal; it is the ErrorReason of the public schema without its
// transport. The zero value is no refusal.
type Reason uint8

// The reasons of the core. proto/holdfast/v1/error_reason.proto says when each occurs.
const (
	_ Reason = iota
	ConnectionNotFound
	ConnectionGone
	ConnectionClosing
	ConnectionPaused
	MessageExpired
	SendQueueFull
	RateLimited
	WatchLagged
	InvalidConnectionID
	InvalidCloseCode
	ReasonTooLong
	ControlPayloadTooLong
	MessageTooLarge
	InvalidGroup
	InvalidNamespace
	InvalidPageToken
	InvalidFragment
	InvalidMessage
	InvalidConfirmation
	InvalidDuration
	InvalidRequestID
	InvalidAttributes
	InvalidUser
	InvalidFilter
	InvalidExpireTime
	InvalidBatch
	SkippedAfterFailure
	NodeUnreachable
	BusUnavailable
	NotConfirmed
	NodeStopping
	InternalError
	InvalidTarget
	InvalidNodeID
	NodeNotFound
	TooManyGroups
	Unauthenticated
	PermissionDenied
	KeysUnavailable
	reasonEnd
)

var reasonNames = [reasonEnd]string{
	ConnectionNotFound:    "CONNECTION_NOT_FOUND",
	ConnectionGone:        "CONNECTION_GONE",
	ConnectionClosing:     "CONNECTION_CLOSING",
	ConnectionPaused:      "CONNECTION_PAUSED",
	MessageExpired:        "MESSAGE_EXPIRED",
	SendQueueFull:         "SEND_QUEUE_FULL",
	RateLimited:           "RATE_LIMITED",
	WatchLagged:           "WATCH_LAGGED",
	InvalidConnectionID:   "INVALID_CONNECTION_ID",
	InvalidCloseCode:      "INVALID_CLOSE_CODE",
	ReasonTooLong:         "REASON_TOO_LONG",
	ControlPayloadTooLong: "CONTROL_PAYLOAD_TOO_LONG",
	MessageTooLarge:       "MESSAGE_TOO_LARGE",
	InvalidGroup:          "INVALID_GROUP",
	InvalidNamespace:      "INVALID_NAMESPACE",
	InvalidPageToken:      "INVALID_PAGE_TOKEN",
	InvalidFragment:       "INVALID_FRAGMENT",
	InvalidMessage:        "INVALID_MESSAGE",
	InvalidConfirmation:   "INVALID_CONFIRMATION",
	InvalidDuration:       "INVALID_DURATION",
	InvalidRequestID:      "INVALID_REQUEST_ID",
	InvalidAttributes:     "INVALID_ATTRIBUTES",
	InvalidUser:           "INVALID_USER",
	InvalidFilter:         "INVALID_FILTER",
	InvalidExpireTime:     "INVALID_EXPIRE_TIME",
	InvalidBatch:          "INVALID_BATCH",
	SkippedAfterFailure:   "SKIPPED_AFTER_FAILURE",
	NodeUnreachable:       "NODE_UNREACHABLE",
	BusUnavailable:        "BUS_UNAVAILABLE",
	NotConfirmed:          "NOT_CONFIRMED",
	NodeStopping:          "NODE_STOPPING",
	InternalError:         "INTERNAL_ERROR",
	InvalidTarget:         "INVALID_TARGET",
	InvalidNodeID:         "INVALID_NODE_ID",
	NodeNotFound:          "NODE_NOT_FOUND",
	TooManyGroups:         "TOO_MANY_GROUPS",
	Unauthenticated:       "UNAUTHENTICATED",
	PermissionDenied:      "PERMISSION_DENIED",
	KeysUnavailable:       "KEYS_UNAVAILABLE",
}

// String is the name of the reason in the public schema.
func (r Reason) String() string {
	if r == 0 || r >= reasonEnd {
		return "ERROR_REASON_UNSPECIFIED"
	}
	return reasonNames[r]
}

// Reasons lists every reason, for tables that must cover them all.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonEnd-1)
	for r := Reason(1); r < reasonEnd; r++ {
		all = append(all, r)
	}
	return all
}

// Error is a refusal of the core. Two errors of one Reason are the same to errors.Is.
type Error struct {
	Reason Reason
	// Text is one line for people.
	Text string
	// Field, Value and Allowed describe a refused argument; empty otherwise.
	Field, Value, Allowed string
}

func (e *Error) Error() string { return e.Text }

// Is makes errors.Is compare by Reason.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Reason == e.Reason
}

// The refusals that need no detail. They are shared values, so a refusal allocates nothing.
var (
	ErrNotFound      = &Error{Reason: ConnectionNotFound, Text: "connection not found: it has ended or never existed"}
	ErrGone          = &Error{Reason: ConnectionGone, Text: "connection gone: its node is not part of this broker"}
	ErrClosing       = &Error{Reason: ConnectionClosing, Text: "connection is closing"}
	ErrPaused        = &Error{Reason: ConnectionPaused, Text: "connection is not read at present, so nothing can be confirmed as received"}
	ErrExpired       = &Error{Reason: MessageExpired, Text: "message expired in the send queue"}
	ErrQueueFull     = &Error{Reason: SendQueueFull, Text: "send queue is full"}
	ErrRateLimited   = &Error{Reason: RateLimited, Text: "too many unanswered pings or receipts on this connection"}
	ErrWatchLagged   = &Error{Reason: WatchLagged, Text: "watch did not read fast enough: its buffer of 8 MiB is full"}
	ErrSkipped       = &Error{Reason: SkippedAfterFailure, Text: "skipped: an earlier send of this batch to this connection failed"}
	ErrNotConfirmed  = &Error{Reason: NotConfirmed, Text: "not confirmed: whether it arrived is unknown"}
	ErrStopping      = &Error{Reason: NodeStopping, Text: "broker is stopping"}
	ErrTooManyGroups = &Error{Reason: TooManyGroups, Text: "connection would be in too many groups"}
	ErrUnreachable   = &Error{Reason: NodeUnreachable, Text: "the node that holds the connection does not answer: the outcome is unknown"}
	ErrBusAway       = &Error{Reason: BusUnavailable, Text: "bus is unavailable"}
)

// maxShown bounds the part of a refused value that is repeated in an error.
const maxShown = 64

// Invalid is the refusal of an argument: the field, what was found and what is allowed.
func Invalid(r Reason, field, value, allowed string) *Error {
	if len(value) > maxShown {
		const ellipsis = "…"
		// A cut code point would make the text invalid where it goes next: into protobuf.
		value = strings.ToValidUTF8(value[:maxShown-len(ellipsis)], "") + ellipsis
	}
	return &Error{
		Reason: r, Field: field, Value: value, Allowed: allowed,
		Text: fmt.Sprintf("%s: %q is not valid: %s", field, value, allowed),
	}
}

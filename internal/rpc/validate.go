package rpc

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Limits of requests; the schema states them too.
const (
	MaxPayload        = 1 << 20        // bytes of a message or of one fragment
	MaxExpireAfter    = 24 * time.Hour // of a send
	MaxRequestID      = 64             // bytes
	MaxCloseReason    = 123            // bytes, RFC 6455 5.5: 125 less the code
	MaxControlPayload = 125            // bytes, RFC 6455 5.5
	MaxBatch          = 10_000         // connections of one SendMany, AddMembers or RemoveMembers
)

const maxNamespace = 32

// confirmations maps the schema's values; what is missing is refused.
var confirmations = map[holdfastv1.Confirmation]hub.Confirmation{
	holdfastv1.Confirmation_QUEUED:   hub.Queued,
	holdfastv1.Confirmation_WRITTEN:  hub.Written,
	holdfastv1.Confirmation_RECEIVED: hub.Received,
}

// readConfirmation answers what the caller wants to know: zero means byDefault, and most is the
// strongest that the call can give.
func readConfirmation(c holdfastv1.Confirmation, byDefault, most hub.Confirmation) (hub.Confirmation, error) {
	if c == holdfastv1.Confirmation_CONFIRMATION_UNSPECIFIED {
		return byDefault, nil
	}
	if cf, ok := confirmations[c]; ok && cf <= most {
		return cf, nil
	}
	allowed := "QUEUED, WRITTEN or RECEIVED"
	if most == hub.Written {
		allowed = "QUEUED or WRITTEN"
	}
	return 0, hub.Invalid(hub.InvalidConfirmation, "confirmation", c.String(), allowed)
}

// anyDuration is the limit where only the core knows one.
const anyDuration = time.Duration(math.MaxInt64)

// readDuration answers 0 for an absent duration and refuses one that is not above zero or beyond limit.
func readDuration(field string, d *durationpb.Duration, limit time.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if t := d.AsDuration(); d.IsValid() && t > 0 && t <= limit {
		return t, nil
	}
	allowed := "above 0s"
	if limit != anyDuration {
		allowed += " and at most " + limit.String()
	}
	value := fmt.Sprintf("%ds %dns", d.GetSeconds(), d.GetNanos())
	return 0, hub.Invalid(hub.InvalidDuration, field, value, allowed)
}

// tooLong is the refusal of something that has more bytes than its limit.
func tooLong(r hub.Reason, field string, size, limit int) error {
	return hub.Invalid(r, field, strconv.Itoa(size)+" bytes", fmt.Sprintf("at most %d bytes", limit))
}

func readRequestID(id string) error {
	if len(id) > MaxRequestID {
		return tooLong(hub.InvalidRequestID, "request_id", len(id), MaxRequestID)
	}
	return nil
}

func readCloseReason(reason string) error {
	if n := len(reason); n > MaxCloseReason {
		return tooLong(hub.ReasonTooLong, "reason", n, MaxCloseReason)
	}
	return nil
}

func readControlPayload(payload []byte) error {
	if len(payload) > MaxControlPayload {
		return tooLong(hub.ControlPayloadTooLong, "payload", len(payload), MaxControlPayload)
	}
	return nil
}

const (
	codeNormal  = 1000
	codeHandled = "1000-1003, 1007-1014 or 3000-4999"
)

// readCloseCode answers 1000 for an absent code.
func readCloseCode(code *uint32) (uint16, error) {
	if code == nil {
		return codeNormal, nil
	}
	c := *code
	if c >= 1000 && c <= 1003 || c >= 1007 && c <= 1014 || c >= 3000 && c <= 4999 {
		return uint16(c), nil
	}
	return 0, hub.Invalid(hub.InvalidCloseCode, "code", strconv.FormatUint(uint64(c), 10), codeHandled)
}

// validateNamespace accepts an empty one: in a filter it means all.
func validateNamespace(field, ns string) error {
	if len(ns) > maxNamespace || hasOther(ns, lower+digits+"_-") {
		return hub.Invalid(hub.InvalidNamespace, field, ns, "[a-z0-9_-]{1,32}")
	}
	return nil
}

// validateGroup accepts an empty one: in a filter it means all.
func validateGroup(field, group string) error {
	if group != "" && !hub.ValidGroup(group) {
		return hub.InvalidGroupName(field, group)
	}
	return nil
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	digits = "0123456789"
)

// hasOther reports whether s has a character that is not one of the allowed.
func hasOther(s, allowed string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(allowed, r) })
}

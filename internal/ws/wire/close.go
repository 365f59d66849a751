package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// Limits of control frames, in bytes (RFC 6455 5.5).
const (
	MaxControlPayload = 125                          // of every control frame's payload
	MaxReason         = MaxControlPayload - codeSize // of a close reason, in UTF-8

	codeSize = 2
)

// Close codes (RFC 6455 7.4.1 and its IANA registry).
const (
	NormalClosure      = 1000 // the purpose is fulfilled
	GoingAway          = 1001 // the page or the server goes away
	ProtocolError      = 1002 // the peer broke the protocol
	UnsupportedData    = 1003 // a kind of message that is not accepted
	NoStatusReceived   = 1005 // never on the wire: the close frame had no code
	AbnormalClosure    = 1006 // never on the wire: there was no close frame
	InvalidPayload     = 1007 // such as text that is not UTF-8
	PolicyViolation    = 1008 // any other refusal of a message
	MessageTooBig      = 1009 // a message longer than the receiver's limit
	MandatoryExtension = 1010 // from clients: the server did not negotiate what they need
	InternalError      = 1011 // the server cannot go on
	ServiceRestart     = 1012 // come back after a moment
	TryAgainLater      = 1013 // overload
	BadGateway         = 1014 // a server behind this one answered badly
)

// ValidCloseCode reports whether a close frame may carry the code, in either direction: 1000–1003, 1007–1014 and
// 3000–4999 (RFC 6455 7.4 and the IANA registry). 1004 has no meaning; 1005, 1006 and 1015 are for local use only.
func ValidCloseCode(code uint16) bool {
	switch {
	case code >= NormalClosure && code <= UnsupportedData:
		return true
	case code >= InvalidPayload && code <= BadGateway:
		return true
	}
	return code >= 3000 && code <= 4999
}

// ParseClose reads the payload of a close frame (RFC 6455 5.5.1). An empty one gives NoStatusReceived. The reason is a
// copy.
func ParseClose(payload []byte) (code uint16, reason string, fault *Fault) {
	switch {
	case len(payload) == 0:
		return NoStatusReceived, "", nil // RFC 6455 7.1.5
	case len(payload) < codeSize:
		return 0, "", faultCloseLength
	case len(payload) > MaxControlPayload:
		return 0, "", faultControlLength
	}
	code = binary.BigEndian.Uint16(payload)
	if !ValidCloseCode(code) {
		return 0, "", faultCloseCode
	}
	if !utf8.Valid(payload[codeSize:]) {
		return 0, "", faultCloseReason
	}
	return code, string(payload[codeSize:]), nil
}

// AppendClose appends the payload of a close frame, not the frame. NoStatusReceived appends nothing, whatever the
// reason: without a code there is none. A reason above MaxReason is cut after the last character that fits, so the
// frame always is a legal one. The caller answers for a ValidCloseCode and a reason in UTF-8.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == NoStatusReceived {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, cutReason(reason)...)
}

func cutReason(reason string) string {
	if len(reason) <= MaxReason {
		return reason
	}
	end := MaxReason
	for end > 0 && !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}

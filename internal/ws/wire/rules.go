package wire

// State is what Check must know about the connection to judge the next header. The zero State is that of a client
// which waits for the first frame of a message and negotiated no extension.
type State struct {
	// FromClient: the frames come from a client, so they must be masked. Otherwise they must not be.
	FromClient bool
	// Fragmented: a message has begun and its last fragment has not come.
	Fragmented bool
	// RSV1Allowed: an extension that uses RSV1 was negotiated (permessage-deflate, RFC 7692).
	RSV1Allowed bool
}

// Check judges a header: every rule that RFC 6455 and RFC 7692 lay down for the header of a frame stands here. It
// returns nil when the frame may be read.
//
// The cases follow the order of the bits on the wire, and none needs more than the first two bytes (of Length only
// whether it exceeds 125). So a peer that breaks several rules gets the same fault however its bytes are cut, and gets
// it at the second byte.
func Check(h Header, s State) *Fault {
	control := h.Opcode.IsControl()
	continuation := h.Opcode == Continuation
	switch {
	// RFC 6455 5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
	case h.RSV1 && !s.RSV1Allowed:
		return faultRSV1
	// RFC 7692 6: "An endpoint MUST NOT set the 'Per-Message Compressed' bit of control frames and non-first
	// fragments of a data message."
	case h.RSV1 && (control || continuation):
		return faultRSV1Place
	// RFC 6455 5.2, as for RSV1; no extension that we negotiate uses these.
	case h.RSV2 || h.RSV3:
		return faultRSV23

	// RFC 6455 5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
	case h.Opcode.isReserved():
		return faultOpcode
	// RFC 6455 5.4: a continuation frame continues something.
	case continuation && !s.Fragmented:
		return faultContinuation
	// RFC 6455 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message".
	case !control && !continuation && s.Fragmented:
		return faultInterleaved
	// RFC 6455 5.5: "All control frames … MUST NOT be fragmented."
	case control && !h.Fin:
		return faultFragmentedControl

	// RFC 6455 5.1: "The server MUST close the connection upon receiving a frame that is not masked."
	case s.FromClient && !h.Masked:
		return faultUnmasked
	// RFC 6455 5.1: "A client MUST close a connection if it detects a masked frame."
	case !s.FromClient && h.Masked:
		return faultMasked

	// RFC 6455 5.5: "All control frames MUST have a payload length of 125 bytes or less".
	case control && h.Length > MaxControlPayload:
		return faultControlLength
	}
	return nil
}

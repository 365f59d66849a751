package wire

// FaultName names a kind of fault. Names are stable: they stand in close events, metrics, logs and the documentation.
type FaultName string

// The names of all faults. Each belongs to one close code.
const (
	ExpectedFIN                  FaultName = "EXPECTED_FIN"
	ExpectedMask                 FaultName = "EXPECTED_MASK"
	InvalidCloseCode             FaultName = "INVALID_CLOSE_CODE"
	InvalidCompressedData        FaultName = "INVALID_COMPRESSED_DATA"
	InvalidControlPayloadLength  FaultName = "INVALID_CONTROL_PAYLOAD_LENGTH"
	InvalidOpcode                FaultName = "INVALID_OPCODE"
	InvalidUTF8                  FaultName = "INVALID_UTF8"
	TooManyFragments             FaultName = "TOO_MANY_FRAGMENTS"
	UnexpectedMask               FaultName = "UNEXPECTED_MASK" // met by clients only
	UnexpectedRSV1               FaultName = "UNEXPECTED_RSV_1"
	UnexpectedRSV23              FaultName = "UNEXPECTED_RSV_2_3"
	UnsupportedDataPayloadLength FaultName = "UNSUPPORTED_DATA_PAYLOAD_LENGTH"
	UnsupportedMessageLength     FaultName = "UNSUPPORTED_MESSAGE_LENGTH"
)

// Fault is what a peer did wrong and, by its code, how the connection ends. It is an error; functions here return it
// as *Fault so that nobody can forget the code, and nil means no fault. Faults are shared values: compare, do not
// change.
type Fault struct {
	Name    FaultName
	Code    uint16 // what to close with
	Section string // the rule that was broken, such as "RFC 6455 5.2"
	Text    string // one line in ASCII, at most MaxReason bytes, so it can be the close reason; it may change
}

// Error returns the name, the text and the section.
func (f *Fault) Error() string {
	return string(f.Name) + ": " + f.Text + " (" + f.Section + ")"
}

// The faults that whoever inflates a compressed message finds there, where the Reader cannot look.
var (
	// FaultInvalidUTF8: a text message is not UTF-8.
	FaultInvalidUTF8 = &Fault{InvalidUTF8, InvalidPayload, "RFC 6455 8.1",
		"text is not UTF-8"}
	// FaultInvalidCompressedData: a compressed message is not what RFC 7692 7.2.2 can inflate.
	FaultInvalidCompressedData = &Fault{InvalidCompressedData, InvalidPayload, "RFC 7692 7.2.2",
		"compressed data is broken"}
	// FaultMessageTooLong: a message is longer than its endpoint allows.
	FaultMessageTooLong = &Fault{UnsupportedMessageLength, MessageTooBig, "RFC 6455 10.4",
		"message is longer than the limit"}
)

var (
	faultRSV1 = &Fault{UnexpectedRSV1, ProtocolError, "RFC 6455 5.2",
		"RSV1 is set, but no extension that uses it was negotiated"}
	faultRSV1Place = &Fault{UnexpectedRSV1, ProtocolError, "RFC 7692 6",
		"RSV1 is set on a frame that does not begin a message"}
	faultRSV23 = &Fault{UnexpectedRSV23, ProtocolError, "RFC 6455 5.2",
		"RSV2 or RSV3 is set, but no extension uses them"}

	faultOpcode = &Fault{InvalidOpcode, ProtocolError, "RFC 6455 5.2",
		"opcode is reserved"}
	faultContinuation = &Fault{InvalidOpcode, ProtocolError, "RFC 6455 5.4",
		"continuation frame without a message to continue"}
	faultInterleaved = &Fault{InvalidOpcode, ProtocolError, "RFC 6455 5.4",
		"new message before the last fragment of the one before"}
	faultFragmentedControl = &Fault{ExpectedFIN, ProtocolError, "RFC 6455 5.5",
		"control frame is fragmented"}

	faultUnmasked = &Fault{ExpectedMask, ProtocolError, "RFC 6455 5.1",
		"frame from a client is not masked"}
	faultMasked = &Fault{UnexpectedMask, ProtocolError, "RFC 6455 5.1",
		"frame from a server is masked"}

	faultControlLength = &Fault{InvalidControlPayloadLength, ProtocolError, "RFC 6455 5.5",
		"payload of a control frame is longer than 125 bytes"}
	faultLengthForm = &Fault{UnsupportedDataPayloadLength, ProtocolError, "RFC 6455 5.2",
		"payload length is not in its shortest form"}
	faultLengthSign = &Fault{UnsupportedDataPayloadLength, ProtocolError, "RFC 6455 5.2",
		"payload length has its top bit set"}
	faultFragments = &Fault{TooManyFragments, PolicyViolation, "RFC 6455 10.4",
		"message has more fragments than the limit"}

	faultFrameTooLong = &Fault{UnsupportedMessageLength, MessageTooBig, "RFC 6455 10.4",
		"frame is longer than the limit"}

	faultCloseLength = &Fault{InvalidControlPayloadLength, ProtocolError, "RFC 6455 5.5.1",
		"payload of a close frame is one byte, half a close code"}
	faultCloseCode = &Fault{InvalidCloseCode, ProtocolError, "RFC 6455 7.4",
		"close code is reserved or out of range"}
	faultCloseReason = &Fault{InvalidUTF8, InvalidPayload, "RFC 6455 5.5.1",
		"close reason is not UTF-8"}
)

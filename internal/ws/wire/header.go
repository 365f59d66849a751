package wire

import "encoding/binary"

// Sizes in bytes of the parts of a frame header (RFC 6455 5.2).
const (
	// MaxHeaderSize is the size of the longest header: two bytes, a 64-bit length and a masking key.
	MaxHeaderSize = startSize + 8 + maskSize

	startSize = 2 // FIN, RSV1 to RSV3, opcode; MASK, 7-bit length
	maskSize  = 4
)

// The 7-bit length either is the payload's length or says how many bytes of length follow (RFC 6455 5.2).
const (
	maxLength7  = 125
	length16    = 126 // 2 bytes of length follow
	length64    = 127 // 8 bytes of length follow
	maxLength16 = 1<<16 - 1
	maxLength64 = 1<<63 - 1 // "the most significant bit MUST be 0"
)

// Bits of the first and second byte of a header (RFC 6455 5.2).
const (
	finBit     = 0x80
	rsv1Bit    = 0x40
	rsv2Bit    = 0x20
	rsv3Bit    = 0x10
	opcodeBits = 0x0F

	maskBit    = 0x80
	lengthBits = 0x7F
)

// Header is the header of one frame (RFC 6455 5.2). It says what was written; whether that is allowed says Check.
type Header struct {
	Fin    bool    // the last, or only, frame of its message
	RSV1   bool    // for extensions; permessage-deflate: the message is compressed (RFC 7692 6)
	RSV2   bool    // for extensions; none uses it
	RSV3   bool    // for extensions; none uses it
	Opcode Opcode  // what the frame carries; only the low four bits are written
	Masked bool    // a masking key follows and the payload is XORed with it
	Mask   [4]byte // the masking key; not written unless Masked
	Length uint64  // of the payload, in bytes; below 1<<63
}

// ParseHeader reads the header at the start of b, which is n bytes long. When n is 0 and there is no fault, more bytes
// are needed. A length whose top bit is set, or that is not in its shortest form, is a fault (RFC 6455 5.2), found
// even if the masking key has not arrived. It judges nothing else: see Check.
func ParseHeader(b []byte) (h Header, n int, fault *Fault) {
	if len(b) < startSize {
		return Header{}, 0, nil
	}
	h, n = parseStart(b), startSize
	switch h.Length {
	case length16:
		if n += 2; len(b) < n {
			return Header{}, 0, nil
		}
		h.Length = uint64(binary.BigEndian.Uint16(b[startSize:]))
		if h.Length <= maxLength7 {
			return Header{}, 0, faultLengthForm
		}
	case length64:
		if n += 8; len(b) < n {
			return Header{}, 0, nil
		}
		h.Length = binary.BigEndian.Uint64(b[startSize:])
		if h.Length > maxLength64 {
			return Header{}, 0, faultLengthSign
		}
		if h.Length <= maxLength16 {
			return Header{}, 0, faultLengthForm
		}
	}
	if h.Masked {
		if n += maskSize; len(b) < n {
			return Header{}, 0, nil
		}
		h.Mask = [maskSize]byte(b[n-maskSize:])
	}
	return h, n, nil
}

// parseStart reads the first two bytes of a header. Its Length is exact up to 125; 126 and 127 stand for "126 or more".
// There is no masking key yet.
func parseStart(b []byte) Header {
	return Header{
		Fin:    b[0]&finBit != 0,
		RSV1:   b[0]&rsv1Bit != 0,
		RSV2:   b[0]&rsv2Bit != 0,
		RSV3:   b[0]&rsv3Bit != 0,
		Opcode: Opcode(b[0] & opcodeBits),
		Masked: b[1]&maskBit != 0,
		Length: uint64(b[1] & lengthBits),
	}
}

// AppendHeader appends h as it stands, with its length in the shortest form, also where Check would refuse it: so a
// test can speak as a broken peer.
func AppendHeader(dst []byte, h Header) []byte {
	first := bit(h.Fin, finBit) | bit(h.RSV1, rsv1Bit) | bit(h.RSV2, rsv2Bit) | bit(h.RSV3, rsv3Bit)
	first |= byte(h.Opcode) & opcodeBits
	masked := bit(h.Masked, maskBit)
	switch {
	case h.Length <= maxLength7:
		dst = append(dst, first, masked|byte(h.Length))
	case h.Length <= maxLength16:
		dst = append(dst, first, masked|length16)
		dst = binary.BigEndian.AppendUint16(dst, uint16(h.Length))
	default:
		dst = append(dst, first, masked|length64)
		dst = binary.BigEndian.AppendUint64(dst, h.Length)
	}
	if h.Masked {
		dst = append(dst, h.Mask[:]...)
	}
	return dst
}

func bit(set bool, b byte) byte {
	if set {
		return b
	}
	return 0
}

// AppendFrame appends a frame as a server sends it: unmasked (RFC 6455 5.1) and without reserved bits. The caller
// keeps a control frame's payload within MaxControlPayload.
func AppendFrame(dst []byte, op Opcode, fin bool, payload []byte) []byte {
	dst = AppendHeader(dst, Header{Fin: fin, Opcode: op, Length: uint64(len(payload))})
	return append(dst, payload...)
}

// HeaderSize returns the size in bytes of the header of an unmasked frame that carries payload bytes. A masked frame's
// header is four bytes longer.
func HeaderSize(payload int) int {
	switch {
	case payload <= maxLength7:
		return startSize
	case payload <= maxLength16:
		return startSize + 2
	}
	return startSize + 8
}

package main

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Opcodes (RFC 6455 5.2). They stand here once more, and so does the encoding of frames: what examines the broker
// must not share its mistakes.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

var opcodeNames = map[byte]string{
	opContinuation: "continuation", opText: "text", opBinary: "binary", opClose: "close", opPing: "ping", opPong: "pong",
}

// Reserved bits as they lie in frame.rsv.
const (
	rsv1 = 4
	rsv2 = 2
	rsv3 = 1
)

// maskingKey is unlike itself in every position, so that a payload unmasked at the wrong offset is garbage.
var maskingKey = [4]byte{0xA1, 0x5C, 0x03, 0x7E}

// lengthForm is how a payload length is written (RFC 6455 5.2).
type lengthForm int

const (
	shortest  lengthForm = iota // as the RFC demands
	sixteen                     // in 16 bits, whatever it is
	sixtyFour                   // in 64 bits, whatever it is
)

// frame is one frame to be sent. Its zero value lacks only an opcode to be a legal last fragment of a client.
type frame struct {
	opcode   byte
	payload  []byte
	more     bool // FIN is 0
	rsv      byte // rsv1, rsv2, rsv3
	unmasked bool // against RFC 6455 5.1
	key      [4]byte
	form     lengthForm
	claim    uint64 // if not 0: the length the header claims
}

func newFrame(op byte, payload []byte) frame {
	return frame{opcode: op, payload: payload, key: maskingKey}
}

func text(s string) frame         { return newFrame(opText, []byte(s)) }
func binaryOf(b []byte) frame     { return newFrame(opBinary, b) }
func continuation(s string) frame { return newFrame(opContinuation, []byte(s)) }
func ping(s string) frame         { return newFrame(opPing, []byte(s)) }
func pong(s string) frame         { return newFrame(opPong, []byte(s)) }
func closing(payload string) frame {
	return newFrame(opClose, []byte(payload))
}

// closeFrame is a close frame with a code, which need not be a legal one.
func closeFrame(code uint16, reason string) frame {
	return newFrame(opClose, append(binary.BigEndian.AppendUint16(nil, code), reason...))
}

// unfinished is the frame with FIN 0.
func (f frame) unfinished() frame {
	f.more = true
	return f
}

// reserved is the frame with reserved bits.
func (f frame) reserved(bits byte) frame {
	f.rsv = bits
	return f
}

// append appends the frame in its wire format (RFC 6455 5.2).
func (f frame) append(dst []byte) []byte {
	first := f.rsv<<4 | f.opcode
	if !f.more {
		first |= 0x80
	}
	dst = f.appendLength(append(dst, first))
	if f.unmasked {
		return append(dst, f.payload...)
	}
	dst = append(dst, f.key[:]...)
	start := len(dst)
	dst = append(dst, f.payload...)
	for i := range f.payload {
		dst[start+i] ^= f.key[i%4]
	}
	return dst
}

func (f frame) appendLength(dst []byte) []byte {
	mask := byte(0x80)
	if f.unmasked {
		mask = 0
	}
	length := uint64(len(f.payload))
	if f.claim != 0 {
		length = f.claim
	}
	switch {
	case f.form == sixtyFour, f.form == shortest && length > 0xFFFF:
		return binary.BigEndian.AppendUint64(append(dst, mask|127), length)
	case f.form == sixteen, length > 125:
		return binary.BigEndian.AppendUint16(append(dst, mask|126), uint16(length))
	}
	return append(dst, mask|byte(length))
}

func (f frame) String() string {
	name, ok := opcodeNames[f.opcode]
	if !ok {
		name = fmt.Sprintf("opcode %#x", f.opcode)
	}
	if f.more {
		name += " FIN=0"
	}
	if f.rsv != 0 {
		name += fmt.Sprintf(" RSV=%03b", f.rsv)
	}
	return name + " " + clip(f.payload)
}

// fragments cuts a message into frames of at most size bytes of payload. size 0: one frame.
func fragments(op byte, payload []byte, size int) []frame {
	if size <= 0 || len(payload) <= size {
		return []frame{newFrame(op, payload)}
	}
	var frames []frame
	for part := range slices.Chunk(payload, size) {
		f := newFrame(opContinuation, part)
		f.more = true
		frames = append(frames, f)
	}
	frames[0].opcode = op
	frames[len(frames)-1].more = false
	return frames
}

// clip shows bytes to people.
func clip(b []byte) string {
	const enough = 40
	if len(b) > enough {
		return fmt.Sprintf("%q… (%d bytes)", b[:enough], len(b))
	}
	return fmt.Sprintf("%q", b)
}

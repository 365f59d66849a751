package rpc

import (
	"slices"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// codec is protobuf's, but for what a SendStream receives.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(protocodec.Name)} }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) (err error) {
	if r, ok := v.(*batchRequest); ok {
		return r.unmarshal(data.Materialize())
	}
	return c.CodecV2.Unmarshal(data, v)
}

// batchRequest is a batch as it came.
type batchRequest struct {
	*holdfastv1.SendStreamRequest

	size int // in bytes; what is kept of the batch may keep all of them
}

// unmarshal reads a batch into few pieces of memory: its texts and payloads lie in buf, which must not change any more,
// and its objects in one array. protobuf takes five pieces for each send, and reads what is not read here: whatever our
// own schema does not have, and what must be refused.
func (r *batchRequest) unmarshal(buf []byte) error {
	r.size = len(buf)
	r.SendStreamRequest = &holdfastv1.SendStreamRequest{}
	if readBatch(buf, r.SendStreamRequest) {
		return nil
	}
	r.SendStreamRequest = &holdfastv1.SendStreamRequest{}
	return proto.Unmarshal(buf, r.SendStreamRequest)
}

// wireSend is all that a send of a batch is made of.
type wireSend struct {
	request holdfastv1.SendRequest
	message holdfastv1.Message
	text    holdfastv1.Message_Text
	binary  holdfastv1.Message_Binary
}

// smallestSend is what a send takes on the wire that has a connection ID. Batches of smaller ones are left to protobuf,
// so that no array is large beside its batch.
const smallestSend = 32

// Tags of fields: number and type, as they stand before a field on the wire.
const (
	tagBatchID      = 1<<3 | protowire.VarintType
	tagSend         = 2<<3 | protowire.BytesType
	tagConnectionID = 1<<3 | protowire.BytesType
	tagMessage      = 2<<3 | protowire.BytesType
	tagConfirmation = 3<<3 | protowire.VarintType
	tagExpireAfter  = 4<<3 | protowire.BytesType
	tagRequestID    = 5<<3 | protowire.BytesType
	tagText         = 1<<3 | protowire.BytesType
	tagBinary       = 2<<3 | protowire.BytesType
	tagMore         = 3<<3 | protowire.VarintType
	tagFragmentID   = 4<<3 | protowire.BytesType
	tagCompress     = 5<<3 | protowire.VarintType

	tagEnd = 6 << 3 // above all of them

	typeBits = 7 // of a tag
)

// field is one field of a message.
type field struct {
	tag    protowire.Type
	varint uint64 // of a VarintType
	bytes  []byte // of a BytesType
}

// next takes the first field off a message; false if it is none of ours.
func (f *field) next(buf []byte) (rest []byte, ok bool) {
	tag, n := protowire.ConsumeVarint(buf)
	if n < 0 || tag >= uint64(tagEnd) {
		return nil, false
	}
	buf, f.tag = buf[n:], protowire.Type(tag)
	switch f.tag & typeBits {
	case protowire.VarintType:
		f.varint, n = protowire.ConsumeVarint(buf)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(buf)
	default:
		return nil, false
	}
	if n < 0 {
		return nil, false
	}
	return buf[n:], true
}

// string is the field as a text that lies where it came; false if it is not UTF-8.
func (f *field) string(to *string) bool {
	*to = unsafe.String(unsafe.SliceData(f.bytes), len(f.bytes)) //nolint:gosec // nobody writes to it
	return utf8.Valid(f.bytes)
}

// readBatch answers false for a batch that protobuf has to read.
func readBatch(buf []byte, to *holdfastv1.SendStreamRequest) (ok bool) {
	n := 0
	var f field
	for rest := buf; len(rest) > 0; {
		if rest, ok = f.next(rest); !ok {
			return false
		}
		if f.tag == tagSend {
			n++
		}
	}
	if n > len(buf)/smallestSend {
		return false
	}
	sends := make([]wireSend, n)
	to.Sends = make([]*holdfastv1.SendRequest, 0, n)
	for rest := buf; len(rest) > 0; {
		rest, _ = f.next(rest)
		switch f.tag {
		case tagBatchID:
			to.BatchId = f.varint
		case tagSend:
			s := &sends[len(to.Sends)]
			if !s.read(f.bytes) {
				return false
			}
			to.Sends = append(to.Sends, &s.request)
		default:
			return false
		}
	}
	return true
}

func (s *wireSend) read(buf []byte) (ok bool) {
	to := &s.request
	var f field
	for len(buf) > 0 {
		if buf, ok = f.next(buf); !ok {
			return false
		}
		switch f.tag {
		case tagConnectionID:
			ok = f.string(&to.ConnectionId)
		case tagMessage:
			ok = to.Message == nil && s.readMessage(f.bytes) // protobuf would merge two
			to.Message = &s.message
		case tagConfirmation:
			to.Confirmation = holdfastv1.Confirmation(f.varint)
		case tagExpireAfter:
			ok = to.ExpireAfter == nil
			to.ExpireAfter = &durationpb.Duration{}
			ok = ok && proto.Unmarshal(f.bytes, to.ExpireAfter) == nil
		case tagRequestID:
			ok = f.string(&to.RequestId)
		default:
			return false
		}
		if !ok {
			return false
		}
	}
	return true
}

func (s *wireSend) readMessage(buf []byte) (ok bool) {
	to := &s.message
	var f field
	for len(buf) > 0 {
		if buf, ok = f.next(buf); !ok {
			return false
		}
		switch f.tag {
		case tagText:
			ok, to.Payload = f.string(&s.text.Text), &s.text
		case tagBinary:
			s.binary.Binary, to.Payload = slices.Clip(f.bytes), &s.binary
		case tagMore:
			to.More = protowire.DecodeBool(f.varint)
		case tagFragmentID:
			ok = f.string(&to.FragmentId)
		case tagCompress:
			to.Compress = new(protowire.DecodeBool(f.varint))
		default:
			return false
		}
		if !ok {
			return false
		}
	}
	return true
}

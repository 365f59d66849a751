package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// envelopeVersion is the first byte of every call between nodes.
const envelopeVersion = 1

// callKind says what a node wants of another.
type callKind byte

const (
	callMethod callKind = 1 + iota // one request, one response: a method, or a node's share of one
	callBatch                      // a batch of a SendStream, answered like it
	callEnd                        // that SendStream has ended
	callWatch                      // a Watch: partStarted, partEvents …, and a status
)

// envelope is what one node asks of another. On the wire: version, kind, method, caller, stream, seq and the
// request, which is the rest; strings with their length before them, numbers and lengths as varints.
type envelope struct {
	kind   callKind
	method string // full name; of a callMethod
	// caller is who called and what they may do, see encodeCaller. Empty: nobody had to say who they are.
	caller []byte
	// stream is the number of a SendStream at its node, from 1, and seq that of its calls to one node.
	stream, seq uint64
	request     []byte
}

// encode answers the call with m as its request.
func (c *envelope) encode(m proto.Message) ([]byte, error) {
	options := proto.MarshalOptions{}
	size := options.Size(m)
	b := make([]byte, 0, 2+len(c.method)+len(c.caller)+4*binary.MaxVarintLen64+size)
	b = append(b, envelopeVersion, byte(c.kind))
	b = binary.AppendUvarint(b, uint64(len(c.method)))
	b = append(b, c.method...)
	b = binary.AppendUvarint(b, uint64(len(c.caller)))
	b = append(b, c.caller...)
	b = binary.AppendUvarint(b, c.stream)
	b = binary.AppendUvarint(b, c.seq)
	options.UseCachedSize = true
	return options.MarshalAppend(b, m)
}

var errEnvelope = errors.New("call between nodes is cut short")

// decodeEnvelope is the reverse of encode. What it answers shares the bytes.
func decodeEnvelope(b []byte) (c envelope, err error) {
	if len(b) < 2 {
		return c, errEnvelope
	}
	if b[0] != envelopeVersion {
		return c, fmt.Errorf("call between nodes is of version %d, not %d", b[0], envelopeVersion)
	}
	r := envelopeReader{rest: b[2:]}
	c.kind = callKind(b[1])
	c.method = string(r.bytes())
	c.caller = r.bytes()
	c.stream, c.seq = r.number(), r.number()
	c.request = r.rest
	if r.short {
		return envelope{}, errEnvelope
	}
	return c, nil
}

type envelopeReader struct {
	rest  []byte
	short bool
}

func (r *envelopeReader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.rest, r.short = nil, true
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *envelopeReader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.rest, r.short = nil, true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// The first byte of each part of an answer.
const (
	partResponse byte = iota // a response, which is the rest
	partStatus               // a google.rpc.Status
	partStarted              // the watch is in effect; nothing more
	partEvents               // WatchResponses, each with its length before it
)

func responsePart(m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend([]byte{partResponse}, m)
}

// statusPart carries an error, which has a status, with all its details.
func statusPart(err error) []byte {
	b, marshalErr := proto.MarshalOptions{}.MarshalAppend([]byte{partStatus}, status.Convert(err).Proto())
	if marshalErr != nil { // a text that is not UTF-8; the code is worth more
		return statusPart(status.Error(status.Code(err), ""))
	}
	return b
}

// readAnswer reads a part into resp, or answers the error that it carries.
func readAnswer(part []byte, resp proto.Message) error {
	if len(part) == 0 {
		return errEnvelope
	}
	switch part[0] {
	case partResponse:
		return proto.Unmarshal(part[1:], resp)
	case partStatus:
		return readStatus(part[1:])
	}
	return fmt.Errorf("answer of another node begins with %d", part[0])
}

func readStatus(b []byte) error {
	st := &spb.Status{}
	if err := proto.Unmarshal(b, st); err != nil {
		return err
	}
	if st.GetCode() == int32(codes.OK) {
		return errors.New("answer of another node is a status without an error")
	}
	return status.ErrorProto(st)
}

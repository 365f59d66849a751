package life

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// A message of the log is a protobuf message written by hand: nodes of two versions can read each other,
// because what one does not know it skips, and nothing but this package ever sees it.
//
//	message Batch {
//	  uint64 number = 1;        // counts the owner's batches, from 1; 0 in a claimer's
//	  uint64 published = 2;     // closes in messages up to this sequence were published
//	  string instance = 3;      // Config.Instance of the writer
//	  repeated Open open = 4;
//	  repeated Close close = 5;
//	  string claim = 6;         // the node that claims this one
//	  uint64 done = 7;          // closes that claimers have published, in the order of Replay
//	  bool finished = 8;        // of a claim: all of them
//	}
const (
	fieldNumber    = 1
	fieldPublished = 2
	fieldInstance  = 3
	fieldOpen      = 4
	fieldClose     = 5
	fieldClaim     = 6
	fieldDone      = 7
	fieldFinished  = 8
)

// Fields of Open and of Close.
const (
	openKey       = 1
	openNamespace = 2
	openEndpoint  = 3
	openUser      = 4
	openTime      = 5 // nanoseconds since 1970

	closeKey       = 1
	closeNamespace = 2
	closeSeq       = 3
	closeEvent     = 4
)

// Open is what the record keeps of a connection.
type Open struct {
	Key       string // the random part of its ID
	Namespace string
	Endpoint  string
	User      string
	Time      time.Time
}

// Close is a close event that was recorded: the bytes that are to be published.
type Close struct {
	Key       string
	Namespace string
	Seq       uint64
	Event     []byte
}

// batch is one decoded message.
type batch struct {
	number    uint64
	published uint64
	instance  string
	opens     []Open
	closes    []Close
	claim     string
	done      uint64
	finished  bool
}

func appendOpen(b []byte, o *Open) []byte {
	size := sizeString(openKey, o.Key) + sizeString(openNamespace, o.Namespace) + sizeString(openEndpoint, o.Endpoint) +
		sizeString(openUser, o.User) + sizeVarint(openTime, uint64(o.Time.UnixNano()))
	b = protowire.AppendTag(b, fieldOpen, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendString(b, openKey, o.Key)
	b = appendString(b, openNamespace, o.Namespace)
	b = appendString(b, openEndpoint, o.Endpoint)
	b = appendString(b, openUser, o.User)
	return appendVarint(b, openTime, uint64(o.Time.UnixNano()))
}

func appendClose(b []byte, c *Close) []byte {
	event := protowire.SizeTag(closeEvent) + protowire.SizeBytes(len(c.Event))
	size := sizeString(closeKey, c.Key) + sizeString(closeNamespace, c.Namespace) + sizeVarint(closeSeq, c.Seq) + event
	b = protowire.AppendTag(b, fieldClose, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendString(b, closeKey, c.Key)
	b = appendString(b, closeNamespace, c.Namespace)
	b = appendVarint(b, closeSeq, c.Seq)
	b = protowire.AppendTag(b, closeEvent, protowire.BytesType)
	return protowire.AppendBytes(b, c.Event)
}

// appendHead writes what every message of an owner begins with.
func appendHead(b []byte, number, published uint64, instance string) []byte {
	b = appendVarint(b, fieldNumber, number)
	b = appendVarint(b, fieldPublished, published)
	return appendString(b, fieldInstance, instance)
}

// sizeHead is what appendHead writes at most.
func sizeHead(instance string) int {
	const most = 1<<64 - 1
	return sizeVarint(fieldNumber, most) + sizeVarint(fieldPublished, most) + sizeString(fieldInstance, instance)
}

func appendClaim(b []byte, by hub.NodeID, done uint64, finished bool) []byte {
	b = appendString(b, fieldClaim, string(by))
	b = appendVarint(b, fieldDone, done)
	if finished {
		b = appendVarint(b, fieldFinished, 1)
	}
	return b
}

func sizeString(f protowire.Number, s string) int {
	if s == "" {
		return 0
	}
	return protowire.SizeTag(f) + protowire.SizeBytes(len(s))
}

func sizeVarint(f protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(f) + protowire.SizeVarint(v)
}

func appendString(b []byte, f protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, f, protowire.BytesType), s)
}

func appendVarint(b []byte, f protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, f, protowire.VarintType), v)
}

// readBatch refuses what is no batch: a record that cannot be read must not pass for one that is empty.
func readBatch(data []byte) (b batch, err error) {
	err = readFields(data, func(f protowire.Number, v uint64, s []byte) error {
		switch f {
		case fieldNumber:
			b.number = v
		case fieldPublished:
			b.published = v
		case fieldInstance:
			b.instance = string(s)
		case fieldClaim:
			b.claim = string(s)
		case fieldDone:
			b.done = v
		case fieldFinished:
			b.finished = v != 0
		case fieldOpen:
			o, err := readOpen(s)
			b.opens = append(b.opens, o)
			return err
		case fieldClose:
			c, err := readClose(s)
			b.closes = append(b.closes, c)
			return err
		}
		return nil
	})
	return b, err
}

func readOpen(data []byte) (o Open, err error) {
	err = readFields(data, func(f protowire.Number, v uint64, s []byte) error {
		switch f {
		case openKey:
			o.Key = string(s)
		case openNamespace:
			o.Namespace = string(s)
		case openEndpoint:
			o.Endpoint = string(s)
		case openUser:
			o.User = string(s)
		case openTime:
			o.Time = time.Unix(0, int64(v))
		}
		return nil
	})
	return o, err
}

func readClose(data []byte) (c Close, err error) {
	err = readFields(data, func(f protowire.Number, v uint64, s []byte) error {
		switch f {
		case closeKey:
			c.Key = string(s)
		case closeNamespace:
			c.Namespace = string(s)
		case closeSeq:
			c.Seq = v
		case closeEvent:
			c.Event = append([]byte(nil), s...)
		}
		return nil
	})
	return c, err
}

// readFields visits the fields of a message: v of a varint, s of bytes. Other types are skipped.
func readFields(data []byte, visit func(f protowire.Number, v uint64, s []byte) error) error {
	for len(data) > 0 {
		f, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("record: %w", protowire.ParseError(n))
		}
		data = data[n:]
		var v uint64
		var s []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			s, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(f, typ, data)
		}
		if n < 0 {
			return fmt.Errorf("record: %w", protowire.ParseError(n))
		}
		data = data[n:]
		if typ != protowire.VarintType && typ != protowire.BytesType {
			continue
		}
		if err := visit(f, v, s); err != nil {
			return err
		}
	}
	return nil
}

package rpc

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// batchOf is a batch on the wire.
func batchOf(t testing.TB, sends ...*holdfastv1.SendRequest) []byte {
	t.Helper()
	buf, err := proto.Marshal(&holdfastv1.SendStreamRequest{BatchId: 1 << 63, Sends: sends})
	if err != nil {
		t.Fatal(err)
	}
	return buf
}

var anID = strings.Repeat("a", 27)

// ordinarySends have every field that a send can have.
func ordinarySends() []*holdfastv1.SendRequest {
	full := send(anID, &holdfastv1.Message{
		Payload: &holdfastv1.Message_Text{Text: "grüß dich"}, More: true, FragmentId: "f-1", Compress: new(false),
	})
	full.Confirmation, full.RequestId = holdfastv1.Confirmation_RECEIVED, "r-1"
	full.ExpireAfter = &durationpb.Duration{Seconds: -3, Nanos: 5}
	return []*holdfastv1.SendRequest{
		full,
		send(anID, text("")),
		send(anID, &holdfastv1.Message{Payload: &holdfastv1.Message_Binary{Binary: make([]byte, 1000)}}),
		send(anID, &holdfastv1.Message{Payload: &holdfastv1.Message_Binary{}, Compress: new(true)}),
		{ConnectionId: anID, Confirmation: -1},
	}
}

// extraordinary are batches that protobuf has to read, or to refuse.
func extraordinary(t testing.TB) map[string][]byte {
	one := batchOf(t, send(anID, text("x")))
	twice := protowire.AppendTag(nil, 2, protowire.BytesType)
	twice = protowire.AppendBytes(twice, []byte("\x0a\x1baaaaaaaaaaaaaaaaaaaaaaaaaaa\x12\x03\x0a\x01x\x12\x02\x18\x01"))
	return map[string][]byte{
		"a field of a later schema":       append(bytes.Clone(one), 0x98, 0x06, 1),
		"a field of another type":         append(bytes.Clone(one), 0x0a, 0),
		"a message twice":                 twice,
		"bytes that are no UTF-8":         bytes.Replace(one, []byte("x"), []byte{0xff}, 1),
		"an end that is missing":          one[:len(one)-1],
		"many sends that say nothing":     bytes.Repeat([]byte{0x12, 0}, 1000),
		"a number that is too long":       append(bytes.Clone(one), append([]byte{8}, bytes.Repeat([]byte{0xff}, 10)...)...),
		"a group, which nobody uses more": append(bytes.Clone(one), 0x1b, 0x1c),
	}
}

// compareWithProtobuf fails unless a batch is read, or refused, as protobuf does it.
func compareWithProtobuf(t *testing.T, buf []byte) {
	t.Helper()
	want, got := &holdfastv1.SendStreamRequest{}, &batchRequest{}
	wantErr, err := proto.Unmarshal(buf, want), got.unmarshal(bytes.Clone(buf))
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%x: %v, want %v", buf, err, wantErr)
	}
	if err == nil && !proto.Equal(got.SendStreamRequest, want) {
		t.Fatalf("%x: read %v, want %v", buf, got.SendStreamRequest, want)
	}
}

func TestBatchIsReadAsProtobufReadsIt(t *testing.T) {
	ordinary := batchOf(t, ordinarySends()...)
	compareWithProtobuf(t, nil)
	compareWithProtobuf(t, ordinary)
	if !readBatch(ordinary, &holdfastv1.SendStreamRequest{}) {
		t.Error("an ordinary batch is left to protobuf")
	}
	for name, buf := range extraordinary(t) {
		compareWithProtobuf(t, buf)
		if readBatch(buf, &holdfastv1.SendStreamRequest{}) {
			t.Errorf("%s: not left to protobuf", name)
		}
	}
}

func FuzzBatchIsReadAsProtobufReadsIt(f *testing.F) {
	f.Add(batchOf(f, ordinarySends()...))
	for _, buf := range extraordinary(f) {
		f.Add(buf)
	}
	f.Fuzz(compareWithProtobuf)
}

func TestBatchIsReadIntoFewPieces(t *testing.T) {
	var sends []*holdfastv1.SendRequest
	for range 64 {
		sends = append(sends, send(anID, text(hundred)))
	}
	buf := batchOf(t, sends...)
	if n := testing.AllocsPerRun(100, func() {
		if err := new(batchRequest).unmarshal(buf); err != nil {
			t.Error(err)
		}
	}); n > 3 {
		t.Errorf("%v allocations for a batch of 64", n)
	}
}

func BenchmarkReadBatch(b *testing.B) {
	var sends []*holdfastv1.SendRequest
	for range 64 {
		sends = append(sends, send(anID, text(hundred)))
	}
	buf := batchOf(b, sends...)
	for name, read := range map[string]func() error{
		"ours":     func() error { return new(batchRequest).unmarshal(bytes.Clone(buf)) },
		"protobuf": func() error { return proto.Unmarshal(buf, &holdfastv1.SendStreamRequest{}) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/send")
		})
	}
}

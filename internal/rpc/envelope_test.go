package rpc

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func FuzzEnvelope(f *testing.F) {
	request, err := (&envelope{kind: callBatch, method: "/a/B", caller: []byte("ann"), stream: 7, seq: 1 << 40}).encode(send("x", text("y")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(request)
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Add([]byte{1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEnvelope(b)
		if err != nil {
			if e.method != "" || e.caller != nil || e.request != nil {
				t.Errorf("an error and %+v", e)
			}
			return
		}
		head, err := e.encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeEnvelope(append(head, e.request...))
		if err != nil || again.kind != e.kind || again.method != e.method || !bytes.Equal(again.caller, e.caller) ||
			again.stream != e.stream || again.seq != e.seq || !bytes.Equal(again.request, e.request) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

// Every cut of an envelope before its request is found.
func TestEnvelopeThatIsCutShort(t *testing.T) {
	head, err := (&envelope{kind: callBatch, method: "/a/B", caller: []byte("ann"), stream: 700, seq: 300}).encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range head {
		if e, err := decodeEnvelope(head[:n]); err == nil {
			t.Errorf("%d of %d bytes: %+v", n, len(head), e)
		}
	}
	if e, err := decodeEnvelope(head); err != nil || e.stream != 700 || e.seq != 300 || len(e.request) != 0 {
		t.Errorf("%+v, %v", e, err)
	}
}

func FuzzAnswer(f *testing.F) {
	ok, err := responsePart(&holdfastv1.SendResponse{BufferedAmount: 7})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ok)
	f.Add(statusPart(status.Error(codes.Aborted, "x")))
	f.Add([]byte{partStatus})
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = readAnswer(b, &holdfastv1.SendResponse{})
		_ = eachEvent(b, func(*holdfastv1.WatchResponse) error { return nil })
		readWatchPart("aaaaaaaaaa", b, true, nil)
		readWatchPart("aaaaaaaaaa", b, false, nil)
	})
}

func TestAnswerCarriesAStatus(t *testing.T) {
	if err := readAnswer(statusPart(status.Error(codes.Aborted, "x")), &holdfastv1.SendResponse{}); status.Code(err) != codes.Aborted {
		t.Errorf("aborted is %v", err)
	}
	if err := readAnswer(statusPart(status.Error(codes.Aborted, "\xff")), &holdfastv1.SendResponse{}); status.Code(err) != codes.Aborted {
		t.Errorf("with a text that is not UTF-8: %v", err)
	}
	for name, part := range map[string][]byte{
		"nothing": nil, "no error": {partStatus}, "no status": {partStatus, 0xff}, "unknown": {77}, "no response": {partResponse, 0xff},
	} {
		if err := readAnswer(part, &holdfastv1.SendResponse{}); err == nil {
			t.Errorf("%s is an answer", name)
		}
	}
	resp := &holdfastv1.SendResponse{}
	part, _ := responsePart(&holdfastv1.SendResponse{BufferedAmount: 7})
	if err := readAnswer(part, resp); err != nil || !proto.Equal(resp, &holdfastv1.SendResponse{BufferedAmount: 7}) {
		t.Errorf("%v, %v", resp, err)
	}
}

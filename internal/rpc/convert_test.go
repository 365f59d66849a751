package rpc

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func TestEveryCauseAndKindHasItsName(t *testing.T) {
	told := make(map[holdfastv1.Closed_Cause]bool)
	for _, c := range hub.Causes() {
		if causes[c].String() != c.String() || causes[c] == 0 {
			t.Errorf("cause %s is told as %s", c, causes[c])
		}
		told[causes[c]] = true
	}
	if got, want := len(told)+1, len(holdfastv1.Closed_Cause_name); got != want {
		t.Errorf("%d of %d causes are told", got, want)
	}
	for n, name := range holdfastv1.Event_Kind_name {
		k, ok := kindOf(holdfastv1.Event_Kind(n))
		if ok != (n != 0) || ok && kinds[k].String() != name {
			t.Errorf("kind %s is %s of the core, %v", name, k, ok)
		}
	}
	if opcodeOf(hub.Text) != holdfastv1.Opcode_TEXT || opcodeOf(hub.Binary) != holdfastv1.Opcode_BINARY || opcodeOf(0) != 0 {
		t.Error("opcodes differ")
	}
}

// allSet reports fields of a message that a conversion left out, so that a field added to the schema
// is not forgotten here.
func allSet(t *testing.T, m proto.Message, but ...string) {
	t.Helper()
	r := m.ProtoReflect()
	fields := r.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		excepted := false
		for _, name := range but {
			excepted = excepted || f.Name() == protoreflect.Name(name)
		}
		if r.Has(f) == excepted {
			t.Errorf("%s: set is %v", f.FullName(), r.Has(f))
		}
	}
}

var (
	opened  = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	someID  = func() hub.ID { id, _ := hub.ParseID("aaaaaaaaaa-bbbbbbbbbbbbbbbb"); return id }()
	counted = hub.Traffic{MessagesIn: 1, BytesIn: 2, MessagesOut: 3, BytesOut: 4}
)

func TestConnectionOf(t *testing.T) {
	info := hub.Info{
		ID: someID, Namespace: "ns", Endpoint: "/e", Closing: true, Paused: true, User: "ann",
		Attributes: []hub.Attribute{{Name: "a", Value: "1"}}, OpenTime: opened, ExpireTime: opened.Add(time.Hour),
		RTT: time.Millisecond, Buffered: 9, Traffic: counted, Seq: 7,
		Facts: &hub.Facts{
			URL: "/u", Host: "h", RemoteAddress: "r", Headers: []hub.Header{{Name: "User-Agent", Value: "x"}},
			Subprotocol: "s", Extensions: "x",
			TLS: &hub.TLS{Version: "TLS 1.3", CipherSuite: "c", ServerName: "n", ClientCertificate: &hub.ClientCertificate{
				Subject: "CN=a", Issuer: "CN=b", SerialNumber: "1", DNSNames: []string{"d"}, SHA256: "f", NotAfter: opened,
			}},
		},
	}
	c := connectionOf(&info)
	allSet(t, c, "groups")
	allSet(t, c.Tls)
	allSet(t, c.Tls.ClientCertificate)
	want := &holdfastv1.Connection{
		Id: "aaaaaaaaaa-bbbbbbbbbbbbbbbb", Node: "aaaaaaaaaa", Namespace: "ns", Endpoint: "/e",
		State: holdfastv1.Connection_CLOSING, Paused: true, Url: "/u", Host: "h", RemoteAddress: "r",
		Headers: map[string]string{"User-Agent": "x"}, Subprotocol: "s", Extensions: "x", User: "ann",
		Attributes: map[string]string{"a": "1"}, OpenTime: timestamppb.New(opened),
		ExpireTime: timestamppb.New(opened.Add(time.Hour)), Rtt: durationpb.New(time.Millisecond), BufferedAmount: 9,
		MessagesIn: 1, BytesIn: 2, MessagesOut: 3, BytesOut: 4, Seq: 7,
		Tls: &holdfastv1.Tls{Version: "TLS 1.3", CipherSuite: "c", ServerName: "n", ClientCertificate: &holdfastv1.ClientCertificate{
			Subject: "CN=a", Issuer: "CN=b", SerialNumber: "1", DnsNames: []string{"d"}, Sha256: "f", NotAfter: timestamppb.New(opened),
		}},
	}
	if d := cmp.Diff(want, c, protocmp.Transform()); d != "" {
		t.Error(d)
	}
	bare := connectionOf(&hub.Info{ID: someID, Facts: &hub.Facts{}, OpenTime: opened})
	if bare.State != holdfastv1.Connection_OPEN || bare.ExpireTime != nil || bare.Rtt != nil || bare.Tls != nil {
		t.Errorf("a bare connection is %v", bare)
	}
}

func TestClosedOf(t *testing.T) {
	c := closedOf(&hub.Closed{
		ID: someID, Namespace: "ns", Endpoint: "/e", User: "ann", Attributes: []hub.Attribute{{Name: "a", Value: "1"}},
		OpenTime: opened, CloseTime: opened.Add(time.Second), Traffic: counted,
		End: hub.End{
			Code: 1002, Reason: "r", SentCode: 1003, SentReason: "s", WasClean: true,
			Cause: hub.CauseProtocolFault, Fault: "EXPECTED_MASK", Detail: "d",
		},
	})
	allSet(t, c)
	if c.Code != 1002 || c.Reason != "r" || c.SentCode != 1003 || c.SentReason != "s" || c.Detail != "d" ||
		c.Fault != holdfastv1.Closed_EXPECTED_MASK || c.Cause != holdfastv1.Closed_PROTOCOL_FAULT ||
		c.MessagesIn != 1 || c.BytesIn != 2 || c.MessagesOut != 3 || c.BytesOut != 4 {
		t.Errorf("closed is %v", c)
	}
}

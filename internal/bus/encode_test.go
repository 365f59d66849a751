package bus

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// same fails unless our JSON is the library's, but for the white space that it adds at random, and the
// library reads it back as the message.
func same(t *rapid.T, ours []byte, want proto.Message) {
	library, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, library); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(compact.String(), string(ours)); diff != "" {
		t.Fatalf("bytes differ (-library +ours):\n%s", diff)
	}
	back := want.ProtoReflect().New().Interface()
	if err := protojson.Unmarshal(ours, back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, back, protocmp.Transform()); diff != "" {
		t.Fatalf("message differs (-want +got):\n%s", diff)
	}
}

// text draws UTF-8 with everything that must be escaped.
var text = rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("\x00\x01\x1f\x7f\"\\/\b\f\n\r\t<>&é\u2028\uFFFD😀 a"))))

var moment = rapid.Custom(func(t *rapid.T) time.Time {
	nanos := rapid.OneOf(rapid.Int64Range(0, 999_999_999), rapid.SampledFrom([]int64{0, 1e3, 1e6, 1e8, 999, 1_001_000})).Draw(t, "nanos")
	return time.Unix(rapid.Int64Range(1, 253402300799).Draw(t, "seconds"), nanos)
})

var someMap = rapid.MapOfN(text.Filter(func(s string) bool { return s != "" }), text, 0, 4)

func draw[V any](t *rapid.T, g *rapid.Generator[V]) V { return g.Draw(t, "") }

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func attributesOf(m map[string]string) (out []hub.Attribute) {
	for k, v := range m { // unsorted on purpose
		out = append(out, hub.Attribute{Name: k, Value: v})
	}
	return out
}

func drawTraffic(t *rapid.T) hub.Traffic {
	n := func() uint64 { return draw(t, rapid.Uint64()) }
	return hub.Traffic{MessagesIn: n(), BytesIn: n(), MessagesOut: n(), BytesOut: n()}
}

func drawTLS(t *rapid.T) (*hub.TLS, *holdfastv1.Tls) {
	if draw(t, rapid.Bool()) {
		return nil, nil
	}
	h := &hub.TLS{Version: draw(t, text), CipherSuite: draw(t, text), ServerName: draw(t, text)}
	p := &holdfastv1.Tls{Version: h.Version, CipherSuite: h.CipherSuite, ServerName: h.ServerName}
	if draw(t, rapid.Bool()) {
		c := &hub.ClientCertificate{Subject: draw(t, text), Issuer: draw(t, text), SerialNumber: draw(t, text),
			DNSNames: draw(t, rapid.SliceOfN(text, 0, 3)), SHA256: draw(t, text), NotAfter: draw(t, moment)}
		h.ClientCertificate = c
		p.ClientCertificate = &holdfastv1.ClientCertificate{Subject: c.Subject, Issuer: c.Issuer,
			SerialNumber: c.SerialNumber, DnsNames: c.DNSNames, Sha256: c.SHA256, NotAfter: stamp(c.NotAfter)}
	}
	return h, p
}

func anID() hub.ID {
	id, err := hub.ParseID("abcdefghij-abcdefghij234567")
	if err != nil {
		panic(err)
	}
	return id
}

func TestConnectionJSONIsTheLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		headers, attributes := draw(t, someMap), draw(t, someMap)
		tls, wantTLS := drawTLS(t)
		i := &hub.Info{
			ID: anID(), Namespace: draw(t, text), Endpoint: draw(t, text), Closing: draw(t, rapid.Bool()),
			Paused: draw(t, rapid.Bool()), User: draw(t, text), Attributes: attributesOf(attributes),
			OpenTime: draw(t, moment), RTT: time.Duration(draw(t, rapid.Int64Min(0))),
			Buffered: draw(t, rapid.Uint64()), Traffic: drawTraffic(t), Seq: draw(t, rapid.Uint64()),
			Facts: &hub.Facts{URL: draw(t, text), Host: draw(t, text), RemoteAddress: draw(t, text),
				Subprotocol: draw(t, text), Extensions: draw(t, text), TLS: tls},
		}
		i.Groups = rapid.SliceOfN(rapid.StringMatching(`[A-Za-z0-9_=:@-]{1,20}`), 0, 3).Draw(t, "groups")
		if draw(t, rapid.Bool()) {
			i.ExpireTime = draw(t, moment)
		}
		if draw(t, rapid.Bool()) {
			i.RTT = time.Duration(draw(t, rapid.SampledFrom([]int64{0, 1, 12e6, 1500e6, 60e9, 1e3})))
		}
		for k, v := range headers {
			i.Facts.Headers = append(i.Facts.Headers, hub.Header{Name: k, Value: v})
		}
		want := &holdfastv1.Connection{
			Id: i.ID.String(), Node: string(i.ID.Node()), Namespace: i.Namespace, Endpoint: i.Endpoint,
			State: holdfastv1.Connection_OPEN, Paused: i.Paused, Url: i.Facts.URL, Host: i.Facts.Host,
			RemoteAddress: i.Facts.RemoteAddress, Headers: headers, Subprotocol: i.Facts.Subprotocol,
			Extensions: i.Facts.Extensions, User: i.User, Attributes: attributes, Groups: i.Groups, Tls: wantTLS,
			OpenTime: stamp(i.OpenTime), ExpireTime: stamp(i.ExpireTime), BufferedAmount: i.Buffered,
			MessagesIn: i.Traffic.MessagesIn, BytesIn: i.Traffic.BytesIn,
			MessagesOut: i.Traffic.MessagesOut, BytesOut: i.Traffic.BytesOut, Seq: i.Seq,
		}
		if i.Closing {
			want.State = holdfastv1.Connection_CLOSING
		}
		if i.RTT != 0 {
			want.Rtt = durationpb.New(i.RTT)
		}
		same(t, AppendConnection(nil, i), want)
	})
}

func TestClosedJSONIsTheLibrarys(t *testing.T) {
	var faults []string
	for name := range holdfastv1.Closed_Fault_value {
		faults = append(faults, name)
	}
	faults = append(faults, "", "A_FAULT_THE_SCHEMA_DOES_NOT_KNOW")
	rapid.Check(t, func(t *rapid.T) {
		attributes := draw(t, someMap)
		c := &hub.Closed{
			ID: anID(), Namespace: draw(t, text), Endpoint: draw(t, text), User: draw(t, text),
			Attributes: attributesOf(attributes), OpenTime: draw(t, moment), CloseTime: draw(t, moment),
			Traffic: drawTraffic(t),
			End: hub.End{Code: draw(t, rapid.Uint16()), Reason: draw(t, text), SentCode: draw(t, rapid.Uint16()),
				SentReason: draw(t, text), WasClean: draw(t, rapid.Bool()), Cause: draw(t, rapid.SampledFrom(hub.Causes())),
				Fault: draw(t, rapid.SampledFrom(faults)), Detail: draw(t, text)},
		}
		same(t, AppendClosed(nil, c), &holdfastv1.Closed{
			Id: c.ID.String(), Node: string(c.ID.Node()), Namespace: c.Namespace, Endpoint: c.Endpoint, User: c.User,
			Attributes: attributes, Code: uint32(c.End.Code), Reason: c.End.Reason, SentCode: uint32(c.End.SentCode),
			SentReason: c.End.SentReason, WasClean: c.End.WasClean, Detail: c.End.Detail,
			Cause:    holdfastv1.Closed_Cause(holdfastv1.Closed_Cause_value[c.End.Cause.String()]),
			Fault:    holdfastv1.Closed_Fault(holdfastv1.Closed_Fault_value[c.End.Fault]),
			OpenTime: stamp(c.OpenTime), CloseTime: stamp(c.CloseTime),
			MessagesIn: c.Traffic.MessagesIn, BytesIn: c.Traffic.BytesIn,
			MessagesOut: c.Traffic.MessagesOut, BytesOut: c.Traffic.BytesOut,
		})
	})
}

func TestHandshakeJSONIsTheLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		headers, values := draw(t, someMap), draw(t, someMap)
		tls, wantTLS := drawTLS(t)
		h := &hub.Handshake{
			ID: anID(), Endpoint: &hub.Endpoint{Path: draw(t, text), Namespace: draw(t, text)}, URL: draw(t, text), Host: draw(t, text),
			Subprotocols: rapid.SliceOfN(text, 0, 3).Draw(t, "subprotocols"), RemoteAddress: draw(t, text), LocalAddress: draw(t, text), TLS: tls,
		}
		for k, v := range headers {
			h.Headers = append(h.Headers, hub.Header{Name: k, Value: v})
		}
		for k, v := range values {
			h.PathValues = append(h.PathValues, hub.Header{Name: k, Value: v})
		}
		same(t, AppendHandshake(nil, h), &holdfastv1.Handshake{
			ConnectionId: h.ID.String(), Namespace: h.Endpoint.Namespace, Endpoint: h.Endpoint.Path, PathValues: values,
			Url: h.URL, Host: h.Host, Headers: headers, Subprotocols: h.Subprotocols,
			RemoteAddress: h.RemoteAddress, LocalAddress: h.LocalAddress, Tls: wantTLS,
		})
	})
}

func TestVerdictJSONIsTheLibrarys(t *testing.T) {
	reasons := append(hub.Reasons(), 0)
	rapid.Check(t, func(t *rapid.T) {
		v := verdict{code: draw(t, text), reason: draw(t, rapid.SampledFrom(reasons)), message: draw(t, text), buffered: draw(t, rapid.Uint64())}
		same(t, appendVerdict(nil, v), &holdfastv1.ReplyVerdict{
			Code: v.code, Reason: holdfastv1.ErrorReason(holdfastv1.ErrorReason_value[v.reason.String()]),
			Message: v.message, BufferedAmount: v.buffered,
		})
	})
}

// Every name that the core can produce must be one of the schema.
func TestSchemaKnowsEveryNameOfTheCore(t *testing.T) {
	for _, c := range hub.Causes() {
		if holdfastv1.Closed_Cause_value[c.String()] != int32(c) {
			t.Errorf("cause %v", c)
		}
	}
	for _, r := range hub.Reasons() {
		if holdfastv1.ErrorReason_value[r.String()] != int32(r) {
			t.Errorf("reason %v", r)
		}
	}
}

func TestInvalidUTF8BecomesReplacementCharacter(t *testing.T) {
	i := &hub.Info{ID: anID(), Facts: &hub.Facts{URL: "/\xff\xfe?q=\xc3", Headers: []hub.Header{{Name: "User-Agent", Value: "caf\xe9"}}}}
	got := string(AppendConnection(nil, i))
	for _, want := range []string{`"url":"/` + "\uFFFD?q=\uFFFD" + `"`, `"User-Agent":"caf` + "\uFFFD" + `"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if err := protojson.Unmarshal([]byte(got), &holdfastv1.Connection{}); err != nil {
		t.Error(err)
	}
}

package rpc

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// The names of the core are those of the schema, so the tables are built of names: a number that is
// moved in one of the two places cannot change the meaning of the other.
var (
	causes = causeTable()
	kinds  = kindTable()
)

func causeTable() map[hub.Cause]holdfastv1.Closed_Cause {
	t := make(map[hub.Cause]holdfastv1.Closed_Cause)
	for _, c := range hub.Causes() {
		t[c] = holdfastv1.Closed_Cause(holdfastv1.Closed_Cause_value[c.String()])
	}
	return t
}

func kindTable() map[hub.Kind]holdfastv1.Event_Kind {
	t := make(map[hub.Kind]holdfastv1.Event_Kind)
	for k := hub.KindOpen; k <= hub.KindWritable; k++ {
		t[k] = holdfastv1.Event_Kind(holdfastv1.Event_Kind_value[strings.ToUpper(k.String())])
	}
	return t
}

// kindOf is the reverse of kinds; false for a kind that never occurs.
func kindOf(p holdfastv1.Event_Kind) (hub.Kind, bool) {
	for k, v := range kinds {
		if v == p {
			return k, true
		}
	}
	return 0, false
}

func opcodeOf(o hub.Opcode) holdfastv1.Opcode {
	switch o {
	case hub.Text:
		return holdfastv1.Opcode_TEXT
	case hub.Binary:
		return holdfastv1.Opcode_BINARY
	}
	return holdfastv1.Opcode_OPCODE_UNSPECIFIED
}

// connectionOf is a connection as Get, List, Update and the open event show it.
func connectionOf(i *hub.Info) *holdfastv1.Connection {
	f := i.Facts
	c := &holdfastv1.Connection{
		Id: i.ID.String(), Node: string(i.ID.Node()), Namespace: i.Namespace, Endpoint: i.Endpoint,
		State: holdfastv1.Connection_OPEN, Paused: i.Paused,
		Url: f.URL, Host: f.Host, RemoteAddress: f.RemoteAddress, Headers: headersOf(f.Headers),
		Subprotocol: f.Subprotocol, Extensions: f.Extensions, Tls: tlsOf(f.TLS),
		User: i.User, Attributes: attributesOf(i.Attributes), Groups: i.Groups,
		OpenTime: timestampOf(i.OpenTime), ExpireTime: timestampOf(i.ExpireTime), Rtt: durationOf(i.RTT),
		BufferedAmount: i.Buffered,
		MessagesIn:     i.Traffic.MessagesIn, BytesIn: i.Traffic.BytesIn,
		MessagesOut: i.Traffic.MessagesOut, BytesOut: i.Traffic.BytesOut,
		Seq: i.Seq,
	}
	if i.Closing {
		c.State = holdfastv1.Connection_CLOSING
	}
	return c
}

// closedOf is how a connection ended.
func closedOf(c *hub.Closed) *holdfastv1.Closed {
	return &holdfastv1.Closed{
		Id: c.ID.String(), Node: string(c.ID.Node()), Namespace: c.Namespace, Endpoint: c.Endpoint,
		User: c.User, Attributes: attributesOf(c.Attributes),
		Code: uint32(c.End.Code), Reason: c.End.Reason,
		SentCode: uint32(c.End.SentCode), SentReason: c.End.SentReason, WasClean: c.End.WasClean,
		Cause:  causes[c.End.Cause],
		Fault:  holdfastv1.Closed_Fault(holdfastv1.Closed_Fault_value[c.End.Fault]),
		Detail: c.End.Detail, OpenTime: timestampOf(c.OpenTime), CloseTime: timestampOf(c.CloseTime),
		MessagesIn: c.Traffic.MessagesIn, BytesIn: c.Traffic.BytesIn,
		MessagesOut: c.Traffic.MessagesOut, BytesOut: c.Traffic.BytesOut,
	}
}

// eventOf is an event as Watch shows it.
func eventOf(e *hub.Event) *holdfastv1.Event {
	p := &holdfastv1.Event{
		Kind: kinds[e.Kind], ConnectionId: e.Conn.ID().String(), Namespace: e.Conn.Endpoint().Namespace,
		Seq: e.Seq, User: e.User, Attributes: attributesOf(e.Attributes),
		Opcode: opcodeOf(e.Opcode), Payload: e.Payload,
	}
	if e.Info != nil {
		p.Connection = connectionOf(e.Info)
	}
	if e.Closed != nil {
		p.Closed = closedOf(e.Closed)
	}
	return p
}

func headersOf(headers []hub.Header) map[string]string {
	if len(headers) == 0 {
		return nil
	}
	m := make(map[string]string, len(headers))
	for _, h := range headers {
		m[h.Name] = h.Value
	}
	return m
}

func attributesOf(attributes []hub.Attribute) map[string]string {
	if len(attributes) == 0 {
		return nil
	}
	m := make(map[string]string, len(attributes))
	for _, a := range attributes {
		m[a.Name] = a.Value
	}
	return m
}

func tlsOf(t *hub.TLS) *holdfastv1.Tls {
	if t == nil {
		return nil
	}
	p := &holdfastv1.Tls{Version: t.Version, CipherSuite: t.CipherSuite, ServerName: t.ServerName}
	if cc := t.ClientCertificate; cc != nil {
		p.ClientCertificate = &holdfastv1.ClientCertificate{
			Subject: cc.Subject, Issuer: cc.Issuer, SerialNumber: cc.SerialNumber,
			DnsNames: cc.DNSNames, Sha256: cc.SHA256, NotAfter: timestampOf(cc.NotAfter),
		}
	}
	return p
}

// timestampOf leaves a time out that never comes.
func timestampOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// durationOf leaves a duration out that was not measured.
func durationOf(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

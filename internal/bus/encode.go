package bus

import (
	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// AppendConnection appends the JSON of holdfast.v1.Connection, the payload of an open event.
func AppendConnection(dst []byte, c *hub.Info) []byte {
	o := beginObject(dst)
	o.str("id", c.ID.String())
	o.str("node", string(c.ID.Node()))
	o.str("namespace", c.Namespace)
	o.str("endpoint", c.Endpoint)
	if c.Closing {
		o.str("state", "CLOSING")
	} else {
		o.str("state", "OPEN")
	}
	o.boolean("paused", c.Paused)
	facts := c.Facts
	if facts == nil {
		facts = &hub.Facts{}
	}
	o.facts(facts)
	o.str("user", c.User)
	o.attributes(c.Attributes)
	o.list("groups", c.Groups)
	o.tls(facts.TLS)
	o.time("open_time", c.OpenTime)
	o.time("expire_time", c.ExpireTime)
	o.duration("rtt", c.RTT)
	o.uint64("buffered_amount", c.Buffered)
	o.traffic(c.Traffic)
	o.uint64("seq", c.Seq)
	return o.end()
}

// AppendClosed appends the JSON of holdfast.v1.Closed, the payload of a close event.
func AppendClosed(dst []byte, c *hub.Closed) []byte {
	o := beginObject(dst)
	o.str("id", c.ID.String())
	o.str("node", string(c.ID.Node()))
	o.str("namespace", c.Namespace)
	o.str("endpoint", c.Endpoint)
	o.str("user", c.User)
	o.attributes(c.Attributes)
	o.uint32("code", uint32(c.End.Code))
	o.str("reason", c.End.Reason)
	o.uint32("sent_code", uint32(c.End.SentCode))
	o.str("sent_reason", c.End.SentReason)
	o.boolean("was_clean", c.End.WasClean)
	if c.End.Cause != 0 {
		o.str("cause", c.End.Cause.String())
	}
	// A name that the schema does not know would make the whole event unreadable to a parser.
	if v := holdfastv1.Closed_Fault_value[c.End.Fault]; v != 0 {
		o.str("fault", c.End.Fault)
	}
	o.str("detail", c.End.Detail)
	o.time("open_time", c.OpenTime)
	o.time("close_time", c.CloseTime)
	o.traffic(c.Traffic)
	return o.end()
}

// AppendHandshake appends the JSON of holdfast.v1.Handshake.
func AppendHandshake(dst []byte, h *hub.Handshake) []byte {
	o := beginObject(dst)
	o.str("connection_id", h.ID.String())
	o.str("namespace", h.Endpoint.Namespace)
	o.str("endpoint", h.Endpoint.Path)
	o.headers("path_values", h.PathValues)
	o.str("url", h.URL)
	o.str("host", h.Host)
	o.headers("headers", h.Headers)
	o.list("subprotocols", h.Subprotocols)
	o.str("remote_address", h.RemoteAddress)
	o.str("local_address", h.LocalAddress)
	o.tls(h.TLS)
	return o.end()
}

// verdict answers a reply that is itself a request.
type verdict struct {
	code     string // the name of a gRPC status code
	reason   hub.Reason
	message  string
	buffered uint64
}

// appendVerdict appends the JSON of holdfast.v1.ReplyVerdict.
func appendVerdict(dst []byte, v verdict) []byte {
	o := beginObject(dst)
	o.str("code", v.code)
	if v.reason != 0 {
		o.str("reason", v.reason.String())
	}
	o.str("message", v.message)
	o.uint64("buffered_amount", v.buffered)
	return o.end()
}

func (o *jsonObject) facts(f *hub.Facts) {
	o.str("url", f.URL)
	o.str("host", f.Host)
	o.str("remote_address", f.RemoteAddress)
	o.headers("headers", f.Headers)
	o.str("subprotocol", f.Subprotocol)
	o.str("extensions", f.Extensions)
}

func (o *jsonObject) headers(n string, headers []hub.Header) {
	entries := make([]pair, len(headers))
	for i, h := range headers {
		entries[i] = pair(h)
	}
	o.pairs(n, entries)
}

func (o *jsonObject) attributes(attributes []hub.Attribute) {
	entries := make([]pair, len(attributes))
	for i, a := range attributes {
		entries[i] = pair(a)
	}
	o.pairs("attributes", entries)
}

func (o *jsonObject) traffic(t hub.Traffic) {
	o.uint64("messages_in", t.MessagesIn)
	o.uint64("bytes_in", t.BytesIn)
	o.uint64("messages_out", t.MessagesOut)
	o.uint64("bytes_out", t.BytesOut)
}

// tls writes a message field: present, even if empty, when there is a TLS session.
func (o *jsonObject) tls(t *hub.TLS) {
	if t == nil {
		return
	}
	o.name("tls")
	in := beginObject(o.dst)
	in.str("version", t.Version)
	in.str("cipher_suite", t.CipherSuite)
	in.str("server_name", t.ServerName)
	in.certificate(t.ClientCertificate)
	o.dst = in.end()
}

func (o *jsonObject) certificate(c *hub.ClientCertificate) {
	if c == nil {
		return
	}
	o.name("client_certificate")
	in := beginObject(o.dst)
	in.str("subject", c.Subject)
	in.str("issuer", c.Issuer)
	in.str("serial_number", c.SerialNumber)
	in.list("dns_names", c.DNSNames)
	in.str("sha256", c.SHA256)
	in.time("not_after", c.NotAfter)
	o.dst = in.end()
}

package hub

import (
	"encoding/binary"
	"time"
)

// Facts are what a handshake says about a connection. They never change.
type Facts struct {
	URL           string
	Host          string
	RemoteAddress string
	Headers       []Header // by name; only those the endpoint keeps
	Subprotocol   string
	Extensions    string
	TLS           *TLS // nil on a plain connection
}

// Header is one kept header of the handshake request, its values joined by ", ".
type Header struct{ Name, Value string }

// TLS holds facts of a TLS session.
type TLS struct {
	Version, CipherSuite, ServerName string
	ClientCertificate                *ClientCertificate // nil when none was presented
}

// ClientCertificate holds facts of a verified client certificate.
type ClientCertificate struct {
	Subject, Issuer, SerialNumber string
	DNSNames                      []string
	SHA256                        string
	NotAfter                      time.Time
}

// packedFacts are Facts without TLS as a connection keeps them, who is rarely asked: in one piece of memory that no
// longer holds on to the request. Each string stands behind its length; those of the headers come last.
type packedFacts string

func packFacts(f *Facts) packedFacts {
	fields := [...]string{f.URL, f.Host, f.RemoteAddress, f.Subprotocol, f.Extensions}
	size := 0
	for _, s := range fields {
		size += len(s) + binary.MaxVarintLen32
	}
	for _, h := range f.Headers {
		size += len(h.Name) + len(h.Value) + 2*binary.MaxVarintLen32
	}
	b := make([]byte, 0, max(size, 512)) // on the stack, as a rule
	for _, s := range fields {
		b = appendField(b, s)
	}
	for _, h := range f.Headers {
		b = appendField(appendField(b, h.Name), h.Value)
	}
	return packedFacts(b)
}

func appendField(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// unpack makes Facts, whose strings lie in the packed ones.
func (p packedFacts) unpack(tls *TLS) *Facts {
	f := &Facts{TLS: tls}
	for _, field := range []*string{&f.URL, &f.Host, &f.RemoteAddress, &f.Subprotocol, &f.Extensions} {
		*field = p.next()
	}
	for len(p) > 0 {
		f.Headers = append(f.Headers, Header{Name: p.next(), Value: p.next()})
	}
	return f
}

// next takes the next string off.
func (p *packedFacts) next() string {
	length, n := 0, 0
	for shift := 0; ; shift += 7 { // as binary.Uvarint, which reads bytes only
		c := (*p)[n]
		n++
		length |= int(c&0x7f) << shift
		if c < 0x80 {
			break
		}
	}
	s := string((*p)[n : n+length])
	*p = (*p)[n+length:]
	return s
}

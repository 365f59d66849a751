package admission

import (
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// handshakeOf is what a backend is asked.
func handshakeOf(r *Request) *hub.Handshake {
	h := &hub.Handshake{
		ID: r.ID, Endpoint: r.Endpoint, PathValues: pathValues(r),
		URL: r.HTTP.RequestURI, Host: r.HTTP.Host, Headers: headersOf(r.HTTP.Header),
		RemoteAddress: r.Facts.RemoteAddress, TLS: r.Facts.TLS,
	}
	h.Subprotocols, _ = wire.Subprotocols(r.HTTP.Header) // was judged before
	if local, ok := r.HTTP.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		h.LocalAddress = local.String()
	}
	return h
}

// wildcard is one of an endpoint's path: "{name}" or "{name...}".
var wildcard = regexp.MustCompile(`\{([^{}.$]+)(?:\.\.\.)?\}`)

func pathValues(r *Request) (values []hub.Header) {
	for _, w := range wildcard.FindAllStringSubmatch(r.Endpoint.Path, -1) {
		values = append(values, hub.Header{Name: w[1], Value: r.HTTP.PathValue(w[1])})
	}
	return values
}

func headersOf(header http.Header) []hub.Header {
	headers := make([]hub.Header, 0, len(header))
	for name, values := range header {
		separator := ", " // RFC 9110 5.3
		if name == "Cookie" {
			separator = "; " // RFC 9113 8.2.3
		}
		headers = append(headers, hub.Header{Name: name, Value: strings.Join(values, separator)})
	}
	return headers
}

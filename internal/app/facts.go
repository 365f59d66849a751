package app

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/ws"
)

// facts are what the handshake says about a connection. Credentials are not among them. The strings are the
// request's own: the hub keeps copies.
func (ep *endpoint) facts(r *http.Request, a ws.Accepted) *hub.Facts {
	f := &hub.Facts{
		URL: shownURL(r.URL, ep.secrets), Host: r.Host, RemoteAddress: r.RemoteAddr,
		Subprotocol: a.Subprotocol, TLS: tlsFacts(r.TLS),
	}
	if f.RemoteAddress == "@" { // what net/http calls the other side of a Unix socket
		f.RemoteAddress = ""
	}
	for _, name := range ep.keep {
		if values := r.Header.Values(name); len(values) > 0 {
			f.Headers = append(f.Headers, hub.Header{Name: name, Value: strings.Join(values, ", ")})
		}
	}
	return f
}

// secretParameters carry tokens in a URL's query, on every endpoint.
var secretParameters = []string{"token", "access_token"}

// shownURL is path and query without tokens; the rest stays as the client wrote it.
func shownURL(u *url.URL, secrets []string) string {
	shown := *u
	shown.Scheme, shown.Host, shown.User, shown.Fragment = "", "", nil, ""
	var kept []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		if !isSecret(pair, secrets) {
			kept = append(kept, pair)
		}
	}
	shown.RawQuery = strings.Join(kept, "&")
	return shown.String()
}

func isSecret(pair string, secrets []string) bool {
	name, _, _ := strings.Cut(pair, "=")
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	same := func(secret string) bool { return strings.EqualFold(name, secret) }
	return slices.ContainsFunc(secretParameters, same) || slices.ContainsFunc(secrets, same)
}

func tlsFacts(s *tls.ConnectionState) *hub.TLS {
	if s == nil {
		return nil
	}
	f := &hub.TLS{
		Version: tls.VersionName(s.Version), CipherSuite: tls.CipherSuiteName(s.CipherSuite),
		ServerName: strings.Clone(s.ServerName),
	}
	if len(s.VerifiedChains) > 0 {
		f.ClientCertificate = certificateFacts(s.VerifiedChains[0][0])
	}
	return f
}

func certificateFacts(c *x509.Certificate) *hub.ClientCertificate {
	sum := sha256.Sum256(c.Raw)
	return &hub.ClientCertificate{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), SerialNumber: c.SerialNumber.String(),
		DNSNames: c.DNSNames, SHA256: hex.EncodeToString(sum[:]), NotAfter: c.NotAfter,
	}
}

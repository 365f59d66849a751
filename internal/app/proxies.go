package app

import (
	"net"
	"net/http"
	"time"

	"github.com/holdfast-broker/holdfast/internal/proxy"
)

// The values of Listener.ProxyProtocol.
const (
	proxyOptional = "optional"
	proxyRequired = "required"
)

func (v *checker) proxyProtocol(key, policy string) {
	if policy == "" {
		return
	}
	v.oneOf(key, policy, proxyOptional, proxyRequired)
	if len(v.Clients.TrustedProxies) == 0 {
		v.refuse(key, "%s, and nobody is trusted to say where clients are: want clients.trusted_proxies as well", policy)
	}
}

func (v *checker) proxies() {
	v.each("clients.trusted_proxies", v.Clients.TrustedProxies, func(at, entry string) {
		if _, err := proxy.ParseNetworks([]string{entry}); err != nil {
			v.refuse(at, "%s", err)
		}
	})
	if name := v.Clients.ProxyHeader; name != "" && !validToken.MatchString(name) {
		v.refuse("clients.proxy_header", "%q is not the name of a header: want X-Forwarded-For or one of that form, Forwarded, or \"\" for none", name)
	}
}

// forwarding is who is believed about the address of a client. The networks have been checked.
func (c Clients) forwarding() proxy.Forwarding {
	trusted, _ := proxy.ParseNetworks(c.TrustedProxies)
	return proxy.Forwarding{Trusted: trusted, Header: http.CanonicalHeaderKey(c.ProxyHeader)}
}

// behindProxies reads PROXY headers, which stand before everything else, if the listener has them.
func (b *broker) behindProxies(nl net.Listener, l Listener) net.Listener {
	if l.ProxyProtocol == "" {
		return nl
	}
	return &proxy.Listener{
		Listener: nl, Trusted: b.cfg.Clients.forwarding().Trusted, Required: l.ProxyProtocol == proxyRequired,
		Timeout: time.Duration(b.cfg.Clients.HandshakeTimeout),
		Refused: func(peer net.Addr, reason string) {
			if n := b.proxyRefused.add(reason); n&(n-1) == 0 { // the 1st, 2nd, 4th, 8th …
				b.logger.Warn("connection refused because of its PROXY header", "listen", l.Address,
					"peer", peer.String(), "reason", reason, "times", n)
			}
		},
	}
}

// withClient makes the address of the client that of the request: for limits, facts and whoever admits it.
func withClient(f proxy.Forwarding, next http.Handler) http.Handler {
	if f.Trusted.None() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = f.Client(r.RemoteAddr, r.Header)
		next.ServeHTTP(w, r)
	})
}

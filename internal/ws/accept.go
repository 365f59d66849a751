package ws

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// SameOrigin, among the allowed origins, stands for the host that the request itself names.
const SameOrigin = "same-origin"

// NullOrigin is what browsers send for pages that have no origin of their own (RFC 6454 7.3): files, sandboxed frames,
// data URLs. Anybody can make such a page, so nothing but its own name allows it, and "*".
const NullOrigin = "null"

// AcceptOptions say which handshakes an endpoint accepts.
type AcceptOptions struct {
	// Subprotocols in order of preference; wire.AnySubprotocol takes the client's first. A client
	// that offers none of them is accepted without one. Empty: none is ever chosen.
	Subprotocols []string
	// SubprotocolRequired refuses a client that offers none of them.
	SubprotocolRequired bool
	// Origins that may connect: SameOrigin, NullOrigin, "*" for any, an exact origin ("https://example.org"),
	// or one with a wildcard for the first labels of the host ("https://*.example.org"). A handshake
	// without Origin, which no browser sends, passes. Empty: only those.
	Origins []string
}

// Accepted is a handshake that Check has accepted.
type Accepted struct {
	// Subprotocol is the one chosen, or empty. It may be changed to another offer until Upgrade.
	Subprotocol string
	// Offers are the subprotocols that the client offers, without those that carry a credential.
	Offers []string
	// Header are further fields of the answer, each as wire.CheckAnswerField allows. Empty, until set.
	Header [][2]string
	key    string
	header http.Header // of the request: the extensions are agreed to at the last moment
}

// Check judges an opening handshake (RFC 6455 4.2.1). A refusal says what to answer instead.
func Check(r *http.Request, o AcceptOptions) (Accepted, *wire.Refusal) {
	key, refusal := wire.CheckUpgrade(wire.Request{
		Method: r.Method, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor, Host: r.Host, Header: r.Header,
	})
	if refusal != nil {
		return Accepted{}, refusal
	}
	if r.ContentLength != 0 {
		return Accepted{}, refuse(http.StatusBadRequest, "request body: a WebSocket handshake has none")
	}
	if refusal := checkOrigin(r, o.Origins); refusal != nil {
		return Accepted{}, refusal
	}
	offers, refusal := wire.Subprotocols(r.Header)
	if refusal != nil {
		return Accepted{}, refusal
	}
	offers = withoutTokens(offers)
	chosen, suits := wire.ChooseSubprotocol(o.Subprotocols, offers)
	if o.SubprotocolRequired && !suits {
		return Accepted{}, refuse(http.StatusBadRequest,
			"Sec-WebSocket-Protocol: offers nothing that this endpoint speaks: "+strings.Join(o.Subprotocols, ", "))
	}
	return Accepted{Subprotocol: chosen, Offers: offers, key: key, header: r.Header}, nil
}

// withoutTokens leaves out entries that carry a credential ("bearer.…"): they are never chosen, so
// never repeated.
func withoutTokens(offers []string) []string {
	kept := offers[:0:0]
	for _, o := range offers {
		if !strings.HasPrefix(o, "bearer.") {
			kept = append(kept, o)
		}
	}
	return kept
}

func refuse(status int, text string) *wire.Refusal { return &wire.Refusal{Status: status, Text: text} }

func checkOrigin(r *http.Request, allowed []string) *wire.Refusal {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 {
		return refuse(http.StatusBadRequest, "Origin: more than one is not allowed")
	}
	origin, err := url.Parse(values[0])
	if err == nil {
		for _, pattern := range allowed {
			if originMatches(pattern, origin, r.Host) {
				return nil
			}
		}
	}
	return refuse(http.StatusForbidden, "Origin: not among the allowed origins of this endpoint")
}

func originMatches(pattern string, origin *url.URL, host string) bool {
	switch pattern {
	case "*":
		return true
	case NullOrigin:
		return *origin == url.URL{Path: NullOrigin}
	case SameOrigin:
		return origin.Host != "" && strings.EqualFold(origin.Host, host)
	}
	scheme, hosts, ok := strings.Cut(strings.ToLower(pattern), "://")
	if !ok || scheme != origin.Scheme {
		return false
	}
	name := strings.ToLower(origin.Host)
	if suffix, wild := strings.CutPrefix(hosts, "*."); wild {
		return strings.HasSuffix(name, "."+suffix) && len(name) > len(suffix)+1
	}
	return name == hosts
}

// ValidOrigin reports whether a pattern can be used in AcceptOptions.Origins.
func ValidOrigin(pattern string) bool {
	if pattern == "*" || pattern == SameOrigin || pattern == NullOrigin {
		return true
	}
	u, err := url.Parse(strings.Replace(pattern, "://*.", "://", 1))
	return err == nil && u.Scheme != "" && u.Hostname() != "" && u.User == nil && u.Path == "" &&
		u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && !strings.Contains(u.Host, "*")
}

// handshakeTimeout bounds the writing of the answer, which is shorter than any socket's buffer.
const handshakeTimeout = 5 * time.Second

// Upgrade answers an accepted handshake with 101 and takes the connection over from net/http, or from package opening.
// Nothing is read before Start. On an error the connection is closed and there is nothing left to answer.
func (e *Engine) Upgrade(w http.ResponseWriter, a Accepted, cfg *Config) (*Conn, error) {
	nc, early, err := takeConn(w)
	if err != nil {
		return nil, err
	}
	agreed := e.agree(a.header, cfg)
	if err := answerUpgrade(nc, a, agreed.answer()); err != nil {
		agreed.forget()
		_ = nc.Close()
		return nil, err
	}
	limitUnacknowledged(nc, cfg)
	c := e.drive(nc)
	c.begin(cfg, agreed, early)
	return c, nil
}

// takeConn takes a connection over, with what came behind the handshake: RFC 6455 4.1 forbids that, browsers and
// proxies do it.
func takeConn(w http.ResponseWriter) (nc net.Conn, early []byte, err error) {
	if o, ok := w.(interface{ TakeConn() (net.Conn, []byte) }); ok {
		nc, early = o.TakeConn()
		return nc, early, nil
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if n := rw.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		_, _ = rw.Read(early)
	}
	return nc, early, nil
}

func answerUpgrade(nc net.Conn, a Accepted, extensions string) error {
	answer := make([]byte, 0, 512) // enough for nearly all
	answer = append(answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	field := func(name, value string) {
		for _, part := range [...]string{name, ": ", value, "\r\n"} {
			answer = append(answer, part...)
		}
	}
	field("Sec-WebSocket-Accept", wire.AcceptKey(a.key))
	if a.Subprotocol != "" {
		field("Sec-WebSocket-Protocol", a.Subprotocol)
	}
	if extensions != "" {
		field("Sec-WebSocket-Extensions", extensions)
	}
	for _, f := range a.Header {
		field(f[0], f[1])
	}
	answer = append(answer, "\r\n"...)
	if err := nc.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	_, err := nc.Write(answer)
	return err
}

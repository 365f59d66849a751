package hub

import "errors"

// Handshake is all that is known of a client who wants to connect, credentials included: for whoever decides about
// it, and for nobody else.
type Handshake struct {
	ID           ID // that the connection will have
	Endpoint     *Endpoint
	PathValues   []Header // by the name of the wildcard
	URL          string   // as the client wrote it
	Host         string
	Headers      []Header // all, by name
	Subprotocols []string // all that are offered
	// RemoteAddress and LocalAddress are the two ends of the connection.
	RemoteAddress, LocalAddress string
	TLS                         *TLS // nil on a plain connection
}

// ErrNoBackend says that nobody is there who decides about handshakes.
var ErrNoBackend = errors.New("no backend answers handshakes")

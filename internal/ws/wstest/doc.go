// Package wstest has what tests of WebSocket connections need: a raw Peer, which can say anything, also
// what is wrong, and a Handler that records. It knows only the wire format, so it does not hide a
// mistake of package ws behind the same mistake of a client library.
package wstest

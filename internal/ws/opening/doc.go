// Package opening reads opening handshakes off the connections that a listener accepts, and answers them, with a fraction
// of what net/http needs for each connection that it serves. Whatever does not begin as a handshake in the plain
// form of wire.ParseHead it leaves to net/http, from the first byte.
package opening

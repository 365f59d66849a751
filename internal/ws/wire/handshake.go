package wire

import (
	"crypto/sha1"
	"encoding/base64"
	"strconv"
)

// The header fields of the opening handshake, in the spelling of net/http's canonical keys.
const (
	headerConnection = "Connection"
	headerHost       = "Host"
	headerExtensions = "Sec-Websocket-Extensions"
	headerUpgrade    = "Upgrade"
	headerKey        = "Sec-Websocket-Key"
	headerProtocol   = "Sec-Websocket-Protocol"
	headerVersion    = "Sec-Websocket-Version"
)

// Version is the only version of the protocol that is spoken (RFC 6455 4.1 rule 9).
const Version = "13"

const (
	keySize       = 16 // bytes of a key, before base64 (RFC 6455 4.1 rule 7)
	keyTextLength = 24 // and in base64, padding included
	keyGUID       = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// strictBase64 refuses what is not the one way to write a key: bits behind its end must be zero.
var strictBase64 = base64.StdEncoding.Strict()

// Request is the part of an HTTP request that the opening handshake is judged by (RFC 6455 4.2.1).
type Request struct {
	Method     string
	ProtoMajor int // 1 in "HTTP/1.1"
	ProtoMinor int // 1 in "HTTP/1.1"
	Host       string
	Header     map[string][]string // keys in net/http's canonical form, as in http.Header
}

// CheckUpgrade judges a client's opening handshake by RFC 6455 4.2.1 and returns the key for AcceptKey. Origin,
// subprotocols and extensions are up to the caller, as is a request body: the handshake has none.
func CheckUpgrade(r Request) (key string, refusal *Refusal) {
	switch {
	case r.Method != "GET": // 4.2.1 rule 1
		return "", refuseMethod(r.Method)
	case r.ProtoMajor != 1 || r.ProtoMinor < 1: // 4.2.1 rule 1; RFC 9113 8.6: HTTP/2 has no Upgrade
		return "", refuseRequest("HTTP version is " + strconv.Itoa(r.ProtoMajor) + "." + strconv.Itoa(r.ProtoMinor) +
			"; a WebSocket handshake needs HTTP/1.1")
	case r.Host == "": // 4.2.1 rule 2
		return "", refuseRequest("Host is missing; a WebSocket handshake must name the host")
	case !listContains(r.Header[headerUpgrade], "websocket"): // 4.2.1 rule 3
		return "", refuseUpgrade("Upgrade", r.Header[headerUpgrade], "it must contain \"websocket\"")
	// 4.2.1 rule 4. RFC 9110 7.8: without the connection option, the request did not ask for an upgrade.
	case !listContains(r.Header[headerConnection], "upgrade"):
		return "", refuseUpgrade("Connection", r.Header[headerConnection], "it must contain \"Upgrade\"")
	}
	// 4.2.1 rule 6, 4.4, and 11.3.5: "MUST NOT appear more than once in an HTTP request".
	if version := r.Header[headerVersion]; len(version) != 1 || version[0] != Version {
		return "", refuseVersion(version)
	}
	// 4.2.1 rule 5, and 11.3.1: "MUST NOT appear more than once in an HTTP request".
	keys := r.Header[headerKey]
	if len(keys) != 1 || !validKey(keys[0]) {
		return "", refuseRequest("Sec-WebSocket-Key " + found(keys) + "; it must be 16 bytes in base64, once")
	}
	return keys[0], nil
}

// validKey reports whether key is base64 of 16 bytes. The length matters: the decoder skips line ends.
func validKey(key string) bool {
	var buf [keyTextLength]byte
	if len(key) != keyTextLength {
		return false
	}
	n, err := strictBase64.Decode(buf[:], []byte(key))
	return err == nil && n == keySize
}

// AcceptKey returns the value of Sec-WebSocket-Accept that answers a key (RFC 6455 4.2.2 rule 5.4).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + keyGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

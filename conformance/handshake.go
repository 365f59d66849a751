package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// handshakeRequest is a client's opening handshake (RFC 6455 4.1). offer may be empty.
func handshakeRequest(host, path, key, offer string) []byte {
	lines := []string{
		"GET " + path + " HTTP/1.1", "Host: " + host, "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key,
	}
	if offer != "" {
		lines = append(lines, "Sec-WebSocket-Extensions: "+offer)
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

func newKey() string {
	var nonce [16]byte
	rand.Read(nonce[:])
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// readHandshake reads the broker's answer and judges it by RFC 6455 4.1, "the client MUST validate the server's
// response as follows". It answers the extensions.
func readHandshake(in *bufio.Reader, key string) (extensions []string, err error) {
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodGet})
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	defer resp.Body.Close()
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	accept := base64.StdEncoding.EncodeToString(sum[:])
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("handshake answered with %s", resp.Status)
	case !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket"),
		!strings.EqualFold(resp.Header.Get("Connection"), "upgrade"):
		return nil, fmt.Errorf("handshake answered with Upgrade %q, Connection %q",
			resp.Header.Get("Upgrade"), resp.Header.Get("Connection"))
	case resp.Header.Get("Sec-WebSocket-Accept") != accept:
		return nil, fmt.Errorf("Sec-WebSocket-Accept is %q, want %q", resp.Header.Get("Sec-WebSocket-Accept"), accept)
	case len(resp.Header.Values("Sec-WebSocket-Protocol")) > 0:
		return nil, fmt.Errorf("the broker chose a subprotocol that nobody offered: %q", resp.Header.Values("Sec-WebSocket-Protocol"))
	}
	return resp.Header.Values("Sec-WebSocket-Extensions"), nil
}

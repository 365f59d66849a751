//go:build linux

package main

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// serveHTTP upgrades every request and hands the connection over; a goroutine that then ends takes with it what
// net/http has allocated.
func serveHTTP(l net.Listener, upgraded func(net.Conn, *http.Request)) error {
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if _, err := conn.Write(appendAccept(nil, r.Header.Get("Sec-WebSocket-Key"))); err != nil {
			_ = conn.Close()
			return
		}
		upgraded(conn, r)
	})}
	return server.Serve(l)
}

func appendAccept(dst []byte, key string) []byte {
	return fmt.Appendf(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n\r\n", wire.AcceptKey(key))
}

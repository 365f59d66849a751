// Command peers is echo servers on the Go libraries that the broker is measured beside, as their own examples use
// them: "peers gws" or "peers gorilla". It writes the address it listens on to stdout. It is a module of its own, so
// that the product does not depend on what it is compared with.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

var peers = map[string]http.HandlerFunc{"gws": serveGWS, "gorilla": serveGorilla}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 || peers[args[0]] == nil {
		return fmt.Errorf("%q: want gws or gorilla", args)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := &http.Server{Handler: peers[args[0]], ReadHeaderTimeout: time.Minute}
	return server.Serve(l)
}

type gwsEcho struct{ gws.BuiltinEventHandler }

func (gwsEcho) OnMessage(conn *gws.Conn, message *gws.Message) {
	defer message.Close()
	_ = conn.WriteMessage(message.Opcode, message.Bytes())
}

var gwsUpgrader = gws.NewUpgrader(gwsEcho{}, nil)

func serveGWS(w http.ResponseWriter, r *http.Request) {
	conn, err := gwsUpgrader.Upgrade(w, r)
	if err != nil {
		return
	}
	go conn.ReadLoop() // not here: net/http's buffers go with its goroutine
}

var gorillaUpgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func serveGorilla(w http.ResponseWriter, r *http.Request) {
	conn, err := gorillaUpgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

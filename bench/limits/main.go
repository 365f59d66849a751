//go:build linux

// Command limits is the bare prototypes that the broker is measured beside: each as little as a Go process can do
// for one of its jobs. They answer no ping and no close, check nothing, lose what a full socket does not take, and
// are no servers to use. They write the address they listen on to stdout, and a second one if they have a control
// API.
//
//	limits echo       a goroutine for each connection, after net/http
//	limits epoll      the same without goroutines
//	limits accept     the same without net/http
//	limits tls        crypto/tls, a goroutine for each connection
//	limits publish    reads frames and publishes them to the NATS server at -nats
//	limits push       grpc-go in front of sockets
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
)

var modes = map[string]func(net.Listener, *options) error{
	"echo":    serveEcho,
	"epoll":   serveEpoll,
	"accept":  serveAccept,
	"tls":     serveTLS,
	"publish": servePublish,
	"push":    servePush,
}

type options struct {
	nats      string
	cert, key string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "limits:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	o := &options{}
	set := flag.NewFlagSet("limits", flag.ContinueOnError)
	set.StringVar(&o.nats, "nats", "", "URL of the NATS server, for publish")
	set.StringVar(&o.cert, "cert", "", "certificate, for tls")
	set.StringVar(&o.key, "key", "", "its key")
	if err := set.Parse(args); err != nil {
		return err
	}
	serve := modes[set.Arg(0)]
	if serve == nil {
		return errors.New("want one of: echo, epoll, accept, tls, publish, push")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return serve(l, o)
}

// ready says where clients, and backends if they have a door of their own, find this process.
func ready(addresses ...any) { fmt.Println(addresses...) }

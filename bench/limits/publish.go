//go:build linux

package main

import (
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/nats-io/nats.go"
)

// servePublish publishes what clients send as the broker's contract wants it: the same subject, headers and reply
// subject. It keeps no copy: what is in nats.go's buffer is gone.
func servePublish(l net.Listener, o *options) error {
	nc, err := nats.Connect(o.nats)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	all, err := startLoops()
	if err != nil {
		return err
	}
	ready(l.Addr())
	return serveHTTP(l, func(conn net.Conn, r *http.Request) {
		const node = "bare-nodes"
		// As long as the broker's.
		id := fmt.Sprintf("%s-%016s", node, r.URL.Query().Get("n"))
		p := &publisher{nc: nc, seq: 1} // the open event would have been the first
		p.msg.Subject = "holdfast.default.message." + id
		p.msg.Reply = "holdfast.in.default.reply." + node + "." + id + ".b"
		p.msg.Header = nats.Header{"Holdfast-Seq": {""}, "Holdfast-Opcode": {"binary"}}
		all.adopt(conn, &socket{take: p.publish})
	})
}

// publisher has the message of a socket, which is reused.
type publisher struct {
	nc  *nats.Conn
	msg nats.Msg
	seq uint64
}

func (p *publisher) publish(_ *socket, in []byte) (out, rest []byte) {
	for {
		_, payload, rest, whole := next(in)
		if !whole {
			return nil, in
		}
		in = rest
		p.seq++
		p.msg.Header["Holdfast-Seq"][0] = strconv.FormatUint(p.seq, 10)
		p.msg.Data = payload
		if err := p.nc.PublishMsg(&p.msg); err != nil {
			return nil, nil
		}
	}
}

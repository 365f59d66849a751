//go:build !linux

package ws

import (
	"log/slog"
	"net"
)

// loops are none: there is no epoll.
type loops struct{}

func newLoops(*slog.Logger) *loops  { return nil }
func (*loops) adopt(net.Conn) *Conn { return nil }
func (*loops) close()               {}

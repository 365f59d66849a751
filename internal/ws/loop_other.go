//go:build !linux

package ws

import (
	"log/slog"
	"net"
)

// loops are none: there is no epoll.
type loops struct{}

func newLoops(*slog.Logger) *loops          { return nil }
func (*loops) adopt(*Conn, net.Conn) driver { return nil }
func (*loops) close()                       {}

package ws

import (
	"net"

	"golang.org/x/sys/unix"
)

// unacknowledged answers how many bytes the peer's side has acknowledged, and whether some are still to be.
func unacknowledged(fd int) (acked uint64, waiting bool) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, false
	}
	return info.Bytes_acked, info.Unacked > 0 || info.Notsent_bytes > 0
}

// limitUnacknowledged lets the kernel end a connection whose peer acknowledges nothing, pings included: so a
// dead host is found also while the connection is not read. The last ping before may be a heartbeat ago and
// more (see jittered); with less than another one until the kernel gives up, both are within two heartbeats
// and the timeout.
func limitUnacknowledged(nc net.Conn, cfg *Config) {
	rc := rawConn(nc)
	if rc == nil { // TLS
		rc = rawConn(inner(nc))
	}
	if rc == nil || cfg.HeartbeatInterval < 0 {
		return
	}
	limit := int((cfg.HeartbeatInterval*3/4 + cfg.HeartbeatTimeout).Milliseconds())
	_ = rc.Control(func(fd uintptr) { // fails where it is no TCP
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, limit)
	})
}

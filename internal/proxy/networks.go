// Package proxy finds out who a client is when reverse proxies and load balancers stand between: by the
// PROXY protocol, and by the headers in which HTTP proxies pass addresses on. What anybody can write is
// believed only from networks that the operator trusts.
package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Unix, among the networks, stands for whoever connects by a Unix socket.
const Unix = "unix"

// Networks are those whose machines are proxies and say the truth about their clients. The zero value
// trusts nobody.
type Networks struct {
	prefixes []netip.Prefix
	unix     bool
}

// ParseNetworks reads entries such as "10.0.0.0/8", "2001:db8::/32", "192.0.2.7" and Unix.
func ParseNetworks(entries []string) (Networks, error) {
	var n Networks
	for _, entry := range entries {
		if entry == Unix {
			n.unix = true
			continue
		}
		prefix, err := parseNetwork(entry)
		if err != nil {
			return Networks{}, err
		}
		n.prefixes = append(n.prefixes, prefix)
	}
	return n, nil
}

func parseNetwork(entry string) (netip.Prefix, error) {
	if addr, ok := parseAddr(entry); ok {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(entry)
	switch {
	case err != nil || prefix.Addr().Is4In6():
		return prefix, fmt.Errorf("%q is not a network: want one such as 10.0.0.0/8 or 2001:db8::/32, an address, or unix", entry)
	case prefix != prefix.Masked():
		return prefix, fmt.Errorf("%q has bits behind its length: want %s", entry, prefix.Masked())
	}
	return prefix, nil
}

// None reports whether nobody is trusted.
func (n Networks) None() bool { return len(n.prefixes) == 0 && !n.unix }

// Contain reports whether an address is trusted.
func (n Networks) Contain(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range n.prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// trust reports whether the other side of a connection is.
func (n Networks) trust(peer net.Addr) bool {
	if _, unix := peer.(*net.UnixAddr); unix {
		return n.unix
	}
	tcp, ok := peer.(*net.TCPAddr)
	return ok && n.Contain(tcp.AddrPort().Addr())
}

// parseAddr reads an address without a zone, which means nothing on another machine.
func parseAddr(s string) (netip.Addr, bool) {
	if strings.IndexByte(s, '%') >= 0 {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), err == nil
}

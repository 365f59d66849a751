package app

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxCount bounds what is counted: more than any machine holds.
const maxCount = 1 << 24

// maxUnixPath is what the kernel takes as the path of a socket.
const maxUnixPath = 107

// Validate finds what is out of range, contradictory or dangerous. It returns all problems joined, each
// a line that names the place, the key, the value and what is allowed.
func (c Config) Validate() error {
	v := &checker{Config: c}
	v.addresses()
	v.control()
	v.clients()
	v.nats()
	v.cluster()
	v.stop()
	v.endpoints()
	v.tenants()
	return errors.Join(v.problems...)
}

// checker collects the problems of a configuration.
type checker struct {
	Config
	problems []error
}

func (v *checker) refuse(key, format string, args ...any) {
	v.problems = append(v.problems, v.Problem(key, format, args...))
}

// oneOf refuses a word that is not allowed.
func (v *checker) oneOf(key, word string, allowed ...string) {
	if slices.Contains(allowed, word) {
		return
	}
	v.refuse(key, "%q is unknown: want %s", word, alternatives(allowed))
}

func alternatives(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// within refuses a value that is out of range.
func within[T interface {
	cmp.Ordered
	fmt.Stringer
}](v *checker, key string, value, lowest, highest T) {
	if value < lowest || value > highest {
		v.refuse(key, "%s is out of range: want %s to %s", value, lowest, highest)
	}
}

// noneOrWithin is within for a time that 0s switches off.
func (v *checker) noneOrWithin(key string, value, lowest, highest Duration) {
	if value != 0 && (value < lowest || value > highest) {
		v.refuse(key, "%s is out of range: want 0s for none, or %s to %s", value, lowest, highest)
	}
}

func (v *checker) count(key string, value, lowest int) {
	if value < lowest || value > maxCount {
		v.refuse(key, "%d is out of range: want %d to %d", value, lowest, maxCount)
	}
}

func (v *checker) clients() {
	v.count("clients.connections", v.Clients.Connections, 0)
	v.count("clients.connections_per_ip", v.Clients.ConnectionsPerIP, 0)
	v.count("clients.new_connections", v.Clients.NewConnections, 0)
	v.count("clients.new_connections_per_ip", v.Clients.NewConnectionsPerIP, 0)
	v.count("clients.messages_per_ip", v.Clients.MessagesPerIP, 0)
	within(v, "clients.bytes_per_ip", v.Clients.BytesPerIP, 0, 64*GiB)
	v.count("clients.handshakes", v.Clients.Handshakes, 0)
	within(v, "clients.handshake_timeout", v.Clients.HandshakeTimeout, 100*Millisecond, Hour)
	within(v, "clients.compression_memory", v.Clients.CompressionMemory, 16*MiB, 1024*GiB)
	v.proxies()
	v.oneOf("clients.driver", v.Clients.Driver, "epoll", "portable")
}

func (v *checker) stop() {
	within(v, "drain.timeout", v.Drain.Timeout, 0, 24*Hour)
	within(v, "drain.delay", v.Drain.Delay, 0, Hour)
	within(v, "lease.duration", v.Lease.Duration, Second, Hour)
	within(v, "lease.renew", v.Lease.Renew, 100*Millisecond, Hour)
	if _, set := v.origins["lease.renew"]; set && v.Lease.Renew > v.Lease.Duration/3 {
		v.refuse("lease.renew", "%s is too long for a lease of %s: want at most a third of it", v.Lease.Renew, v.Lease.Duration)
	}
	within(v, "lease.drop_after", v.Lease.DropAfter, Second, 24*Hour)
	v.oneOf("one_close", v.OneClose, oneCloseRequired, oneCloseBestEffort)
	if b := v.Memory.Budget; b != autoBudget && b != 0 {
		within(v, "memory.budget", Size(b), 64*MiB, 1024*GiB)
	}
	v.oneOf("log.format", v.Log.Format, "text", "json")
}

// bound is an address that a part of the broker will listen on.
type bound struct{ key, address, host, port string }

func (v *checker) addresses() {
	var all []bound
	if len(v.Listen) == 0 {
		v.refuse("listen", "empty: want at least one address, such as \":8080\"")
	}
	for i, l := range v.Listen {
		key := fmt.Sprintf("listen[%d]", i)
		if path, unix := strings.CutPrefix(l.Address, "unix:"); unix {
			v.unixPath(key, l.Address, path)
			all = append(all, bound{key: key, address: l.Address})
		} else {
			all = v.address(all, key, l.Address)
			if l.Mode != 0 {
				v.refuse(key+".mode", "%s is for a Unix socket, and %q is none: want no mode", l.Mode, l.Address)
			}
		}
		v.listenerTLS(key+".tls", l.TLS)
		v.proxyProtocol(key+".proxy_protocol", l.ProxyProtocol)
	}
	all = v.address(all, "control.listen", v.Control.Listen)
	all = v.address(all, "ops.listen", v.Ops.Listen)
	v.beyondLoopback("ops.listen", v.Ops.Listen, "requests", "ops", v.Ops.Insecure)
	if v.NATS.URL == "" {
		all = v.address(all, "nats.listen", v.NATS.Listen)
	}
	if v.Cluster.Name != "" {
		all = v.address(all, "cluster.listen", v.Cluster.Listen)
	}
	v.twice(all)
}

func (v *checker) unixPath(key, address, path string) {
	if !filepath.IsAbs(path) || len(path) > maxUnixPath {
		v.refuse(key, "%q is not an address: want \"unix:\" and an absolute path of at most %d bytes", address, maxUnixPath)
	}
}

// address checks a TCP address and adds it to those that are taken.
func (v *checker) address(all []bound, key, address string) []bound {
	host, port, err := net.SplitHostPort(address)
	if n, bad := strconv.ParseUint(port, 10, 16); err == nil && bad == nil {
		return append(all, bound{key, address, canonicalHost(host), strconv.FormatUint(n, 10)})
	}
	forms := "want \"host:port\" or \":port\""
	if strings.HasPrefix(key, "listen") {
		forms = "want \"host:port\", \":port\" or \"unix:/path\""
	}
	v.refuse(key, "%q is not an address: %s", address, forms)
	return all
}

// canonicalHost is "" for every address of this machine.
func canonicalHost(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	ip := net.ParseIP(host)
	switch {
	case ip == nil:
		return strings.ToLower(host)
	case ip.IsUnspecified():
		return ""
	}
	return ip.String()
}

func (v *checker) beyondLoopback(key, address, what, flag string, allowed bool) {
	if allowed || onlyLoopback(address) {
		return
	}
	v.refuse(key, "%q can be reached from other machines, and %s are not authenticated: want a loopback address such as 127.0.0.1, or --insecure-%s",
		address, what, flag)
}

// onlyLoopback reports whether an address is for this machine alone. What is no address is refused elsewhere.
func onlyLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err != nil || host == "localhost" || net.ParseIP(host).IsLoopback()
}

// twice refuses addresses that cannot both be listened on. Port 0 is a new one each time.
func (v *checker) twice(all []bound) {
	for i, b := range all {
		for _, a := range all[:i] {
			same := b.address == a.address || b.port != "" && b.port == a.port && (b.host == a.host || b.host == "" || a.host == "")
			if same && b.port != "0" {
				v.refuse(b.key, "%q is taken by %s (%q): want an address of its own", b.address, a.key, a.address)
				break
			}
		}
	}
}

func (v *checker) listenerTLS(key string, t *TLS) {
	if t == nil {
		return
	}
	if t.Cert == "" || t.Key == "" {
		v.refuse(key, "cert %q, key %q: want both", t.Cert, t.Key)
		return
	}
	if _, err := tlsConfig(t, protocolHTTP); err != nil {
		v.refuse(key, "%s", strings.TrimPrefix(err.Error(), "tls: "))
	}
}

// Package reserve finds addresses for servers that must know each other's before any of them listens, in tests and
// measurements.
package reserve

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports are below those that the kernel gives to whoever asks for none in particular: it would give one of these to
// somebody else before its server listens, or while that is started again.
const firstPort, endOfPorts = 20_000, 32_768

var (
	mu sync.Mutex
	// keepers are UDP sockets, one for each address: in the way of no server, but of whoever looks for an address here,
	// also in another process. They are kept until this one ends.
	keepers []net.PacketConn
)

// Addresses answers addresses of this machine on which nobody listens, and that no other caller gets.
func Addresses(n int) (addresses []string, err error) {
	mu.Lock()
	defer mu.Unlock()
	for tries := 0; len(addresses) < n; tries++ {
		if tries > 100*n {
			return nil, errors.New("reserve: no free ports")
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(endOfPorts-firstPort)))
		keeper, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			_ = keeper.Close()
			continue
		}
		_ = l.Close()
		keepers = append(keepers, keeper)
		addresses = append(addresses, address)
	}
	return addresses, nil
}

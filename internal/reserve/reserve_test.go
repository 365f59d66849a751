package reserve

import (
	"net"
	"testing"
)

func TestAddressesAreGivenOnceAndCanBeListenedOn(t *testing.T) {
	given := make(map[string]bool)
	for range 20 {
		addresses, err := Addresses(10)
		if err != nil || len(addresses) != 10 {
			t.Fatal(addresses, err)
		}
		for _, address := range addresses {
			if given[address] {
				t.Errorf("%s was given twice", address)
			}
			given[address] = true
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Error(err)
				continue
			}
			_ = l.Close()
			if keeper, err := net.ListenPacket("udp", address); err == nil {
				_ = keeper.Close()
				t.Errorf("nothing keeps others from %s", address)
			}
		}
	}
}

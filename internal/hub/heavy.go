package hub

import (
	"cmp"
	"slices"
)

// weighed is a connection and what it holds.
type weighed struct {
	conn  *Conn
	bytes uint64
}

// Shed closes the connections that hold most memory in send queues and in input that waits, the heaviest first, as many as
// it takes for so many bytes, and answers how many they were. It visits every connection.
func (h *Hub) Shed(bytes uint64) (n int) {
	var all []weighed
	h.registry.each(func(c *Conn) {
		s := c.socket.State()
		if held := s.Buffered + s.Unfinished; held > 0 {
			all = append(all, weighed{c, held})
		}
	})
	slices.SortFunc(all, func(a, b weighed) int { return cmp.Compare(b.bytes, a.bytes) })
	for freed := uint64(0); n < len(all) && freed < bytes; n++ {
		freed += all[n].bytes
		all[n].conn.socket.Shed()
	}
	return n
}

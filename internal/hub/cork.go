package hub

// Cork collects the connections at which messages wait to be written together: those that were sent Later. It is
// used by one goroutine at a time, who must Flush before it waits for anything. The zero value is empty.
type Cork struct{ conns []*Conn }

// Hold keeps the connection of a message that was sent Later, if the message waits.
func (k *Cork) Hold(c *Conn, s Sent) {
	if s.Waits {
		k.conns = append(k.conns, c)
	}
}

// Flush has everything written that waits.
func (k *Cork) Flush() {
	for _, c := range k.conns {
		c.socket.Flush()
	}
	clear(k.conns) // hold no connection back from the garbage collector
	k.conns = k.conns[:0]
}

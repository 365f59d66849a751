package ws

import "math/bits"

// ChunkSize is how much a connection reads or writes in one system call.
const ChunkSize = chunkSize

// Unaccounted is what the queue of a connection says that it holds.
func (c *Conn) Unaccounted() (bytes, frames, receipts int) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	switch q := c.queue; {
	case q != nil:
		bytes, frames, receipts = q.bytes, q.count, q.receipts
	case c.direct > 0:
		bytes, frames = int(c.direct), 1
	}
	return bytes, frames, receipts + c.pings.receipts()
}

// SpareBuffers is how many buffers for so many bytes nobody uses, of those that the connection's engine has.
func (c *Conn) SpareBuffers(size int) int {
	return len(c.cfg.engine.buffers.lists[bits.Len(uint(size-1))-minClass])
}

package ws

// ChunkSize is how much a connection reads or writes in one system call.
const ChunkSize = chunkSize

// Unaccounted is what the queue of a connection says that it holds.
func (c *Conn) Unaccounted() (bytes, frames, receipts int) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.queue.bytes, c.queue.count, c.queue.receipts + c.pings.receipts
}

package hub

import (
	"context"
	"time"
)

// CodeRestart is the close code of an orderly stop: service restart, the client should come back.
const CodeRestart = 1012

// Shutdown refuses new connections, spreads closes with 1012 evenly over the given time, and waits
// until every close event is published. What is left when ctx ends is terminated. Then watches end.
func (h *Hub) Shutdown(ctx context.Context, spread time.Duration) {
	h.openMu.Lock()
	h.stopping = true
	h.openMu.Unlock()
	h.closeAll(ctx, spread)
	done := make(chan struct{})
	go func() {
		h.live.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		h.registry.each(func(c *Conn) { c.socket.Terminate(CauseNodeDrain) })
		<-done
	}
	h.watches.end()
}

// closeAll begins every closing handshake, paced so that the clients do not all come back at once.
func (h *Hub) closeAll(ctx context.Context, spread time.Duration) {
	n := h.registry.len()
	if n == 0 {
		return
	}
	begin, closed := time.Now(), 0
	h.registry.each(func(c *Conn) {
		c.socket.Close(CodeRestart, "service restart", CauseNodeDrain, nil)
		closed++
		due := begin.Add(spread * time.Duration(closed) / time.Duration(n))
		if wait := time.Until(due); wait > time.Millisecond {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	})
}

// TerminateAll ends every connection at once.
func (h *Hub) TerminateAll(cause Cause) {
	h.registry.each(func(c *Conn) { c.socket.Terminate(cause) })
}

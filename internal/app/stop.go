package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// pace is how many connections per second a drain closes at most in the beginning; more connections
// spread over most of the drain time.
const pace = 1000

// stop ends everything that was started, in this order: not ready, no new connections, the connections
// with 1012, their last events, the calls that watched it, the bus, the rest. It may be called on a broker that
// did not start whole.
func (b *broker) stop(ctx context.Context) error {
	b.drain(ctx)
	b.stopReclaiming()
	b.stopDemo()
	b.closeLife(ctx)
	if b.control != nil {
		b.control.Stop(ctx) // with the last events for watches of other nodes
	}
	err := b.closeBus(ctx)
	b.stopClients(ctx)
	if b.ops != nil {
		_ = b.ops.Close()
	}
	for _, l := range append(b.clientListeners, b.controlListener, b.opsListener) {
		closeListener(l)
	}
	b.serving.Wait()
	b.remoteKeys.close()
	b.memory.close()
	if b.engine != nil {
		b.engine.Close()
	}
	if b.nats != nil {
		b.nats.Shutdown(ctx)
	}
	if b.data != nil {
		b.data.close()
	}
	return err
}

// lastAnswers is how long handshakes that a drain has refused are waited for at most: each has its answer by then, and who
// has not even begun one is not waited for longer.
const lastAnswers = time.Second

// stopClients ends the client port when every handshake that it was asked has its answer.
func (b *broker) stopClients(ctx context.Context) {
	if b.clients == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastAnswers)
	defer cancel()
	if b.clients.Shutdown(ctx) != nil {
		_ = b.clients.Close()
	}
}

func closeListener(l net.Listener) {
	if l != nil {
		_ = l.Close()
	}
}

// drain closes every connection within the drain time. gRPC goes on meanwhile, so that backends can
// still act.
func (b *broker) drain(ctx context.Context) {
	if b.hub == nil {
		return
	}
	b.stopping.Store(true)
	b.bus.Peers().Announce()
	if b.control != nil {
		b.control.SetServing(false)
	}
	if b.ready.Load() {
		// Load balancers that have not noticed yet still send clients: these are accepted until then.
		wait(ctx, time.Duration(b.cfg.Drain.Delay))
	}
	b.edge.drain()
	limit := time.Duration(b.cfg.Drain.Timeout)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	n := b.hub.Len()
	spread := min(limit*8/10, time.Duration(n)*time.Second/pace)
	end := reportProgress(b.logger, time.Now().Add(limit), b.hub.Len)
	b.hub.Shutdown(ctx, spread)
	end()
	b.logger.Info("connections closed", "connections", n)
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// closeLife waits until every close is recorded and published.
func (b *broker) closeLife(ctx context.Context) {
	if b.bus == nil {
		return
	}
	if err := b.bus.CloseLife(ctx); err != nil && ctx.Err() == nil {
		b.logger.Warn("other nodes, or the next start, will publish the closes that are left", "error", err)
	}
	b.dropper.end() // nobody says that this node is frozen any more
}

func (b *broker) closeBus(ctx context.Context) error {
	if b.bus == nil {
		return nil
	}
	b.bus.Peers().Leave(ctx)
	if err := b.bus.Close(ctx); err != nil {
		return fmt.Errorf("last events: %w", errors.Join(err))
	}
	return nil
}

package app

import (
	"context"

	"github.com/holdfast-broker/holdfast/internal/bus"
)

// startNATS starts the embedded server, if there is to be one. In a cluster that takes as long as a majority
// of the servers is away.
func (b *broker) startNATS(ctx context.Context) (err error) {
	if b.natsURL = b.cfg.NATS.URL; b.natsURL != "" {
		return nil
	}
	if b.data, err = openDataDir(b.cfg.DataDir); err != nil {
		return err
	}
	cluster, err := b.cfg.Cluster.forBus()
	if err != nil {
		return b.cfg.Problem("cluster.secret_file", "%s", err)
	}
	b.nats, err = bus.StartServer(ctx, bus.ServerConfig{
		Listen: b.cfg.NATS.Listen, StoreDir: b.data.path, ServerName: b.data.serverName, Cluster: cluster,
		Logger: b.logger.With("part", "nats"),
	})
	if err != nil {
		return err
	}
	b.natsURL = b.nats.URL()
	return nil
}

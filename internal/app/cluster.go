package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"

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
	server, err := b.serverConfig()
	if err != nil {
		return err
	}
	if b.nats, err = bus.StartServer(ctx, server); err != nil {
		return err
	}
	b.natsURL = b.nats.URL()
	return nil
}

// serverConfig is what the embedded server is told. The files were looked at before: an error says that one has
// changed since.
func (b *broker) serverConfig() (c bus.ServerConfig, err error) {
	c = bus.ServerConfig{
		Listen: b.cfg.NATS.Listen, StoreDir: b.data.path, ServerName: b.data.serverName, Logger: b.logger.With("part", "nats"),
	}
	if c.Cluster, err = b.cfg.Cluster.forBus(); err != nil {
		return c, err
	}
	if c.Users, err = b.cfg.NATS.forBus(); err != nil {
		return c, err
	}
	files := b.cfg.NATS.serverTLS()
	if files == nil {
		return c, nil
	}
	if b.natsCerts, err = newCertificates(files, "", b.logger, &b.tlsReloads); err != nil {
		return c, fmt.Errorf("nats: %w", err)
	}
	c.TLS = b.natsCerts.config()
	return c, nil
}

// natsAuth and natsTLS are how we connect to NATS. To our own server we are a user that nobody else knows, and its
// certificate needs no CA: we know it.
func (b *broker) natsAuth() bus.Auth {
	if b.nats != nil {
		return b.nats.Auth()
	}
	return b.cfg.NATS.auth()
}

func (b *broker) natsTLS() bus.TLS {
	switch {
	case b.natsCerts != nil:
		return bus.TLS{Config: pinned(b.natsCerts.leaf)}
	case b.nats != nil:
		return bus.TLS{}
	}
	return b.cfg.NATS.clientTLS()
}

// pinned trusts one certificate, whatever names are in it and whoever signed it.
func pinned(leaf func() []byte) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection compares the whole certificate
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, leaf()) {
				return errors.New("that is not the certificate of nats.tls")
			}
			return nil
		},
	}
}

package app

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/holdfast-broker/holdfast/internal/rpc"
)

// protocolGRPC is HTTP/2, which gRPC is spoken in.
const protocolGRPC = "h2"

// controlConfig is what the control API is told.
func (b *broker) controlConfig() (rpc.Config, error) {
	c := rpc.Config{Logger: b.logger, Peers: b.bus.Peers(), Drain: b.drainAsked}
	if files := b.cfg.Control.TLS.files(); files != nil {
		certs, err := newCertificates(files, protocolGRPC, b.logger, &b.tlsReloads)
		if err != nil {
			return c, fmt.Errorf("control: %w", err)
		}
		c.TLS = certs.config()
	}
	if b.cfg.Control.authenticated() {
		ids, err := newIdentities(b.cfg.Control, b.logger)
		if err != nil {
			return c, fmt.Errorf("control: %w", err)
		}
		c.Identities = ids.get
	}
	return c, nil
}

// identities are those who may call, which follow the files with their tokens as certificates follow theirs.
type identities struct {
	cfg     Control
	logger  *slog.Logger
	files   *followed
	current atomic.Pointer[rpc.Identities]
}

func newIdentities(cfg Control, logger *slog.Logger) (*identities, error) {
	var files []string
	for _, i := range cfg.Auth.Identities {
		if i.TokenFile != "" {
			files = append(files, i.TokenFile)
		}
	}
	ids := &identities{cfg: cfg, logger: logger, files: follow(files...)}
	now, err := cfg.identities()
	ids.current.Store(now)
	return ids, err
}

func (ids *identities) get() *rpc.Identities {
	ids.files.changed(ids.read)
	return ids.current.Load()
}

func (ids *identities) read() {
	now, err := ids.cfg.identities()
	if err != nil {
		ids.logger.Error("new token files cannot be used: the old tokens stay", "error", err)
		return
	}
	ids.current.Store(now)
	ids.logger.Info("token files read again")
}

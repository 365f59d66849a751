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
	c := rpc.Config{
		Logger: b.logger, Peers: b.bus.Peers(), Drain: b.drainAsked, Connections: b.cfg.Control.Connections,
		Rates: b.cfg.Control.Rates.rpc(),
	}
	if files := b.cfg.Control.TLS.files(); files != nil {
		certs, err := newCertificates(files, protocolGRPC, b.logger, &b.tlsReloads)
		if err != nil {
			return c, fmt.Errorf("control: %w", err)
		}
		c.TLS = certs.config()
	}
	if b.cfg.Control.authenticated() {
		judge, err := b.callerJudge()
		if err != nil {
			return c, fmt.Errorf("control: %w", err)
		}
		ids, err := newIdentities(b.cfg.Control, judge, b.logger)
		if err != nil {
			return c, fmt.Errorf("control: %w", err)
		}
		c.Identities = ids.get
	}
	return c, nil
}

// callerJudge judges tokens that say themselves what their bearer may do; nil: there are none.
func (b *broker) callerJudge() (rpc.Judge, error) {
	cfg := b.cfg.Control.Auth.JWT
	if cfg == nil {
		return nil, nil
	}
	v, err := b.verifier(cfg.JWT)
	if err != nil {
		return nil, err
	}
	return (&callerTokens{verifier: v, claims: cfg.Claims, refused: &b.tokensRefused, logger: b.logger}).judge, nil
}

// identities are those who may call, which follow the files with their tokens as certificates follow theirs.
type identities struct {
	cfg     Control
	judge   rpc.Judge
	logger  *slog.Logger
	files   *followed
	current atomic.Pointer[rpc.Identities]
}

func newIdentities(cfg Control, judge rpc.Judge, logger *slog.Logger) (*identities, error) {
	var files []string
	for _, i := range cfg.Auth.Identities {
		if i.TokenFile != "" {
			files = append(files, i.TokenFile)
		}
	}
	ids := &identities{cfg: cfg, judge: judge, logger: logger, files: follow(files...)}
	now, err := cfg.identities(judge)
	ids.current.Store(now)
	return ids, err
}

func (ids *identities) get() *rpc.Identities {
	ids.files.changed(ids.read)
	return ids.current.Load()
}

func (ids *identities) read() bool {
	now, err := ids.cfg.identities(ids.judge)
	if err != nil {
		ids.logger.Error("new token files cannot be used: the old tokens stay", "error", err)
		return false
	}
	ids.current.Store(now)
	ids.logger.Info("token files read again")
	return true
}

package app

import (
	"crypto/tls"
	"log/slog"
	"sync/atomic"
)

// certificates is the TLS configuration of a listener, which follows its files: a handshake that finds
// them changed reads them again. Files that cannot be used leave everything as it is.
type certificates struct {
	files    *TLS
	protocol string // that is spoken inside
	logger   *slog.Logger
	reloads  *counters // by result
	followed *followed
	current  atomic.Pointer[tls.Config]
}

func newCertificates(files *TLS, protocol string, logger *slog.Logger, reloads *counters) (*certificates, error) {
	c := &certificates{
		files: files, protocol: protocol, logger: logger, reloads: reloads,
		followed: follow(files.Cert, files.Key, files.ClientCA),
	}
	cfg, err := tlsConfig(files, protocol)
	if err != nil {
		return nil, err
	}
	c.current.Store(cfg)
	return c, nil
}

// config is for the listener. Session tickets are its own, so that they outlive a new certificate.
func (c *certificates) config() *tls.Config {
	cfg := c.current.Load().Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c.followed.changed(c.read)
		return c.current.Load(), nil
	}
	return cfg
}

// leaf is the certificate that is shown.
func (c *certificates) leaf() []byte { return c.current.Load().Certificates[0].Certificate[0] }

func (c *certificates) read() bool {
	cfg, err := tlsConfig(c.files, c.protocol)
	if err != nil {
		c.reloads.add("failed")
		c.logger.Error("new TLS files cannot be used: the old ones stay", "cert", c.files.Cert, "error", err)
		return false
	}
	c.current.Store(cfg)
	c.reloads.add("ok")
	c.logger.Info("TLS files read again", "cert", c.files.Cert)
	return true
}

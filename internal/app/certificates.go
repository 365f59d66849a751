package app

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// certificates is the TLS configuration of a listener, which follows its files: a handshake that finds
// them changed reads them again. Files that cannot be used leave everything as it is.
type certificates struct {
	files   *TLS
	logger  *slog.Logger
	reloads *counters // by result
	start   time.Time

	current atomic.Pointer[tls.Config]
	looked  atomic.Int64  // when the files were looked at last, since start
	seen    []os.FileInfo // what they were then; of whoever set looked, one at a time
	reading atomic.Bool
}

// lookAgain is how long a look at the files is good for, so that a flood of handshakes costs none.
const lookAgain = time.Second

func newCertificates(files *TLS, logger *slog.Logger, reloads *counters) (*certificates, error) {
	c := &certificates{files: files, logger: logger, reloads: reloads, start: time.Now()}
	c.seen = c.look()
	cfg, err := tlsConfig(files)
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
		c.follow()
		return c.current.Load(), nil
	}
	return cfg
}

// follow reads the files again if they changed since the last look. One handshake does so, the others go
// on with what there is.
func (c *certificates) follow() {
	if time.Since(c.start)-time.Duration(c.looked.Load()) < lookAgain || !c.reading.CompareAndSwap(false, true) {
		return
	}
	defer c.reading.Store(false)
	c.looked.Store(int64(time.Since(c.start)))
	now := c.look() // before the files are read: what changes behind it is seen the next time
	if sameFiles(c.seen, now) {
		return
	}
	c.seen = now
	cfg, err := tlsConfig(c.files)
	if err != nil {
		c.reloads.add("failed")
		c.logger.Error("new TLS files cannot be used: the old ones stay", "cert", c.files.Cert, "error", err)
		return
	}
	c.current.Store(cfg)
	c.reloads.add("ok")
	c.logger.Info("TLS files read again", "cert", c.files.Cert)
}

// look answers what the files are now; nil stands for one that cannot be seen.
func (c *certificates) look() []os.FileInfo {
	var all []os.FileInfo
	for _, file := range []string{c.files.Cert, c.files.Key, c.files.ClientCA} {
		info, err := os.Stat(file)
		if err != nil {
			info = nil
		}
		all = append(all, info)
	}
	return all
}

func sameFiles(a, b []os.FileInfo) bool {
	for i := range a {
		if a[i] == nil || b[i] == nil {
			if a[i] != b[i] {
				return false
			}
			continue
		}
		if !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}

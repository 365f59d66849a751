package app

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-broker/holdfast/internal/jwt"
)

// keyring has the keys at hand for tokens, and follows their files as certificates follow theirs.
type keyring struct {
	cfg     JWT
	logger  *slog.Logger
	files   *followed
	current atomic.Pointer[jwt.Set]
}

func newKeyring(cfg JWT, logger *slog.Logger) (*keyring, error) {
	var files []string
	for _, name := range []string{cfg.SecretFile, cfg.KeysFile} {
		if name != "" {
			files = append(files, name)
		}
	}
	k := &keyring{cfg: cfg, logger: logger, files: follow(files...)}
	now, err := cfg.keys()
	k.current.Store(now)
	return k, err
}

func (k *keyring) get() *jwt.Set {
	k.files.changed(k.read)
	return k.current.Load()
}

func (k *keyring) read() bool {
	now, err := k.cfg.keys()
	if err != nil {
		k.logger.Error("new files with keys for tokens cannot be used: the old keys stay", "error", err)
		return false
	}
	k.current.Store(now)
	k.logger.Info("files with keys for tokens read again", "keys", now.Len())
	return true
}

// remoteKeys are keys that are fetched, each URL once however many settings name it.
type remoteKeys struct {
	logger *slog.Logger

	mu  sync.Mutex
	all map[remoteKey]*jwt.Remote
}

type remoteKey struct {
	url, ca string
	refresh Duration
}

// at answers the keys at a URL; nil: there is none.
func (r *remoteKeys) at(cfg JWT) (*jwt.Remote, error) {
	key := remoteKey{cfg.JWKSURL, cfg.JWKSCA, cfg.JWKSRefresh}
	if key.url == "" {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.all[key]; known != nil {
		return known, nil
	}
	trust, err := cfg.jwksTLS()
	if err != nil {
		return nil, fmt.Errorf("jwks_ca: %w", err)
	}
	if r.all == nil {
		r.all = make(map[remoteKey]*jwt.Remote)
	}
	r.all[key] = jwt.NewRemote(jwt.RemoteConfig{
		URL: key.url, TLS: trust, Refresh: time.Duration(key.refresh), Logger: r.logger,
	})
	return r.all[key], nil
}

func (r *remoteKeys) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, remote := range r.all {
		remote.Close()
	}
}

// status answers how they are, each URL once: of those that differ in what is not shown, one that fails.
func (r *remoteKeys) status() []jwt.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	byURL := make(map[string]jwt.Status)
	for _, remote := range r.all {
		s := remote.Status()
		if other, there := byURL[s.URL]; !there || other.Error == nil {
			byURL[s.URL] = s
		}
	}
	return slices.Collect(maps.Values(byURL))
}

// jwksTLS trusts the CA of the settings; nil: those of the system.
func (j JWT) jwksTLS() (*tls.Config, error) {
	if j.JWKSCA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(j.JWKSCA)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", j.JWKSCA, reason(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%q holds no certificate: want PEM", j.JWKSCA)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// verifier makes the verifier of some settings.
func (b *broker) verifier(cfg JWT) (*jwt.Verifier, error) {
	keys, err := newKeyring(cfg, b.logger)
	if err != nil {
		return nil, err
	}
	remote, err := b.remoteKeys.at(cfg)
	if err != nil {
		return nil, err
	}
	return jwt.NewVerifier(jwt.Config{
		Algorithms: cfg.Algorithms, Keys: keys.get, Remote: remote, Issuer: cfg.Issuer, Audience: cfg.Audience,
		Leeway: time.Duration(cfg.Leeway), Required: cfg.Required,
	}), nil
}

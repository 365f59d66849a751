//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-broker/holdfast/bench/client"
)

// encrypted is idle over TLS 1.3.
type encrypted struct{ peer string }

func (w encrypted) measure(ctx context.Context, l *lab) (f figures, bad faults, err error) {
	s, err := l.set(ctx, w.peer)
	if err != nil {
		return nil, bad, err
	}
	defer func() { err = errors.Join(err, s.strike()) }()
	m := memory{stage: s, held: l.heldOn(s), wait: pause}
	if err := m.begin(); err != nil {
		return nil, bad, err
	}
	clients := client.TLS{Config: &tls.Config{RootCAs: l.roots, ServerName: certName, MinVersion: tls.VersionTLS13}}
	defer clients.Close()
	if err := clients.Connect(ctx, s.address, l.tlsConns); err != nil {
		return nil, bad, err
	}
	if err := m.look(l.tlsConns); err != nil {
		return nil, bad, err
	}
	f, err = m.hold(ctx, l.tlsConns, func(context.Context) error { return clients.Once(1024) })
	return f, bad, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const certName = "localhost"

// certify writes a certificate and its key, ECDSA as most servers have by now, for the servers of this run.
func (l *lab) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{certName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	l.cert, l.key = filepath.Join(l.dir, "cert.pem"), filepath.Join(l.dir, "key.pem")
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	l.roots = x509.NewCertPool()
	if !l.roots.AppendCertsFromPEM(public) {
		return fmt.Errorf("certificate: %s", public)
	}
	return errors.Join(
		os.WriteFile(l.cert, public, 0o600), //nolint:gosec // in a directory of our own
		os.WriteFile(l.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)) //nolint:gosec // the same
}

package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// listenClients opens an address for clients: host:port or unix:/path, with or without TLS.
func (b *broker) listenClients(l Listener) (net.Listener, error) {
	nl, err := listen(l)
	if err != nil {
		return nil, err
	}
	nl = b.behindProxies(nl, l)
	if l.TLS == nil {
		return nl, nil
	}
	certs, err := newCertificates(l.TLS, protocolHTTP, b.logger, &b.tlsReloads)
	if err != nil {
		_ = nl.Close()
		return nil, fmt.Errorf("listen %s: %w", l.Address, err)
	}
	return tls.NewListener(nl, certs.config()), nil
}

func listen(l Listener) (net.Listener, error) {
	path, unix := strings.CutPrefix(l.Address, "unix:")
	if !unix {
		nl, err := net.Listen("tcp", l.Address)
		return nl, listenError(l.Address, err)
	}
	if err := removeStaleSocket(path); err != nil {
		return nil, fmt.Errorf("listen %s: %w", l.Address, err)
	}
	nl, err := listenUnix(path, fs.FileMode(l.Mode))
	return nl, listenError(l.Address, err)
}

// listenUnix makes a socket with that mode; 0 leaves it to the umask. The descriptor has the mode before
// it gets its name, so that the file is at no time open to more than it should be.
func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if mode == 0 {
		return net.Listen("unix", path)
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// Where the kernel knows no mode of a descriptor, the file has it a moment later.
		return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode)) })
	}}
	nl, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil { // what the umask took away
		_ = nl.Close()
		return nil, err
	}
	return nl, nil
}

// listenError says it in one line without Go's layers.
func listenError(address string, err error) error {
	var sys *os.SyscallError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen %s: address already in use", address)
	case errors.As(err, &sys):
		return fmt.Errorf("listen %s: %w", address, sys.Err)
	}
	return fmt.Errorf("listen %s: %w", address, err)
}

// removeStaleSocket removes what a process that died left behind; one that is alive keeps its socket.
func removeStaleSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return errors.New("a file that is not a socket stands there")
	}
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return errors.New("address already in use")
	}
	return os.Remove(path)
}

// protocolHTTP is what a WebSocket begins as; offering more would invite browsers to what is not there.
const protocolHTTP = "http/1.1"

// tlsConfig reads the files of a listener. Empty protocol: NATS, which has no name in TLS.
func tlsConfig(t *TLS, protocol string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	cfg := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		// A session that is resumed later is not verified anew: a client certificate would outlive its CA. Those who
		// command connect rarely.
		SessionTicketsDisabled: protocol != protocolHTTP,
	}
	if protocol != "" {
		cfg.NextProtos = []string{protocol}
	}
	if t.ClientCA == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls: client_ca: %w", err)
	}
	cfg.ClientCAs = x509.NewCertPool()
	if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls: client_ca: %s holds no PEM certificate", t.ClientCA)
	}
	cfg.ClientAuth = tls.VerifyClientCertIfGiven
	return cfg, nil
}

// shownAddress is the address that a client on this machine can dial.
func shownAddress(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return a.String()
	}
	if tcp.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", tcp.Port)
	}
	return tcp.String()
}

// clientURL is where a client connects.
func clientURL(l net.Listener, l7 Listener) string {
	scheme := "ws"
	if l7.TLS != nil {
		scheme = "wss"
	}
	if strings.HasPrefix(l7.Address, "unix:") {
		return scheme + "+" + l7.Address
	}
	return scheme + "://" + shownAddress(l.Addr())
}

package bus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Defaults of ServerConfig.
const (
	DefaultServerListen = "127.0.0.1:4222"
	DefaultMaxPayload   = 8 << 20
)

// serverReadyTimeout bounds the wait for the port: JetStream reads its files before it opens.
const serverReadyTimeout = 30 * time.Second

// ServerConfig says how the embedded NATS server runs.
type ServerConfig struct {
	// Listen is host:port for NATS clients; empty: DefaultServerListen, port 0: any free one.
	Listen string
	// StoreDir holds JetStream's files. It must be the same at each start, as must ServerName, by which
	// JetStream knows its peers.
	StoreDir   string
	ServerName string
	// Users that may connect; none: whoever reaches the address may, and do everything.
	Users []ServerUser
	// TLS for clients; nil: plain text.
	TLS *tls.Config
	// Cluster to be a server of; the zero value: none.
	Cluster ClusterConfig
	// MaxPayload is the limit for headers and payload of one message, in bytes; 0: DefaultMaxPayload.
	MaxPayload int
	// Logger for the server's messages, which below a warning are debug messages; nil: slog.Default().
	Logger *slog.Logger
}

// Server is an embedded NATS server with JetStream.
type Server struct {
	nats   *server.Server
	logger *slog.Logger
	// own is the user that the broker itself is; the zero value: nobody has to be one.
	own Auth
	// systemPassword is that of systemUser; empty: there is no cluster.
	systemPassword string
}

// StartServer starts the server and waits until it is ready, which in a cluster takes a majority of its
// servers: that wait ends only with ctx. Its errors are one line.
func StartServer(ctx context.Context, c ServerConfig) (*Server, error) {
	c.Listen = cmp.Or(c.Listen, DefaultServerListen)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	s := &Server{logger: c.Logger}
	if len(c.Users) > 0 {
		if s.own, err = applyUsers(opts, c.Users); err != nil {
			return nil, err
		}
	}
	if err := c.checkMachine(); err != nil {
		return nil, err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded nats: %w", err)
	}
	s.nats = ns
	log := &serverLog{to: c.Logger, fatal: make(chan error, 1)}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	if err := awaitReady(ns, log); err != nil {
		s.end()
		return nil, fmt.Errorf("embedded nats on %s: %w", c.Listen, err)
	}
	if c.Cluster.Name == "" {
		return s, nil
	}
	s.systemPassword = password(c.Cluster.Secret, systemPurpose)
	if err := s.awaitCluster(ctx); err != nil {
		s.Shutdown(context.Background())
		return nil, fmt.Errorf("embedded nats: cluster %s: %w", c.Cluster.Name, err)
	}
	return s, nil
}

func (c ServerConfig) options() (*server.Options, error) {
	host, port, err := splitAddress("listen address", c.Listen)
	if err != nil {
		return nil, err
	}
	opts := &server.Options{
		Host: host, Port: port, ServerName: c.ServerName,
		JetStream: true, StoreDir: c.StoreDir,
		MaxPayload: int32(cmp.Or(c.MaxPayload, DefaultMaxPayload)),
		NoSigs:     true, // signals are the application's
		TLSConfig:  c.TLS,
	}
	if c.Cluster.Name != "" {
		err = c.Cluster.apply(opts)
	}
	return opts, err
}

// splitAddress takes host and port apart; port 0 becomes what the server calls a random one.
func splitAddress(what, address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("embedded nats: %s %q: want host:port", what, address)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("embedded nats: %s %q: port is not a number up to 65535", what, address)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// checkMachine finds what the server would say less clearly, or only after JetStream has started.
func (c ServerConfig) checkMachine() error {
	if err := checkWritable(c.StoreDir); err != nil {
		return err
	}
	if err := checkFree(c.Listen); err != nil || c.Cluster.Name == "" {
		return err
	}
	if err := checkFree(c.Cluster.Listen); err != nil {
		return err
	}
	return checkJoins(c.StoreDir)
}

// checkWritable fails with a clearer line than JetStream would.
func checkWritable(dir string) error {
	if dir == "" {
		return errors.New("embedded nats: no store directory")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("embedded nats: store directory: %w", err)
	}
	probe := filepath.Join(dir, ".writable")
	f, err := os.OpenFile(probe, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("embedded nats: store directory: %w", err)
	}
	_ = f.Close()
	return os.Remove(probe)
}

// checkFree tries the port before JetStream is started for nothing, and says it in one line.
func checkFree(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("embedded nats: %w", err)
	}
	return l.Close()
}

// awaitReady waits for the port or for what the server calls fatal, which ends nothing here.
func awaitReady(ns *server.Server, log *serverLog) error {
	for begin := time.Now(); time.Since(begin) < serverReadyTimeout; {
		select {
		case err := <-log.fatal:
			return err
		default:
		}
		if ns.ReadyForConnections(50 * time.Millisecond) {
			return nil
		}
	}
	return fmt.Errorf("not ready in %s", serverReadyTimeout)
}

// URL is where clients on this machine reach the server.
func (s *Server) URL() string { return s.nats.ClientURL() }

// Auth is how the broker itself connects.
func (s *Server) Auth() Auth { return s.own }

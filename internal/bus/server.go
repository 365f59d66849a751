package bus

import (
	"cmp"
	"context"
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

const (
	serverReadyTimeout = 30 * time.Second // JetStream reads its files before the port opens
	serverDrainTimeout = 5 * time.Second
	serverStopTimeout  = 3 * time.Second
)

// ServerConfig says how the embedded NATS server runs.
type ServerConfig struct {
	// Listen is host:port for NATS clients; empty: DefaultServerListen, port 0: any free one.
	Listen string
	// StoreDir holds JetStream's files. It must be the same at each start, as must ServerName, by which
	// JetStream knows its peers.
	StoreDir   string
	ServerName string
	// MaxPayload is the limit for headers and payload of one message, in bytes; 0: DefaultMaxPayload.
	MaxPayload int
	// Logger for the server's messages, which below a warning are debug messages; nil: slog.Default().
	Logger *slog.Logger
}

// Server is an embedded NATS server with JetStream.
type Server struct {
	nats   *server.Server
	logger *slog.Logger
}

// StartServer starts the server and waits until it is ready. Its errors are one line.
func StartServer(c ServerConfig) (*Server, error) {
	c.Listen = cmp.Or(c.Listen, DefaultServerListen)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	if err := checkWritable(c.StoreDir); err != nil {
		return nil, err
	}
	if err := checkFree(c.Listen); err != nil {
		return nil, err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded nats: %w", err)
	}
	log := &serverLog{to: c.Logger, fatal: make(chan error, 1)}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start()
	if err := awaitReady(ns, log); err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fmt.Errorf("embedded nats on %s: %w", c.Listen, err)
	}
	return &Server{nats: ns, logger: c.Logger}, nil
}

func (c ServerConfig) options() (*server.Options, error) {
	host, portText, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("embedded nats: listen address %q: want host:port", c.Listen)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("embedded nats: listen address %q: port is not a number up to 65535", c.Listen)
	}
	opts := &server.Options{
		Host: host, Port: int(port), ServerName: c.ServerName,
		JetStream: true, StoreDir: c.StoreDir,
		MaxPayload: int32(cmp.Or(c.MaxPayload, DefaultMaxPayload)),
		NoSigs:     true, // signals are the application's
	}
	if port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, nil
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

// Shutdown waits until no client has bytes pending, at most 5 s and until ctx ends, and stops the
// server. While it stops, the server writes to each client once more what is left (2.15.2, when it is
// awaited); the wait is there so that delivery does not hang on that one write.
func (s *Server) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, serverDrainTimeout)
	defer cancel()
	for s.pending() > 0 {
		if !sleep(ctx, 5*time.Millisecond) {
			s.logger.Warn("embedded nats: stopped with bytes not yet delivered to clients", "bytes", s.pending())
			break
		}
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}()
	select {
	case <-stopped:
	case <-time.After(serverStopTimeout):
		// A client that reads nothing holds the server in a write for up to 10 s (measured). JetStream
		// was closed before that, so nothing is lost when the process ends now.
		s.logger.Warn("embedded nats: a client does not let go; not waiting for it")
	}
}

// pending is the number of bytes that wait in the server for its clients to read.
func (s *Server) pending() (bytes int) {
	const page = 1024
	for offset := 0; ; offset += page {
		z, err := s.nats.Connz(&server.ConnzOptions{Offset: offset, Limit: page})
		if err != nil {
			return bytes
		}
		for _, c := range z.Conns {
			bytes += c.Pending
		}
		if len(z.Conns) < page {
			return bytes
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// Limits of the endpoints, which cases beyond the catalogue touch.
const (
	maxMessage     = 16 << 20 // of "/" and "/deflate": the catalogue's largest message
	smallMessage   = 1024     // of "/limited" and "/limited-deflate"
	fewFragments   = 8        // of "/limited"
	natsMaxPayload = maxMessage + 64<<10
)

// configuration: no heartbeat, so that the broker sends nothing of its own; room for the largest echo.
const configuration = `
nats: {outbox: 64MiB}
endpoints:
  - path: /
    heartbeat: {interval: 0s}
    limits: {message_size: 16MiB, send_queue: 64MiB, fragments: 65536}
  - path: /limited
    heartbeat: {interval: 0s}
    limits: {message_size: 1KiB, fragments: 8}
`

const compressed = `
  - path: /deflate
    heartbeat: {interval: 0s}
    limits: {message_size: 16MiB, send_queue: 64MiB, fragments: 65536}
    compression: {enabled: true, threshold: 0B}
  - path: /deflate-context
    heartbeat: {interval: 0s}
    limits: {message_size: 16MiB, send_queue: 64MiB, fragments: 65536}
    compression: {enabled: true, threshold: 0B, server_no_context_takeover: false, client_no_context_takeover: false}
  - path: /limited-deflate
    heartbeat: {interval: 0s}
    limits: {message_size: 1KiB}
    compression: {enabled: true, threshold: 0B}
`

// stage is what every case plays on.
type stage struct {
	address string
	backend *backend

	// noCompression says why the broker cannot run cases with compression; nil if it can.
	noCompression error

	dir    string
	nats   *server.Server
	broker *broker
}

// setUp builds and starts everything.
func setUp(ctx context.Context, binary string) (*stage, error) {
	s := &stage{}
	if err := s.build(ctx, binary); err != nil {
		return nil, errors.Join(err, s.strike())
	}
	return s, nil
}

func (s *stage) build(ctx context.Context, binary string) (err error) {
	if s.dir, err = os.MkdirTemp("", "holdfast-conformance"); err != nil {
		return err
	}
	if binary, err = buildBroker(ctx, binary, s.dir); err != nil {
		return err
	}
	config, err := s.configure(ctx, binary)
	if err != nil {
		return err
	}
	if err := s.startNATS(); err != nil {
		return err
	}
	s.broker, err = startBroker(ctx, binary, "--config="+config, "--nats-url="+s.nats.ClientURL(),
		"--listen=127.0.0.1:0", "--control-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
		"--data-dir="+filepath.Join(s.dir, "data"))
	if err != nil {
		return err
	}
	if s.address, err = s.broker.address(); err != nil {
		return err
	}
	s.backend, err = startBackend(s.nats.ClientURL(), s.broker.Control)
	return err
}

// configure writes the configuration, with compression if the broker has it.
func (s *stage) configure(ctx context.Context, binary string) (path string, err error) {
	if path, err = writeFile(s.dir, "compressed.yaml", configuration+compressed); err != nil {
		return "", err
	}
	if s.noCompression = accepts(ctx, binary, path); s.noCompression == nil {
		return path, nil
	}
	if path, err = writeFile(s.dir, "plain.yaml", configuration); err != nil {
		return "", err
	}
	return path, accepts(ctx, binary, path)
}

// startNATS starts a server that takes the catalogue's largest message, which the embedded one (8 MiB) does not.
func (s *stage) startNATS() (err error) {
	s.nats, err = server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(s.dir, "nats"), MaxPayload: natsMaxPayload, MaxPending: 256 << 20,
	})
	if err != nil {
		return fmt.Errorf("NATS: %w", err)
	}
	s.nats.Start()
	if !s.nats.ReadyForConnections(patience) {
		return errors.New("NATS: not ready")
	}
	return nil
}

// strike stops everything, and says what went wrong behind the scenes.
func (s *stage) strike() (err error) {
	if s.broker != nil {
		err = s.broker.stop()
	}
	if s.backend != nil {
		err = errors.Join(err, s.backend.stop())
	}
	if s.nats != nil {
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

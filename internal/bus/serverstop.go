package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	serverDrainTimeout = 5 * time.Second
	serverStopTimeout  = 3 * time.Second
)

// Shutdown waits until no client and no other server of the cluster has bytes pending, at most 5 s and
// until ctx ends, and stops the server. While it stops, the server writes to each client once more what is
// left (2.15.2, when it is awaited); the wait is there so that delivery does not hang on that one write.
func (s *Server) Shutdown(ctx context.Context) {
	if s.systemPassword != "" {
		s.handOver(ctx)
	}
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
		s.end()
	}()
	select {
	case <-stopped:
	case <-time.After(serverStopTimeout):
		// A client that reads nothing holds the server in a write for up to 10 s (measured). JetStream
		// was closed before that, so nothing is lost when the process ends now.
		s.logger.Warn("embedded nats: a client does not let go; not waiting for it")
	}
}

// end stops the server, however long that takes.
func (s *Server) end() {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
}

// pending is the number of bytes that wait in the server for others to read.
func (s *Server) pending() int { return s.pendingOfClients() + s.pendingOfRoutes() }

func (s *Server) pendingOfRoutes() (bytes int) {
	z, err := s.nats.Routez(nil)
	if err != nil {
		return 0
	}
	for _, r := range z.Routes {
		bytes += r.Pending
	}
	return bytes
}

func (s *Server) pendingOfClients() (bytes int) {
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

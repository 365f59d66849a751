// Package rpc serves the control API: it validates a call, asks the hub or the router, and answers.
// proto/holdfast/v1 says what each call promises.
//
// Requests that protobuf itself refuses, above all text that is not UTF-8, end with INTERNAL before a
// method or an interceptor sees them, so they carry no ErrorInfo and are not counted; the same goes for
// a request of more than MaxRequest bytes (RESOURCE_EXHAUSTED). In a SendStream they end the stream.
package rpc

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// MaxRequest is how many bytes a request may have.
const MaxRequest = 8 << 20

// Times of HTTP/2 pings. Backends keep one connection for days, often idle, through middleboxes that
// forget quiet connections, so they may ping often, also without a call under way; and we ping, so that
// a stream whose backend died without a word is found and its unfinished messages given up.
const (
	minClientPing     = 5 * time.Second
	serverPing        = time.Minute
	serverPingTimeout = 20 * time.Second
)

// Limits of one connection.
const (
	// maxStreams is how many calls may be under way; a client of gRPC waits with the next one. Calls that were reset
	// count until their method has returned.
	maxStreams = 1000
	// maxHeader is how many bytes the metadata of a call may have, by the count of RFC 9113 6.5.2.
	maxHeader = 64 << 10
	// defaultHandshake is the time for TLS and the preface of HTTP/2.
	defaultHandshake = 10 * time.Second
)

// streamWorkers are goroutines that calls run on, one after the other; where all are busy a call gets one of its own. A
// fresh one has a stack of 2 KiB, which a call outgrows three times: copying it was a fifth of the CPU of a unary
// call (measured). As many as calls arrive together; each keeps its stack, 8 KiB, while it waits.
const streamWorkers = 64

// Config of a Server.
type Config struct {
	// Logger takes defects; nil means slog.Default.
	Logger *slog.Logger
	// Peers reach the other nodes; nil means that there are none.
	Peers Peers
	// Identities are those who may call; it is asked for each call, so that it can follow files. Nil: nobody has to
	// show who they are, and everybody may do everything.
	Identities func() *Identities
	// TLS of the port; nil: plain text.
	TLS *tls.Config
	// Rates bound what each identity asks for that has none of its own, and all callers together that did not have to
	// say who they are.
	Rates Rates
	// Connections is how many there may be at once. 0: no limit.
	Connections int
	// HandshakeTimeout bounds TLS and the preface of HTTP/2. 0: 10 s.
	HandshakeTimeout time.Duration
	// Drain begins the drain of this node and does not block; DrainNode calls it once. Nil: it cannot be.
	Drain func()
}

// Server is the gRPC server of one node.
type Server struct {
	// static after New
	grpc     *grpc.Server
	health   *health.Server
	service  *service
	logger   *slog.Logger
	recovery *recovery
	calls    calls // of clients
	// identities is nil when nobody has to show who they are.
	identities func() *Identities
	// What other nodes ask of this one.
	served  atomic.Uint64 // calls
	guests  *guests
	lanes   lanes
	streams remoteStreams

	connections connections

	stopOnce sync.Once
	stop     chan struct{} // closed when Stop begins
}

// services are those of the broker, by name.
var services = []string{
	holdfastv1.ConnectionService_ServiceDesc.ServiceName,
	holdfastv1.GroupService_ServiceDesc.ServiceName,
	holdfastv1.NodeService_ServiceDesc.ServiceName,
}

// New makes a server of the broker's services, health and reflection that acts on h. It is healthy from
// the start.
func New(h *hub.Hub, c Config) *Server {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Peers == nil {
		c.Peers = alone{h}
	}
	s := &Server{logger: c.Logger, identities: c.Identities, stop: make(chan struct{}), guests: newGuests()}
	s.lanes.queues = make(map[lane][]func())
	s.streams.streams = make(map[lane]*remoteStream)
	s.recovery = &recovery{logger: c.Logger}
	s.service = newService(h, &c, s.stop, s.recovery)
	s.health = health.NewServer()
	s.connections.most = int64(c.Connections)
	s.grpc = grpc.NewServer(s.options(&c)...)
	holdfastv1.RegisterConnectionServiceServer(s.grpc, s.service)
	holdfastv1.RegisterGroupServiceServer(s.grpc, groupService{service: s.service})
	holdfastv1.RegisterNodeServiceServer(s.grpc, nodeService{service: s.service})
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc) // v1 and v1alpha
	s.calls = newCalls(s.grpc.GetServiceInfo())
	s.SetServing(true)
	return s
}

func (s *Server) options(c *Config) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxRequest), // the send limit stays gRPC's, 2 GiB: we bound what we answer
		grpc.ChainUnaryInterceptor(s.observeUnary, s.routeUnary),
		grpc.ChainStreamInterceptor(s.observeStream),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: minClientPing, PermitWithoutStream: true,
		}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: serverPing, Timeout: serverPingTimeout}),
		grpc.MaxConcurrentStreams(maxStreams), grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(cmp.Or(c.HandshakeTimeout, defaultHandshake)),
		// Without it Stop could return while methods still call the hub.
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.ForceServerCodecV2(newCodec()),
	}
	if c.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(c.TLS)))
	}
	return options
}

// SetServing sets what the health service answers, for the server ("") and for the broker's services.
func (s *Server) SetServing(serving bool) {
	st := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		st = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", st)
	for _, name := range services {
		s.health.SetServingStatus(name, st)
	}
}

// Serve accepts calls until Stop; then it returns nil, also when Stop came first. It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	err := s.grpc.Serve(&boundedListener{Listener: l, connections: &s.connections})
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// OverRate answers how often a caller was over their Rates: each time a call was refused, or a stream not read for a while.
func (s *Server) OverRate() uint64 { return s.service.spending.limited.Load() }

// RefusedConnections answers how many connections were over Config.Connections.
func (s *Server) RefusedConnections() uint64 { return s.connections.refused.Load() }

// Stop refuses new calls with NODE_STOPPING, ends streams and whatever waits for a client connection,
// lets the rest finish, and returns when every call has ended. When ctx ends first, for example because
// a client does not read its stream, the calls are cut. Calls of other nodes are refused and ended
// alike; what of them is left when ctx ends goes on until their contexts end, with the bus.
func (s *Server) Stop(ctx context.Context) {
	s.SetServing(false)
	s.stopOnce.Do(func() { close(s.stop) })
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
	s.service.background.Wait()
	s.guests.close(ctx)
	s.streams.dropAll()
}

func (s *Server) stopping() bool { return s.service.stopping() }

package rpc

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// service is ConnectionService. Its methods answer errors of the core; the interceptors make statuses of
// them. What is about one connection acts on those of this node, see Server.routeUnary; the rest asks
// the other nodes by itself, and what ends in Here is the share of this node, for them to ask.
type service struct {
	spending spending // of clients
	holdfastv1.UnimplementedConnectionServiceServer

	// static after newService
	hub      *hub.Hub
	peers    Peers
	methods  map[string]method
	stop     <-chan struct{} // closed when the server stops: nothing waits for a client any more
	recovery *recovery
	marks    fragmentMarks

	background sync.WaitGroup // goroutines that may outlive the call they serve for a moment
	streams    atomic.Uint64  // SendStreams that have reached other nodes; the number of the last
	watches    runningWatches
	drain      drain
}

func newService(h *hub.Hub, c *Config, stop <-chan struct{}, r *recovery) *service {
	s := &service{hub: h, peers: c.Peers, stop: stop, recovery: r, marks: newFragmentMarks()}
	s.methods = s.methodTable()
	s.watches.watches = make(map[*watch]struct{})
	s.drain.begin = c.Drain
	s.spending.rates = c.Rates
	return s
}

func (s *service) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// await waits for what a callback of the core will put into the channel, which has room for it, so
// that the callback does not block when nobody waits any more.
func await[T any](ctx context.Context, s *service, ch <-chan T) (T, error) {
	select {
	case v := <-ch:
		return v, nil
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	case <-s.stop:
		var none T
		return none, hub.ErrNotConfirmed
	}
}

// outcome is a hub.Done and the channel that it fills.
func outcome() (hub.Done, <-chan hub.Outcome) {
	ch := make(chan hub.Outcome, 1)
	return func(o hub.Outcome) { ch <- o }, ch
}

// awaitOutcome is await for the end of a confirmation.
func awaitOutcome(ctx context.Context, s *service, ch <-chan hub.Outcome) (hub.Outcome, error) {
	o, err := await(ctx, s, ch)
	if err == nil {
		err = o.Err
	}
	return o, err
}

// Close begins the closing handshake and answers as far along as the confirmation asks.
func (s *service) Close(ctx context.Context, req *holdfastv1.CloseRequest) (*holdfastv1.CloseResponse, error) {
	c, err := s.lookup(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	code, err := readCloseCode(req.Code)
	if err != nil {
		return nil, err
	}
	if err := readCloseReason(req.GetReason()); err != nil {
		return nil, err
	}
	cf, err := readConfirmation(req.GetConfirmation(), hub.Received, hub.Received)
	if err != nil {
		return nil, err
	}
	switch cf {
	case hub.Received:
		return s.closeAndWait(ctx, c, code, req.GetReason())
	case hub.Written:
		done, written := outcome()
		if err := c.Close(code, req.GetReason(), hub.CauseBackendClose, done, nil); err != nil {
			return nil, err
		}
		o, err := await(ctx, s, written)
		if err == nil && o.Err != nil { // it ended before the frame was written: it is closed, but not as asked
			err = hub.ErrNotConfirmed
		}
		return &holdfastv1.CloseResponse{}, err
	}
	return &holdfastv1.CloseResponse{}, c.Close(code, req.GetReason(), hub.CauseBackendClose, nil, nil)
}

func (s *service) closeAndWait(ctx context.Context, c *hub.Conn, code uint16, reason string) (*holdfastv1.CloseResponse, error) {
	ended := make(chan *hub.Closed, 1)
	err := c.Close(code, reason, hub.CauseBackendClose, nil, func(closed *hub.Closed) { ended <- closed })
	if err != nil {
		return nil, err
	}
	closed, err := await(ctx, s, ended)
	if err != nil {
		return nil, err
	}
	end := closed.End
	return &holdfastv1.CloseResponse{Code: uint32(end.Code), Reason: end.Reason, WasClean: end.WasClean}, nil
}

// Terminate ends the TCP connection at once.
func (s *service) Terminate(ctx context.Context, req *holdfastv1.TerminateRequest) (*holdfastv1.TerminateResponse, error) {
	c, err := s.lookup(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	c.Terminate()
	return &holdfastv1.TerminateResponse{}, nil
}

// Pause keeps the connection from being read.
func (s *service) Pause(ctx context.Context, req *holdfastv1.PauseRequest) (*holdfastv1.PauseResponse, error) {
	c, err := s.lookup(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	d, err := readDuration("resume_after", req.GetResumeAfter(), anyDuration) // the endpoint's limit is the core's to know
	if err != nil {
		return nil, err
	}
	at, err := c.Pause(d)
	if err != nil {
		return nil, err
	}
	return &holdfastv1.PauseResponse{ResumeTime: timestamppb.New(at)}, nil
}

// Resume reads from a paused connection again.
func (s *service) Resume(ctx context.Context, req *holdfastv1.ResumeRequest) (*holdfastv1.ResumeResponse, error) {
	c, err := s.lookup(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	return &holdfastv1.ResumeResponse{}, c.Resume()
}

// Get answers with what the broker knows of the connection.
func (s *service) Get(ctx context.Context, req *holdfastv1.GetRequest) (*holdfastv1.GetResponse, error) {
	c, err := s.lookup(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	info := c.Info()
	return &holdfastv1.GetResponse{Connection: connectionOf(&info)}, nil
}

// Update changes what backends know of a connection.
func (s *service) Update(ctx context.Context, req *holdfastv1.UpdateRequest) (*holdfastv1.UpdateResponse, error) {
	c, err := s.lookup(ctx, req.GetConnectionId())
	if err != nil {
		return nil, err
	}
	u := hub.Update{Set: req.GetSetAttributes(), Remove: req.GetRemoveAttributes(), User: req.User}
	if u.Expire, err = readExpiry(req); err != nil {
		return nil, err
	}
	info, err := c.Update(u)
	if err != nil {
		return nil, err
	}
	return &holdfastv1.UpdateResponse{Connection: connectionOf(&info)}, nil
}

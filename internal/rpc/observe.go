package rpc

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// MethodCode is what calls are counted by.
type MethodCode struct {
	Method string // "/holdfast.v1.ConnectionService/Send"
	Code   codes.Code
}

// codeCount is the number of status codes that gRPC defines.
const codeCount = codes.Unauthenticated + 1

// calls has a row for every method; it is complete before the first call and never changes.
type calls map[string]*[codeCount]atomic.Uint64

func newCalls(services map[string]grpc.ServiceInfo) calls {
	c := make(calls)
	for name, info := range services {
		for _, m := range info.Methods {
			c["/"+name+"/"+m.Name] = new([codeCount]atomic.Uint64)
		}
	}
	return c
}

func (c calls) count(method string, code codes.Code) {
	if code >= codeCount { // of another node that knows more codes
		code = codes.Unknown
	}
	if row := c[method]; row != nil {
		row[code].Add(1)
	}
}

// Calls answers how many calls of each method clients made, by the code that they ended with. A stream
// counts once, when it ends.
func (s *Server) Calls() map[MethodCode]uint64 { return s.calls.totals() }

// Served answers how many calls this node served for another one, where Calls has them.
func (s *Server) Served() uint64 { return s.served.Load() }

func (c calls) totals() map[MethodCode]uint64 {
	all := make(map[MethodCode]uint64)
	for method, row := range c {
		for code := range row {
			if n := row[code].Load(); n > 0 {
				all[MethodCode{method, codes.Code(code)}] = n
			}
		}
	}
	return all
}

// Panics answers how many panics of methods were caught. Each was a defect.
func (s *Server) Panics() uint64 { return s.recovery.caught.Load() }

// recovery keeps a defect in one call from ending the process with all its client connections.
type recovery struct {
	logger *slog.Logger
	caught atomic.Uint64
}

func (r *recovery) refuse(method string, panicked any) error {
	r.caught.Add(1)
	r.logger.Error("panic in a call", "method", method, "panic", panicked, "stack", string(debug.Stack()))
	return errInternal
}

// observeUnary is the outermost interceptor: it sees every end of a call, makes a status of it and
// counts it.
func (s *Server) observeUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.recovery.refuse(info.FullMethod, p)
		}
		if err != nil {
			err = s.statusOf(info.FullMethod, err, req)
		}
		s.calls.count(info.FullMethod, status.Code(err))
	}()
	if s.stopping() {
		return nil, hub.ErrStopping
	}
	if s.identities == nil && !isAudited(info.FullMethod) && s.service.spending.none(nil) {
		return next(ctx, req)
	}
	return s.guardUnary(ctx, req, info.FullMethod, next)
}

// observeStream is observeUnary for streams.
func (s *Server) observeStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.recovery.refuse(info.FullMethod, p)
		}
		err = s.statusOf(info.FullMethod, err, nil)
		s.calls.count(info.FullMethod, status.Code(err))
	}()
	switch {
	case s.stopping():
		return hub.ErrStopping
	case isOpen(info.FullMethod):
		return s.untilStop(srv, stream, info.FullMethod, next)
	}
	return s.guardStream(srv, stream, info.FullMethod, next) // our own know when the server stops
}

// statusOf also logs what is neither a refusal nor a status: a defect that a method reported as an error.
func (s *Server) statusOf(method string, err error, req any) error {
	var id string
	if about, ok := req.(oneConnection); ok {
		id = about.GetConnectionId()
	}
	return s.toldStatus(method, err, id)
}

// toldStatus is statusOf for a call about that connection, if it was about one.
func (s *Server) toldStatus(method string, err error, id string) error {
	if isDefect(err) {
		s.logger.Error("internal error in a call", "method", method, "error", err)
	}
	return s.service.statusOf(err, id)
}

// untilStop serves a stream of health or reflection, which would keep a graceful stop waiting for as
// long as its client likes. When this returns, gRPC cancels the stream, and with it the handler.
func (s *Server) untilStop(srv any, stream grpc.ServerStream, method string, next grpc.StreamHandler) error {
	ended := make(chan error, 1)
	s.service.background.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				ended <- s.recovery.refuse(method, p)
			}
		}()
		ended <- next(srv, stream)
	})
	select {
	case err := <-ended:
		return err
	case <-s.service.stop:
		return hub.ErrStopping
	}
}

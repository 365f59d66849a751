package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// audited are the methods of which every call is logged, not only those that are refused.
var audited = map[string]bool{
	holdfastv1.ConnectionService_Close_FullMethodName:     true,
	holdfastv1.ConnectionService_Terminate_FullMethodName: true,
	holdfastv1.ConnectionService_Pause_FullMethodName:     true,
	holdfastv1.GroupService_Close_FullMethodName:          true,
	holdfastv1.NodeService_DrainNode_FullMethodName:       true,
}

func isAudited(method string) bool { return audited[method] }

// isOpen reports whether a method needs no credentials: health and reflection, which tell nothing of clients.
func isOpen(method string) bool { return strings.HasPrefix(method, "/grpc.") }

// guardUnary serves a call when its caller may make it.
func (s *Server) guardUnary(ctx context.Context, req any, method string, next grpc.UnaryHandler) (resp any, err error) {
	who, err := s.admit(ctx, method)
	if err == nil {
		message, _ := req.(proto.Message)
		err = s.allow(who, method, message)
	}
	if err == nil {
		resp, err = next(withCaller(ctx, who), req)
	}
	s.noteDenial(who, err)
	if isAudited(method) || isRefused(err) || isForeign(err) {
		s.audit(ctx, who, method, targetOf(req), err)
	}
	return resp, err
}

// guardStream is guardUnary for streams, whose methods look at requests by themselves.
func (s *Server) guardStream(srv any, stream grpc.ServerStream, method string, next grpc.StreamHandler) error {
	who, err := s.admit(stream.Context(), method)
	if err == nil {
		err = s.allow(who, method, nil)
	}
	if err == nil {
		err = asCaller(who, srv, stream, next)
	}
	s.noteDenial(who, err)
	if isRefused(err) || isForeign(err) {
		var target string
		if about, ok := errors.AsType[*aboutConnection](err); ok {
			target = about.id
		}
		s.audit(stream.Context(), who, method, target, err)
	}
	return err
}

// allow counts a call, and says whether its caller may make it, and now.
func (s *Server) allow(who *caller, method string, req proto.Message) error {
	spending := &s.service.spending
	spending.askers.of(who).calls.Add(uint64(costOf(req)))
	if err := who.permit(method, req); err != nil || isOpen(method) {
		return err
	}
	return spending.take(who, req)
}

// noteDenial counts a call for which its caller lacked a permission.
func (s *Server) noteDenial(who *caller, err error) {
	if isRefused(err) || isForeign(err) {
		s.service.spending.askers.of(who).denied.Add(1)
	}
}

// asCaller serves a stream, and no longer than its caller's token is good.
func asCaller(who *caller, srv any, stream grpc.ServerStream, next grpc.StreamHandler) error {
	if who == nil {
		return next(srv, stream)
	}
	ctx := withCaller(stream.Context(), who)
	if who.expires.IsZero() {
		return next(srv, &callerStream{stream, ctx})
	}
	// Not a deadline: what waits within the stream would answer for it.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer time.AfterFunc(time.Until(who.expires), func() { cancel(ErrTokenExpired) }).Stop()
	err := next(srv, &callerStream{stream, ctx})
	if errors.Is(context.Cause(ctx), ErrTokenExpired) {
		return ErrTokenExpired
	}
	return err
}

// callerStream is a stream whose context knows the caller.
type callerStream struct {
	grpc.ServerStream

	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *callerStream) Context() context.Context { return s.ctx }

// admit finds who calls; nil: they do not have to say.
func (s *Server) admit(ctx context.Context, method string) (*caller, error) {
	if s.identities == nil || isOpen(method) {
		return nil, nil
	}
	return s.identities().identify(ctx)
}

func isRefused(err error) bool {
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied: // of another node
		return true
	}
	switch refusalOf(err).Reason {
	case hub.Unauthenticated, hub.PermissionDenied, hub.KeysUnavailable:
		return true
	}
	return false
}

// audit logs who did what, or tried to. A token is never among it.
func (s *Server) audit(ctx context.Context, who *caller, method, target string, err error) {
	attrs := []any{"method", strings.TrimPrefix(method, "/holdfast.v1."), "result", s.resultOf(err)}
	if who != nil {
		attrs = append(attrs, "identity", who.name)
	}
	if target != "" {
		attrs = append(attrs, "target", target)
	}
	if p, ok := peer.FromContext(ctx); ok {
		attrs = append(attrs, "peer", p.Addr.String())
	}
	s.logger.Info("audit", attrs...)
}

// auditForeign logs a call of another node that touched a connection which its caller may not: what that node is told
// does not say so.
func (s *Server) auditForeign(ctx context.Context, method, id string, err error) {
	if isForeign(err) {
		s.audit(ctx, callerOf(ctx), method, named(id), err)
	}
}

func (s *Server) resultOf(err error) string {
	if isForeign(err) {
		return "PERMISSION_DENIED"
	}
	st := status.Convert(s.service.statusOf(err, ""))
	if reason := reasonOf(st); reason != holdfastv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return reason.String()
	}
	return strings.ToUpper(st.Code().String())
}

// targetOf names what a call is about.
func targetOf(req any) string {
	switch r := req.(type) {
	case oneConnection:
		return named(r.GetConnectionId())
	case *holdfastv1.DrainNodeRequest:
		return named(r.GetNode())
	case interface{ GetTarget() *holdfastv1.Target }:
		return targetText(r.GetTarget())
	}
	return ""
}

func targetText(t *holdfastv1.Target) string {
	namespace := t.GetNamespace()
	if namespace == "" {
		namespace = defaultNamespace
	}
	switch to := t.GetTo().(type) {
	case *holdfastv1.Target_Group:
		return fmt.Sprintf("group %s of %s", named(to.Group), named(namespace))
	case *holdfastv1.Target_User:
		return fmt.Sprintf("user %s of %s", named(to.User), named(namespace))
	}
	return "everyone of " + named(namespace)
}

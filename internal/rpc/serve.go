package rpc

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// ServeCall serves a call of another node. It does not block: the bus calls it for the calls of a node in
// their order of arrival. ctx ends when the caller cancels, at its deadline, when its node is lost, or
// with the bus.
func (s *Server) ServeCall(ctx context.Context, from hub.NodeID, request []byte, answer Answer) {
	c, err := decodeEnvelope(request)
	if err != nil {
		s.refuseCall(answer, status.Error(codes.Unimplemented, err.Error()))
		return
	}
	who, err := decodeCaller(c.caller)
	if err != nil {
		s.refuseCall(answer, status.Error(codes.Unimplemented, err.Error()))
		return
	}
	ctx = withCaller(ctx, who)
	switch c.kind {
	case callMethod:
		err = s.serveMethod(ctx, from, &c, answer)
	case callBatch:
		err = s.serveBatch(from, &c, who, answer)
	case callEnd:
		err = s.serveEnd(from, &c, answer)
	case callWatch:
		err = s.serveWatch(ctx, &c, answer)
	default:
		err = status.Error(codes.Unimplemented, fmt.Sprintf("calls of kind %d are not known to node %s", c.kind, s.service.hub.Node()))
	}
	if err != nil {
		s.refuseCall(answer, err)
	}
}

func (s *Server) refuseCall(answer Answer, err error) {
	answer.End(statusPart(s.service.statusOf(err, "")))
}

// serveMethod has a method served beside the others, or behind those of the same node where order
// counts. What it answers was not begun.
func (s *Server) serveMethod(ctx context.Context, from hub.NodeID, c *envelope, answer Answer) error {
	m, known := s.service.methods[c.method]
	if !known {
		return status.Error(codes.Unimplemented, fmt.Sprintf("%s is not known to node %s", c.method, s.service.hub.Node()))
	}
	if err := s.guests.enter(s.guests.calls); err != nil {
		return err
	}
	g := &guest{server: s, ctx: ctx, method: c.method, answer: answer}
	if m.begin == nil {
		s.guests.run(func() { g.serve(m, c.request) })
		return nil
	}
	if !s.lanes.push(lane{node: from}, s.guests, func() { g.begin(m, c.request) }) {
		s.guests.leave(s.guests.calls)
		return errBusy
	}
	return nil
}

// guest is one call of another node to a method, from its begin to its answer.
type guest struct {
	server *Server
	ctx    context.Context
	method string
	answer Answer
	about  string // connection ID
}

func (g *guest) serve(m method, request []byte) {
	g.end(g.guarded(func() (proto.Message, error) {
		req, err := g.read(m, request)
		if err != nil {
			return nil, err
		}
		return m.serve(g.ctx, req)
	}))
}

// begin does the part where order counts; the rest does not hold up who comes next.
func (g *guest) begin(m method, request []byte) {
	var finish func() (proto.Message, error)
	_, err := g.guarded(func() (_ proto.Message, err error) {
		if err := g.ctx.Err(); err != nil { // nobody waits any more
			return nil, err
		}
		req, err := g.read(m, request)
		if err == nil {
			finish, err = m.begin(g.ctx, req)
		}
		return nil, err
	})
	if err != nil {
		g.end(nil, err)
		return
	}
	g.server.guests.run(func() { g.end(g.guarded(finish)) })
}

func (g *guest) read(m method, request []byte) (proto.Message, error) {
	req := m.request()
	if err := proto.Unmarshal(request, req); err != nil {
		return nil, err
	}
	if err := callerOf(g.ctx).permit(g.method, req); err != nil {
		return nil, err
	}
	about, ok := req.(oneConnection)
	if !ok {
		if g.server.service.isFrozen(g.method) {
			return nil, hub.ErrBusAway
		}
		return req, nil
	}
	g.about = about.GetConnectionId()
	if node, elsewhere := g.server.service.ownerElsewhere(g.about); elsewhere {
		// Never forwarded twice, and not CONNECTION_GONE, which would be a lie.
		return nil, fmt.Errorf("a call about a connection of node %s came to this node, %s", node, g.server.service.hub.Node())
	}
	return req, nil
}

// guarded keeps a defect from ending the process.
func (g *guest) guarded(f func() (proto.Message, error)) (resp proto.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = g.server.recovery.refuse(g.method, p)
		}
	}()
	return f()
}

// end counts the call and answers it.
func (g *guest) end(resp proto.Message, err error) {
	s := g.server
	defer s.guests.leave(s.guests.calls)
	var part []byte
	if err == nil {
		part, err = responsePart(resp)
	}
	if err != nil {
		s.auditForeign(g.ctx, g.method, g.about, err)
		err = s.toldStatus(g.method, err, g.about)
		part = statusPart(err)
	}
	s.served.Add(1)
	g.answer.End(part)
}

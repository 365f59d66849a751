package rpc

import (
	"context"
	"encoding/binary"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// maxEventPart is when a part with events is full; a single larger event is one by itself.
const maxEventPart = 256 << 10

// serveWatch collects events for a Watch at another node.
func (s *Server) serveWatch(ctx context.Context, c *envelope, answer Answer) error {
	if err := s.guests.enter(s.guests.watches); err != nil {
		return err
	}
	const method = holdfastv1.ConnectionService_Watch_FullMethodName
	s.guests.run(func() {
		defer s.guests.leave(s.guests.watches)
		req := &holdfastv1.WatchRequest{}
		err := proto.Unmarshal(c.request, req)
		if err == nil {
			err = callerOf(ctx).permit(method, req)
		}
		if err == nil {
			err = s.collect(ctx, req, answer)
		}
		s.auditForeign(ctx, method, req.GetConnectionId(), err)
		err = s.toldStatus(method, err, req.GetConnectionId())
		s.served.Add(1)
		answer.End(statusPart(err))
	})
	return nil
}

// collect sends events until the watch ends, and answers why it did.
func (s *Server) collect(ctx context.Context, req *holdfastv1.WatchRequest, answer Answer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.recovery.refuse(holdfastv1.ConnectionService_Watch_FullMethodName, p)
		}
	}()
	filter, err := readWatchFilter(req)
	if err != nil {
		return err
	}
	filter.Namespaces = callerOf(ctx).onlyNamespaces()
	w, err := s.service.hub.Watch(filter)
	if err != nil {
		return err
	}
	defer w.Stop()
	if id := req.GetConnectionId(); id != "" {
		if _, err := s.service.lookup(ctx, id); err != nil {
			return err
		}
	}
	if err := answer.Send([]byte{partStarted}); err != nil {
		return err
	}
	for {
		var stopping error
		select {
		case <-w.Ready():
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stop:
			stopping = hub.ErrStopping
		}
		events, err := w.Take()
		if sendErr := sendEvents(events, answer); sendErr != nil {
			return sendErr
		}
		if err := errors.Join(err, stopping); err != nil {
			return err
		}
	}
}

func sendEvents(events []hub.Event, answer Answer) error {
	part := []byte{partEvents}
	for i := range events {
		resp := &holdfastv1.WatchResponse{Item: &holdfastv1.WatchResponse_Event{Event: eventOf(&events[i])}}
		size := proto.Size(resp)
		if len(part) > 1 && len(part)+size > maxEventPart {
			if err := answer.Send(part); err != nil {
				return err
			}
			part = []byte{partEvents}
		}
		part = binary.AppendUvarint(part, uint64(size))
		var err error
		if part, err = (proto.MarshalOptions{}).MarshalAppend(part, resp); err != nil {
			return err
		}
	}
	if len(part) == 1 {
		return nil
	}
	return answer.Send(part)
}

// readWatchPart reads a part of what collect sends. The first has neither events nor an error.
func readWatchPart(node hub.NodeID, part []byte, more bool, err error) watchPart {
	p := watchPart{node: node, err: err}
	switch {
	case err != nil:
	case len(part) == 0:
		p.err = errEnvelope
	case part[0] == partEvents && more:
		p.events = part[1:]
	case part[0] == partStarted && more:
	case part[0] == partStatus && !more:
		p.err = readStatus(part[1:])
	default:
		p.err = status.Error(codes.Internal, "a watch on another node has answered something else")
	}
	return p
}

// eachEvent visits the events of a part.
func eachEvent(events []byte, visit func(*holdfastv1.WatchResponse) error) error {
	r := envelopeReader{rest: events}
	for len(r.rest) > 0 {
		b := r.bytes()
		if r.short {
			return errEnvelope
		}
		resp := &holdfastv1.WatchResponse{}
		if err := proto.Unmarshal(b, resp); err != nil {
			return err
		}
		if err := visit(resp); err != nil {
			return err
		}
	}
	return nil
}

package rpc

import (
	"context"

	"google.golang.org/grpc"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Watch streams events until its client, the server or the room for unread events ends.
func (s *service) Watch(req *holdfastv1.WatchRequest, stream grpc.ServerStreamingServer[holdfastv1.WatchResponse]) error {
	filter, err := readWatchFilter(req)
	if err != nil {
		return err
	}
	w, err := s.hub.Watch(filter)
	if err != nil {
		return err
	}
	defer w.Stop()
	if id := req.GetConnectionId(); id != "" {
		// After the watch began: if the connection is found now, its close event will be seen.
		if _, err := s.hub.Lookup(id); err != nil {
			return s.statusOf(err, id)
		}
	}
	started := &holdfastv1.WatchStarted{Node: string(s.hub.Node())}
	if err := stream.Send(&holdfastv1.WatchResponse{Item: &holdfastv1.WatchResponse_Started{Started: started}}); err != nil {
		return err
	}
	return s.stream(stream.Context(), w, stream)
}

// stream sends what the watch collects.
func (s *service) stream(ctx context.Context, w *hub.Watch, to grpc.ServerStreamingServer[holdfastv1.WatchResponse]) error {
	for {
		stopping := false
		select {
		case <-w.Ready():
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stop:
			stopping = true
		}
		events, err := w.Take()
		for i := range events {
			item := &holdfastv1.WatchResponse_Event{Event: eventOf(&events[i])}
			if err := to.Send(&holdfastv1.WatchResponse{Item: item}); err != nil {
				return err
			}
		}
		switch {
		case err != nil:
			return err
		case stopping:
			return hub.ErrStopping
		}
	}
}

func readWatchFilter(req *holdfastv1.WatchRequest) (hub.WatchFilter, error) {
	f := hub.WatchFilter{Namespace: req.GetNamespace(), User: req.GetUser()}
	if err := validateNamespace("namespace", f.Namespace); err != nil {
		return f, err
	}
	if err := hub.ValidateUser("user", f.User); err != nil {
		return f, err
	}
	if id := req.GetConnectionId(); id != "" {
		parsed, err := hub.ParseID(id)
		if err != nil {
			return f, err
		}
		f.ID = &parsed
	}
	for _, k := range req.GetKinds() {
		kind, ok := kindOf(k)
		if !ok {
			return f, hub.Invalid(hub.InvalidFilter, "kinds", k.String(), "OPEN, MESSAGE, CLOSE, PING, PONG or WRITABLE")
		}
		f.Kinds = append(f.Kinds, kind)
	}
	return f, nil
}

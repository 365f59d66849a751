package rpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// watchRetry is how often a watch looks for silent nodes that have come back.
const watchRetry = time.Second

// Watch streams events of all nodes until its client, the server or the room for unread events ends.
func (s *service) Watch(req *holdfastv1.WatchRequest, stream grpc.ServerStreamingServer[holdfastv1.WatchResponse]) error {
	who := callerOf(stream.Context())
	if err := who.permit(holdfastv1.ConnectionService_Watch_FullMethodName, req); err != nil {
		return err
	}
	filter, err := readWatchFilter(req)
	if err != nil {
		return err
	}
	filter.Namespaces = who.onlyNamespaces()
	w, err := s.newWatch(stream, req)
	if err != nil {
		return err
	}
	defer w.stop()
	if filter.ID != nil && filter.ID.Node() != s.hub.Node() {
		return s.statusOf(w.runElsewhere(filter.ID.Node()), req.GetConnectionId())
	}
	if s.hub.Frozen() {
		return hub.ErrBusAway
	}
	local, err := s.hub.Watch(filter)
	if err != nil {
		return err
	}
	defer local.Stop()
	if filter.ID != nil {
		// After the watch began: if the connection is found now, its close event will be seen.
		if _, err := s.lookup(stream.Context(), req.GetConnectionId()); err != nil {
			return &aboutConnection{err, req.GetConnectionId()}
		}
		return w.run(local)
	}
	defer s.watches.add(w)()
	for _, n := range s.peers.Nodes() { // those that come later are for NodeJoined
		if n.ID != s.hub.Node() {
			w.open(n.ID)
		}
	}
	if err := w.awaitNodes(); err != nil {
		return err
	}
	return w.run(local)
}

// runElsewhere is a watch of one connection: its node alone can see something.
func (w *watch) runElsewhere(node hub.NodeID) error {
	far := w.open(node)
	far.settle(w.ctx, w.service.stop)
	if err := w.over(); err != nil {
		return err
	}
	if err := far.err(); err != nil {
		return err
	}
	w.single = true
	return w.run(nil)
}

// run sends `started` and then what the watches of the nodes collect. local is nil if this node has none.
func (w *watch) run(local *hub.Watch) error {
	started := &holdfastv1.WatchStarted{Node: string(w.service.hub.Node()), UnreachableNodes: w.missingNodes()}
	if err := w.stream.Send(&holdfastv1.WatchResponse{Item: &holdfastv1.WatchResponse_Started{Started: started}}); err != nil {
		return err
	}
	var ready <-chan struct{}
	if local != nil {
		ready = local.Ready()
	}
	retry := time.NewTicker(watchRetry)
	defer retry.Stop()
	for {
		var err error
		select {
		case <-ready:
			err = w.sendLocal(local)
		case <-w.inbox.ready:
			err = w.sendPart()
		case <-w.changed:
			err = w.check(false)
		case <-retry.C:
			w.retryMissing()
		case <-w.ctx.Done():
			return w.ctx.Err()
		case <-w.service.stop:
			return w.last(local)
		}
		if err != nil {
			return err
		}
	}
}

func (w *watch) sendLocal(local *hub.Watch) error {
	events, err := local.Take()
	for i := range events {
		item := &holdfastv1.WatchResponse_Event{Event: eventOf(&events[i])}
		if err := w.stream.Send(&holdfastv1.WatchResponse{Item: item}); err != nil {
			return err
		}
	}
	return err
}

// last sends the last events of this node before the server stops.
func (w *watch) last(local *hub.Watch) error {
	if local != nil {
		if err := w.sendLocal(local); err != nil {
			return err
		}
	}
	return hub.ErrStopping
}

// sendPart sends what another node collected, or tells why it collects no more.
func (w *watch) sendPart() error {
	p, ok := w.inbox.take()
	switch {
	case !ok:
		return nil
	case p.err != nil:
		return w.ended(p.node, p.err)
	}
	return eachEvent(p.events, func(resp *holdfastv1.WatchResponse) error { return w.stream.Send(resp) })
}

// ended decides what the end of the watch on one node means. A node that stopped in order has sent all
// its events; one that is lost, perhaps not.
func (w *watch) ended(node hub.NodeID, err error) error {
	if w.single {
		return err
	}
	w.forget(node)
	switch {
	case hasLeft(err):
		return nil
	case errors.Is(err, hub.ErrUnreachable): // also one that is not in the table any more: others hold it dead
		return unreachable(node)
	}
	return err
}

// NodeJoined opens the running watches at a node that is new, and returns when they are in effect there
// or ctx ends.
func (s *Server) NodeJoined(ctx context.Context, n hub.Node) {
	if n.ID == s.service.hub.Node() {
		return
	}
	var opened []*farWatch
	for _, w := range s.service.watches.all() {
		opened = append(opened, w.open(n.ID))
	}
	for _, far := range opened {
		far.settle(ctx, s.stop)
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

package rpc

import (
	"context"
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// watch is one Watch of a client. Its call alone sends; the watches on other nodes hand it their parts.
type watch struct {
	service *service
	stream  grpc.ServerStreamingServer[holdfastv1.WatchResponse]
	ctx     context.Context // ends with the call, and with it the watches on other nodes
	stop    context.CancelFunc
	request []byte
	inbox   inbox
	changed chan struct{} // has an element when a watch on another node could not be begun

	// owned by the call
	single  bool                    // of one connection of another node
	missing map[hub.NodeID]struct{} // nodes that were silent, so that the watch began without them

	mu  sync.Mutex
	far map[hub.NodeID]*farWatch
}

// farWatch is the watch on another node.
type farWatch struct {
	settled chan struct{} // closed when it is in effect, or failed
	failure error         // set before that
}

func (s *service) newWatch(stream grpc.ServerStreamingServer[holdfastv1.WatchResponse], req *holdfastv1.WatchRequest) (*watch, error) {
	request, err := (&envelope{kind: callWatch, caller: callerBytes(stream.Context())}).encode(req)
	if err != nil {
		return nil, err
	}
	w := &watch{
		service: s, stream: stream, request: request,
		inbox: inbox{ready: make(chan struct{}, 1)}, changed: make(chan struct{}, 1),
		missing: make(map[hub.NodeID]struct{}), far: make(map[hub.NodeID]*farWatch),
	}
	w.ctx, w.stop = context.WithCancel(stream.Context())
	return w, nil
}

// open begins the watch on another node unless it has begun. Any goroutine may call it.
func (w *watch) open(node hub.NodeID) *farWatch {
	w.mu.Lock()
	far, known := w.far[node]
	if !known {
		far = &farWatch{settled: make(chan struct{})}
		w.far[node] = far
	}
	w.mu.Unlock()
	if known {
		return far
	}
	inEffect := false // owned by the callback
	w.service.peers.Begin(w.ctx, node, w.request, func(part []byte, more bool, err error) {
		p := readWatchPart(node, part, more, err)
		if inEffect {
			w.inbox.put(p)
			return
		}
		if inEffect = p.err == nil; inEffect {
			close(far.settled)
			return
		}
		far.failure = p.err
		close(far.settled)
		signal(w.changed)
	})
	return far
}

// settle waits until the watch is in effect or has failed, or for one of the others.
func (f *farWatch) settle(ctx context.Context, stop <-chan struct{}) {
	select {
	case <-f.settled:
	case <-ctx.Done():
	case <-stop:
	}
}

func (f *farWatch) isSettled() bool {
	select {
	case <-f.settled:
		return true
	default:
		return false
	}
}

// err is why it failed; while it is not settled, that nothing was heard.
func (f *farWatch) err() error {
	if !f.isSettled() {
		return hub.ErrUnreachable
	}
	return f.failure
}

// awaitNodes waits until every node collects. A silent node may be missing, or one machine that hangs
// would end all watching; what it does until it is heard of again is not seen, and the client is told.
func (w *watch) awaitNodes() error {
	limited, cancel := context.WithTimeout(w.ctx, nodeLimit)
	defer cancel()
	silent, cancelSilent := context.WithTimeout(w.ctx, silentLimit)
	defer cancelSilent()
	for node, far := range w.opened() {
		if w.isSilent(node) {
			far.settle(silent, w.service.stop)
		} else {
			far.settle(limited, w.service.stop)
		}
	}
	if err := w.over(); err != nil {
		return err
	}
	return w.check(true)
}

// over is why nobody needs to wait any more.
func (w *watch) over() error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.service.stopping() {
		return hub.ErrStopping
	}
	return nil
}

// check decides about the watches that could not be begun, or, at the start of the client's, that have
// not begun in time.
func (w *watch) check(starting bool) error {
	for node, far := range w.opened() {
		if !far.isSettled() && !starting || far.isSettled() && far.failure == nil {
			continue
		}
		if far.isSettled() {
			w.forget(node) // to be tried again
		}
		if err := w.missed(node, far.err()); err != nil {
			return err
		}
	}
	return nil
}

// missed is nil when a watch may go on without that node.
func (w *watch) missed(node hub.NodeID, err error) error {
	_, known := w.missing[node]
	_, inTable := w.service.peers.Node(node)
	switch {
	case hasLeft(err), !inTable:
		return nil
	case known, w.isSilent(node):
		w.missing[node] = struct{}{}
		return nil
	}
	return unreachable(node)
}

// retryMissing begins the watches on silent nodes anew.
func (w *watch) retryMissing() {
	for node := range w.missing {
		if _, inTable := w.service.peers.Node(node); !inTable {
			delete(w.missing, node)
			continue
		}
		if far := w.open(node); far.isSettled() && far.failure == nil {
			delete(w.missing, node) // from now on its loss ends the watch, like that of any other
		}
	}
}

func (w *watch) missingNodes() []string {
	var nodes []string
	for node := range w.missing {
		nodes = append(nodes, string(node))
	}
	slices.Sort(nodes)
	return nodes
}

func (w *watch) opened() map[hub.NodeID]*farWatch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.far)
}

func (w *watch) forget(node hub.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.far, node)
}

func (w *watch) isSilent(node hub.NodeID) bool {
	n, ok := w.service.peers.Node(node)
	return ok && n.State == hub.NodeSilent
}

// runningWatches are those that want to know of new nodes.
type runningWatches struct {
	mu      sync.Mutex
	watches map[*watch]struct{}
}

// add answers what ends it.
func (r *runningWatches) add(w *watch) (remove func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watches[w] = struct{}{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watches, w)
	}
}

func (r *runningWatches) all() []*watch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.watches))
}

package hub

import (
	"slices"
	"sync"
	"sync/atomic"
)

// WatchBuffer is how many bytes of events a watch may leave unread.
const WatchBuffer = 8 << 20

// eventOverhead is what an event counts in a watch's buffer beside its payload.
const eventOverhead = 256

// WatchFilter chooses events; a zero field matches all.
type WatchFilter struct {
	Namespace  string
	Namespaces []string // one of them; nil: any
	User       string
	ID         *ID
	Kinds      []Kind
}

func (f *WatchFilter) matches(e *Event) bool {
	return (f.Namespace == "" || f.Namespace == e.Conn.endpoint.Namespace) &&
		(f.Namespaces == nil || slices.Contains(f.Namespaces, e.Conn.endpoint.Namespace)) &&
		(f.User == "" || f.User == e.User) &&
		(f.ID == nil || f.ID.key == e.Conn.key) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind))
}

// Watch is a bounded buffer of the events that match a filter.
type Watch struct {
	filter WatchFilter
	owner  *watches
	ready  chan struct{} // has one element while there is something to take

	mu     sync.Mutex
	events []Event
	bytes  int // of events, and of those that the last Take answered: they are still being read
	taken  int
	err    error
}

// watches are the watches of a hub. Nobody pays for them while there are none.
type watches struct {
	list   atomic.Pointer[[]*Watch] // replaced, never changed
	lagged atomic.Uint64

	mu      sync.Mutex
	stopped bool
}

// Watch begins to collect events: every event published after it returned is seen. The caller must Stop
// it. It fails with ErrStopping after Shutdown.
func (h *Hub) Watch(f WatchFilter) (*Watch, error) {
	w := &Watch{filter: f, owner: &h.watches, ready: make(chan struct{}, 1)}
	return w, h.watches.add(w)
}

func (ws *watches) add(w *Watch) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.stopped {
		return ErrStopping
	}
	next := append(slices.Clone(ws.load()), w)
	ws.list.Store(&next)
	return nil
}

func (ws *watches) remove(w *Watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(ws.load()), func(o *Watch) bool { return o == w })
	ws.list.Store(&next)
}

func (ws *watches) load() []*Watch {
	if p := ws.list.Load(); p != nil {
		return *p
	}
	return nil
}

// deliver gives a copy of the event to each watch that it matches.
func (ws *watches) deliver(e *Event) {
	for _, w := range ws.load() {
		if w.filter.matches(e) {
			w.put(*e)
		}
	}
}

// end lets every watch drain and then fail with ErrStopping.
func (ws *watches) end() {
	ws.mu.Lock()
	ws.stopped = true
	ws.mu.Unlock()
	for _, w := range ws.load() {
		w.fail(ErrStopping)
	}
}

func (ws *watches) stats() (active, lagged uint64) {
	return uint64(len(ws.load())), ws.lagged.Load()
}

func (w *Watch) put(e Event) {
	size := eventOverhead + len(e.Payload)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	if w.bytes+size > WatchBuffer {
		w.err = ErrWatchLagged
		w.owner.lagged.Add(1)
		w.signal()
		return
	}
	e.Payload = slices.Clone(e.Payload)
	w.events = append(w.events, e)
	w.bytes += size
	w.signal()
}

func (w *Watch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.signal()
}

func (w *Watch) signal() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// Ready has an element when Take has something to say.
func (w *Watch) Ready() <-chan struct{} { return w.ready }

// Take answers the events collected since the last call. The error, once the events before it were
// taken, is ErrWatchLagged or ErrStopping and final.
func (w *Watch) Take() ([]Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := w.events
	w.bytes -= w.taken
	w.events, w.taken = nil, w.bytes
	if len(events) > 0 {
		if w.err != nil {
			w.signal()
		}
		return events, nil
	}
	return nil, w.err
}

// Stop ends the watch. It may be called more than once.
func (w *Watch) Stop() { w.owner.remove(w) }

package bus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// maxReplies is how many replies to one handshake may wait to be looked at. Whoever replies more is not
// listened to.
const maxReplies = 16

// handshakes asks backends whether clients may connect. The answers come on a subscription of their own, so
// that replies to open connections do not hold them up.
type handshakes struct {
	in *inbound

	mu     sync.Mutex
	asking map[string]*asking // by the text of the connection ID

	late   atomic.Uint64
	strays atomic.Uint64
}

// asking is one handshake that waits for an answer.
type asking struct {
	namespace string
	replies   chan *nats.Msg
}

// HandshakeStats are totals since the start, and the present.
type HandshakeStats struct {
	Asking int    // handshakes that wait for an answer
	Late   uint64 // answers to handshakes that do not wait any more
	Strays uint64 // replies that were no answers
}

func (hs *handshakes) serve(node hub.NodeID) error {
	if _, err := hs.in.nc.Subscribe(hs.in.subjects.Answers(node), hs.reply); err != nil {
		return fmt.Errorf("nats: subscribe to answers to handshakes: %w", err)
	}
	if err := hs.in.nc.FlushTimeout(hs.in.config.ConnectTimeout); err != nil {
		return fmt.Errorf("nats: subscribe to answers to handshakes: %w", err)
	}
	return nil
}

func (hs *handshakes) reply(m *nats.Msg) {
	namespace, id, ok := hs.in.subjects.ParseAnswer(m.Subject)
	hs.mu.Lock()
	a := hs.asking[id]
	hs.mu.Unlock()
	if !ok || a == nil || a.namespace != namespace {
		hs.late.Add(1)
		return
	}
	select {
	case a.replies <- m:
	default:
		hs.strays.Add(1)
	}
}

// AskHandshake publishes a handshake to the backends of its namespace and gives replies to take, until that says
// that one was an answer. It fails with hub.ErrNoBackend, hub.ErrBusAway, or the context's error.
func (b *Bus) AskHandshake(ctx context.Context, h *hub.Handshake, take func(reply []byte) bool) error {
	hs, namespace := b.inbound.handshakes, h.Endpoint.Namespace
	a := &asking{namespace, make(chan *nats.Msg, maxReplies)}
	hs.begin(h.ID, a)
	defer hs.end(h.ID)
	subjects := hs.in.subjects
	err := hs.in.nc.PublishRequest(subjects.Handshake(namespace), subjects.Answer(namespace, h.ID), AppendHandshake(nil, h))
	if err != nil {
		return fmt.Errorf("%w: %w", hub.ErrBusAway, err)
	}
	for {
		select {
		case m := <-a.replies:
			if isNoResponders(m) {
				return hub.ErrNoBackend
			}
			if take(m.Data) {
				return nil
			}
			hs.strays.Add(1)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (hs *handshakes) begin(id hub.ID, a *asking) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.asking[id.String()] = a
}

func (hs *handshakes) end(id hub.ID) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	delete(hs.asking, id.String())
}

// isNoResponders: the server itself answered.
func isNoResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}

func (hs *handshakes) stats() HandshakeStats {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return HandshakeStats{Asking: len(hs.asking), Late: hs.late.Load(), Strays: hs.strays.Load()}
}

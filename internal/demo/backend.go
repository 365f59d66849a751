package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc/codes"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const (
	// callTimeout bounds a call that needs no answer of a browser.
	callTimeout = 3 * time.Second
	// pageSize is how many connections one List answers with, the most that it allows.
	pageSize = 1000
	// sendManyMax is how many connections one SendMany takes.
	sendManyMax = 10_000
)

// backend is the demo's state: nothing that List would not bring back.
type backend struct {
	// static
	control   holdfastv1.ConnectionServiceClient
	bus       *nats.Conn
	namespace string
	log       *slog.Logger
	inbox     chan *nats.Msg
	stale     chan struct{}

	// actions under way
	calls sync.WaitGroup
	slots chan struct{}

	// owned by loop
	known    map[string]struct{} // IDs of open connections
	outdated bool                // the pages' list is older than what happened
	started  bool                // a first List has answered
	feed     feed
}

func newBackend(cfg Config, control holdfastv1.ConnectionServiceClient) *backend {
	b := &backend{
		control:   control,
		namespace: cfg.Namespace,
		log:       cfg.Logger,
		inbox:     make(chan *nats.Msg, eventBuffer),
		stale:     make(chan struct{}, 1),
		slots:     make(chan struct{}, maxCalls),
		known:     make(map[string]struct{}),
	}
	if b.namespace == "" {
		b.namespace = "default"
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	return b
}

// take handles one event: `holdfast.<namespace>.<kind>.<id>`.
func (b *backend) take(ctx context.Context, msg *nats.Msg) {
	parts := strings.Split(msg.Subject, ".")
	if len(parts) != 4 {
		return
	}
	kind, id := parts[2], parts[3]
	switch kind {
	case "close":
		delete(b.known, id)
		b.outdated = true
	case "open":
		b.outdated = true
		b.known[id] = struct{}{}
	default:
		b.known[id] = struct{}{}
	}
	if msg.Sub.Queue == "" {
		return // another member of the queue group, or we ourselves, will act on it
	}
	e := happened(msg, kind, id)
	switch kind {
	case "open":
		b.answer(ctx, id, welcome{"welcome", id})
	case "message":
		e.What = b.message(ctx, id, e.Seq, msg.Data)
	case "writable":
		// Its queue had refused something of ours.
		b.answer(ctx, id, notice{"notice", "This tab was too slow for a while: some lines are missing."})
		b.outdated = true
	}
	b.feed.add(e)
}

// list asks for all connections of the namespace, and takes them for the truth. Whatever it misses
// follows as an event, because the bus has our subscriptions first.
func (b *backend) list(ctx context.Context) (connections, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := b.bus.FlushWithContext(ctx); err != nil {
		return connections{}, fmt.Errorf("bus: %w", err)
	}
	known := make(map[string]struct{}, len(b.known))
	var rows []row
	req := &holdfastv1.ListRequest{Filter: &holdfastv1.Filter{Namespace: b.namespace}, PageSize: pageSize}
	for {
		page, err := b.control.List(ctx, req)
		if err != nil {
			return connections{}, err
		}
		for _, c := range page.GetConnections() {
			known[c.GetId()] = struct{}{}
			if len(rows) < maxRows {
				rows = append(rows, rowOf(c))
			}
		}
		for _, node := range page.GetUnreachableNodes() {
			keep(known, b.known, node)
		}
		if page.GetNextPageToken() == "" {
			break
		}
		req.PageToken = page.GetNextPageToken()
	}
	b.known = known
	return newConnections(rows, len(known)), nil
}

// keep copies what is known of a node that could not be asked; an ID begins with its node.
func keep(to, from map[string]struct{}, node string) {
	for id := range from {
		if strings.HasPrefix(id, node+"-") {
			to[id] = struct{}{}
		}
	}
}

// everyone sends v to all connections.
func (b *backend) everyone(ctx context.Context, v any) {
	ids := make([]string, 0, len(b.known))
	for id := range b.known {
		ids = append(ids, id)
	}
	message := textOf(v)
	for len(ids) > 0 {
		n := min(len(ids), sendManyMax)
		b.sendMany(ctx, ids[:n], message)
		ids = ids[n:]
	}
}

// sendMany forgets those that are gone. A full queue needs nothing: `writable` follows.
func (b *backend) sendMany(ctx context.Context, ids []string, message *holdfastv1.Message) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := b.control.SendMany(ctx, &holdfastv1.SendManyRequest{ConnectionIds: ids, Message: message})
	if err != nil {
		b.log.Debug("demo: send to everyone", "error", err)
		return
	}
	for _, failure := range answer.GetFailures() {
		if codes.Code(failure.GetCode()) == codes.NotFound {
			delete(b.known, failure.GetConnectionId())
		}
	}
}

// answer sends v to one connection. Nobody is told when that fails: whom it concerns is not there.
func (b *backend) answer(ctx context.Context, id string, v any) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := b.control.Send(ctx, &holdfastv1.SendRequest{ConnectionId: id, Message: textOf(v)}); err != nil {
		b.log.Debug("demo: answer", "connection", id, "error", err)
	}
}

// textOf is v as a text message. Everything that is sent here can be encoded.
func textOf(v any) *holdfastv1.Message {
	text, err := json.Marshal(v)
	if err != nil {
		text = []byte(`{"type":"notice","text":"the demo backend could not encode its answer"}`)
	}
	return &holdfastv1.Message{Payload: &holdfastv1.Message_Text{Text: string(text)}}
}

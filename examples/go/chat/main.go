// Chat: what one client writes, every open connection of the namespace reads. Run one of it; when it is
// restarted it asks the broker who is there, and no client loses its connection.
//
//	go run ./examples/go/chat --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// chat has no state that List would not bring back, so there is nothing to save when it is stopped.
type chat struct {
	broker holdfastv1.ConnectionServiceClient
	here   map[string]struct{} // connection IDs
}

func main() {
	control := flag.String("control", cmp.Or(os.Getenv("HOLDFAST_CONTROL"), "127.0.0.1:7400"), "gRPC `address`")
	natsURL := flag.String("nats", cmp.Or(os.Getenv("HOLDFAST_NATS"), "nats://127.0.0.1:4222"), "NATS `URL`")
	namespace := flag.String("namespace", cmp.Or(os.Getenv("HOLDFAST_NAMESPACE"), "default"), "`name`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	conn := must(grpc.NewClient(*control, grpc.WithTransportCredentials(insecure.NewCredentials())))
	bus := must(nats.Connect(*natsURL, nats.MaxReconnects(-1)))
	c := chat{broker: holdfastv1.NewConnectionServiceClient(conn), here: make(map[string]struct{})}

	// First listen, then look, so that nobody who comes in between is overlooked. One subscription has
	// the events of a connection in order: open, its messages, close.
	events := must(bus.SubscribeSync("holdfast." + *namespace + ".*.*"))
	must(0, bus.Flush())
	c.look(*namespace)
	fmt.Printf("chatting in the namespace %s, %d there\n", *namespace, len(c.here))
	for {
		msg, err := events.NextMsgWithContext(ctx)
		if ctx.Err() != nil {
			return
		}
		c.hear(must(msg, err))
	}
}

// look asks who is there, page by page.
func (c chat) look(namespace string) {
	request := &holdfastv1.ListRequest{Filter: &holdfastv1.Filter{Namespace: namespace}}
	for more := true; more; more = request.PageToken != "" {
		page := must(c.broker.List(context.Background(), request))
		for _, connection := range page.GetConnections() {
			c.here[connection.GetId()] = struct{}{}
		}
		request.PageToken = page.GetNextPageToken()
	}
}

// hear takes one event: holdfast.<namespace>.<kind>.<id>.
func (c chat) hear(msg *nats.Msg) {
	parts := strings.Split(msg.Subject, ".")
	switch kind, id := parts[2], parts[3]; kind {
	case "open":
		c.here[id] = struct{}{}
		c.say("* " + nameOf(id) + " has joined")
	case "message":
		c.say(nameOf(id) + ": " + strings.ToValidUTF8(string(msg.Data), "\uFFFD"))
	case "close":
		if _, known := c.here[id]; known {
			delete(c.here, id)
			c.say("* " + nameOf(id) + " has left")
		}
	}
}

// say sends a line to everyone. Who has left meanwhile is no news: the close event follows. Who reads
// too slowly misses lines (SEND_QUEUE_FULL), and nobody waits for them.
func (c chat) say(line string) {
	message := &holdfastv1.Message{Payload: &holdfastv1.Message_Text{Text: line}}
	for ids := range slices.Chunk(slices.Collect(maps.Keys(c.here)), 10_000) { // SendMany takes no more
		request := &holdfastv1.SendManyRequest{ConnectionIds: ids, Message: message}
		if _, err := c.broker.SendMany(context.Background(), request); err != nil {
			slog.Warn("not sent", "error", err)
		}
	}
}

func nameOf(id string) string { return "guest-" + id[len(id)-4:] }

// must ends the program on an error: another start, and it goes on where it was.
func must[T any](value T, err error) T {
	if err != nil {
		slog.Error("cannot go on", "error", err)
		os.Exit(1)
	}
	return value
}

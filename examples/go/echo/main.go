// Echo sends every message back to the connection it came from. Start several: the queue group "echo"
// gives each message to one of them. Stop and restart them as you like: no client loses its connection.
//
//	go run ./examples/go/echo --control 127.0.0.1:7400 --nats nats://127.0.0.1:4222 --namespace default
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func main() {
	control := flag.String("control", cmp.Or(os.Getenv("HOLDFAST_CONTROL"), "127.0.0.1:7400"), "gRPC `address`")
	natsURL := flag.String("nats", cmp.Or(os.Getenv("HOLDFAST_NATS"), "nats://127.0.0.1:4222"), "NATS `URL`")
	namespace := flag.String("namespace", cmp.Or(os.Getenv("HOLDFAST_NAMESPACE"), "default"), "`name`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	conn := must(grpc.NewClient(*control, grpc.WithTransportCredentials(insecure.NewCredentials())))
	broker := holdfastv1.NewConnectionServiceClient(conn)
	closed := make(chan struct{})
	bus := must(nats.Connect(*natsURL, nats.MaxReconnects(-1), nats.ClosedHandler(func(*nats.Conn) { close(closed) })))

	// The last token of the subject is the connection's ID.
	// Over NATS alone, msg.Respond(msg.Data) would do the same.
	must(bus.QueueSubscribe("holdfast."+*namespace+".message.*", "echo", func(msg *nats.Msg) {
		id := msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:]
		echo := &holdfastv1.Message{Payload: &holdfastv1.Message_Binary{Binary: msg.Data}}
		if msg.Header.Get("Holdfast-Opcode") == "text" {
			echo.Payload = &holdfastv1.Message_Text{Text: string(msg.Data)}
		}
		if _, err := broker.Send(context.Background(), &holdfastv1.SendRequest{ConnectionId: id, Message: echo}); err != nil {
			slog.Warn("not echoed", "connection", id, "error", err) // it has left, or it reads too slowly
		}
	}))
	must(0, bus.Flush()) // from here on the server gives us every message
	fmt.Println("echoing the namespace", *namespace)

	<-ctx.Done()
	must(0, bus.Drain()) // answer what has come already
	<-closed
}

// must ends the program on an error.
func must[T any](value T, err error) T {
	if err != nil {
		slog.Error("cannot go on", "error", err)
		os.Exit(1)
	}
	return value
}

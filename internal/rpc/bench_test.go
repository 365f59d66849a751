package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// loopback is a server on TCP: what a backend beside the broker sees. Client and server share the
// process, so allocations are of both.
func loopback(b *testing.B) (holdfastv1.ConnectionServiceClient, string) {
	b.Helper()
	h := hub.New(hub.NewNodeID(), &hubtest.Publisher{})
	s := New(h, Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = conn.Close()
		s.Stop(context.Background())
	})
	socket := &hubtest.Socket{Discard: true}
	c, err := socket.Open(h, chat)
	if err != nil {
		b.Fatal(err)
	}
	return holdfastv1.NewConnectionServiceClient(conn), c.ID().String()
}

var hundred = string(make([]byte, 100))

func BenchmarkSend(b *testing.B) {
	client, id := loopback(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Send(b.Context(), send(id, text(hundred))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSendParallel(b *testing.B) {
	client, id := loopback(b)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.Send(b.Context(), send(id, text(hundred))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkSendStream measures one send in batches of 64.
func BenchmarkSendStream(b *testing.B) {
	client, id := loopback(b)
	stream, err := client.SendStream(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	batch := &holdfastv1.SendStreamRequest{}
	for range 64 {
		batch.Sends = append(batch.Sends, send(id, text(hundred)))
	}
	answered := make(chan error, 1)
	go func() {
		for {
			if _, err := stream.Recv(); err != nil {
				answered <- err
				return
			}
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += len(batch.Sends) {
		if err := stream.Send(batch); err != nil {
			b.Fatal(err)
		}
	}
	_ = stream.CloseSend()
	if err := <-answered; !errors.Is(err, io.EOF) {
		b.Fatal(err)
	}
}

// BenchmarkMethod measures Send without gRPC and protobuf: what is ours.
func BenchmarkMethod(b *testing.B) {
	h := hub.New(hub.NewNodeID(), &hubtest.Publisher{})
	s := New(h, Config{})
	defer s.Stop(context.Background())
	socket := &hubtest.Socket{Discard: true}
	c, err := socket.Open(h, chat)
	if err != nil {
		b.Fatal(err)
	}
	req := send(c.ID().String(), text(hundred))
	info := &grpc.UnaryServerInfo{FullMethod: servicePrefix + "Send"}
	route := func(ctx context.Context, req any) (any, error) {
		return s.routeUnary(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			return s.service.Send(ctx, req.(*holdfastv1.SendRequest))
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.observeUnary(b.Context(), req, info, route); err != nil {
			b.Fatal(err)
		}
	}
}

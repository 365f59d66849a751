//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// pusher is grpc-go with the broker's schema, a map, and a write for each message. Who connects is a member of every
// group.
type pusher struct {
	holdfastv1.UnimplementedConnectionServiceServer

	mu      sync.RWMutex
	sockets map[string]int // descriptors, by ID
	all     []int
	urls    map[string]string
}

type fanner struct {
	holdfastv1.UnimplementedGroupServiceServer
	*pusher
}

func servePush(l net.Listener, _ *options) error {
	control, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p := &pusher{sockets: map[string]int{}, urls: map[string]string{}}
	server := grpc.NewServer()
	holdfastv1.RegisterConnectionServiceServer(server, p)
	holdfastv1.RegisterGroupServiceServer(server, fanner{pusher: p})
	go func() { _ = server.Serve(control) }()
	ready(l.Addr(), control.Addr())
	return serveHTTP(l, p.add)
}

// add keeps the socket, and never reads it.
func (p *pusher) add(conn net.Conn, r *http.Request) {
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		own, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return
		}
		id := "bare-nodes-" + r.URL.Query().Get("n")
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sockets[id], p.urls[id] = own, r.URL.String()
		p.all = append(p.all, own)
	})
}

func (p *pusher) List(context.Context, *holdfastv1.ListRequest) (*holdfastv1.ListResponse, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	answer := &holdfastv1.ListResponse{}
	for id, url := range p.urls {
		answer.Connections = append(answer.Connections, &holdfastv1.Connection{Id: id, Url: url})
	}
	return answer, nil
}

func (p *pusher) Count(context.Context, *holdfastv1.CountRequest) (*holdfastv1.CountResponse, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return &holdfastv1.CountResponse{Count: uint64(len(p.all))}, nil
}

func (p *pusher) Send(_ context.Context, req *holdfastv1.SendRequest) (*holdfastv1.SendResponse, error) {
	if !p.send(req) {
		return nil, status.Error(codes.NotFound, "not found or full")
	}
	return &holdfastv1.SendResponse{}, nil
}

func (p *pusher) SendStream(stream grpc.BidiStreamingServer[holdfastv1.SendStreamRequest, holdfastv1.SendStreamResponse]) error {
	for {
		batch, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer := &holdfastv1.SendStreamResponse{BatchId: batch.BatchId}
		for i, req := range batch.Sends {
			if !p.send(req) {
				answer.Failures = append(answer.Failures, &holdfastv1.SendFailure{Index: uint32(i)})
			}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (p *pusher) send(req *holdfastv1.SendRequest) bool {
	p.mu.RLock()
	fd, found := p.sockets[req.ConnectionId]
	p.mu.RUnlock()
	if !found {
		return false
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	return write(fd, wire.AppendFrame((*buf)[:0], wire.Binary, true, req.Message.GetBinary()))
}

func (f fanner) AddMembers(_ context.Context, req *holdfastv1.AddMembersRequest) (*holdfastv1.AddMembersResponse, error) {
	return &holdfastv1.AddMembersResponse{Succeeded: uint32(len(req.ConnectionIds))}, nil
}

// Publish writes one frame to all sockets, with all cores.
func (f fanner) Publish(_ context.Context, req *holdfastv1.PublishRequest) (*holdfastv1.PublishResponse, error) {
	frame := wire.AppendFrame(nil, wire.Binary, true, req.Message.GetBinary())
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := len(f.all)
	var parts sync.WaitGroup
	for i := range runtime.GOMAXPROCS(0) {
		part := f.all[i*n/runtime.GOMAXPROCS(0) : (i+1)*n/runtime.GOMAXPROCS(0)]
		parts.Go(func() {
			for _, fd := range part {
				_ = write(fd, frame)
			}
		})
	}
	parts.Wait()
	return &holdfastv1.PublishResponse{Matched: uint64(n), Succeeded: uint64(n)}, nil
}

package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// pair is the router of two nodes, each of which reaches the other by gRPC. It shows that the seam is
// enough for a cluster: no method knows of it.
type pair struct {
	other   *broker
	streams []string
}

func (p *pair) Forward(ctx context.Context, node hub.NodeID, method string, req proto.Message) (any, error) {
	if node != p.other.hub.Node() {
		return nil, hub.ErrGone
	}
	switch r := req.(type) {
	case *holdfastv1.SendRequest:
		return p.other.client.Send(ctx, r)
	case *holdfastv1.GetRequest:
		return p.other.client.Get(ctx, r)
	}
	return nil, errors.New("not forwarded: " + method)
}

func (p *pair) Gather(ctx context.Context, _ string, req proto.Message, local grpc.UnaryHandler) (any, error) {
	here, err := local(ctx, req)
	count, ok := here.(*holdfastv1.CountResponse)
	if err != nil || !ok {
		return here, err
	}
	there, err := p.other.server.service.Count(ctx, req.(*holdfastv1.CountRequest))
	if err != nil {
		return nil, err
	}
	return &holdfastv1.CountResponse{Count: count.Count + there.Count}, nil
}

func (p *pair) Stream(service any, stream grpc.ServerStream, method string, local grpc.StreamHandler) error {
	p.streams = append(p.streams, method)
	return local(service, stream)
}

func TestRouterTakesWhatIsNotOurs(t *testing.T) {
	router := &pair{other: start(t, Config{})}
	b := start(t, Config{Router: router})
	here, _ := b.open(t)
	there, s := router.other.open(t)
	for _, id := range []string{here, there} {
		got, err := b.client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: id})
		if err != nil || got.Connection.Id != id || !strings.HasPrefix(id, got.Connection.Node) {
			t.Errorf("get %s: %v, %v", id, got, err)
		}
		if _, err := b.client.Send(t.Context(), send(id, text("hi"))); err != nil {
			t.Error(err)
		}
	}
	s.Refuse(hub.ErrQueueFull)
	_, err := b.client.Send(t.Context(), send(there, text("hi")))
	if md := wantRefusal(t, err, hub.SendQueueFull); md["connection_id"] != there || md["buffered_amount"] != "2" {
		t.Errorf("the other node's detail was lost: %v", md)
	}
	_, err = b.client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: someID.String()})
	wantRefusal(t, err, hub.ConnectionGone)
	_, err = b.client.Terminate(t.Context(), &holdfastv1.TerminateRequest{ConnectionId: there})
	wantRefusal(t, err, hub.InternalError)
	if n, err := b.client.Count(t.Context(), &holdfastv1.CountRequest{}); err != nil || n.Count != 2 {
		t.Errorf("count %v, %v", n, err)
	}
	b.sendStream(t, t.Context()).end()
	if got := fmt.Sprint(router.streams); got != "["+servicePrefix+"SendStream]" {
		t.Errorf("streams %s", got)
	}
}

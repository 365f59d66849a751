package rpc

import (
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Another node may be speaking for the connections of one that is frozen.
func TestFrozenNodeTakesNoCommand(t *testing.T) {
	b := start(t, Config{})
	id, _ := b.open(t)
	b.hub.SetFrozen(true)
	calls := map[string]func() error{
		"Send": func() error {
			_, err := b.client.Send(t.Context(), &holdfastv1.SendRequest{ConnectionId: id, Message: text("hi")})
			return err
		},
		"Get": func() error {
			_, err := b.client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: id})
			return err
		},
		"List": func() error {
			_, err := b.client.List(t.Context(), &holdfastv1.ListRequest{})
			return err
		},
		"Watch": func() error {
			stream, err := b.client.Watch(t.Context(), &holdfastv1.WatchRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"Publish": func() error {
			_, err := holdfastv1.NewGroupServiceClient(b.conn).Publish(t.Context(), &holdfastv1.PublishRequest{Target: group("room"), Message: text("hi")})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) { wantRefusal(t, call(), hub.BusUnavailable) })
	}
	if _, err := holdfastv1.NewNodeServiceClient(b.conn).ListNodes(t.Context(), &holdfastv1.ListNodesRequest{}); err != nil {
		t.Errorf("ListNodes, which shows that it is frozen: %v", err)
	}
}

package main_test

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// What one caller sends on one stream to clients of all nodes arrives at each in order, whichever node it
// talks to.
func TestNodesKeepTheOrderOfAStream(t *testing.T) {
	c := newTrio(t)
	const batches, perBatch = 50, 30
	for via := range c.brokers {
		members := c.dialEach("/")
		stream, err := c.conns(via).SendStream(c.patient())
		if err != nil {
			t.Fatal(err)
		}
		for n := range batches {
			batch := &holdfastv1.SendStreamRequest{BatchId: uint64(n)}
			for i := range perBatch {
				batch.Sends = append(batch.Sends, &holdfastv1.SendRequest{
					ConnectionId: members[i%3].id, Message: text(strconv.Itoa(n*perBatch + i)),
				})
			}
			if err := stream.Send(batch); err != nil {
				t.Fatal(err)
			}
		}
		for range batches {
			answer, err := stream.Recv()
			if err != nil || len(answer.Failures) > 0 {
				t.Fatalf("%v, %v", answer, err)
			}
		}
		_ = stream.CloseSend()
		for i, m := range members {
			for n := i; n < batches*perBatch; n += 3 {
				m.Expect(wire.Text, strconv.Itoa(n))
			}
		}
	}
}

// What a caller cancels ends at every node.
func TestNodesHearOfACancelledCall(t *testing.T) {
	c := newTrio(t)
	watches := func(want string) func() bool {
		return func() bool {
			return !slices.ContainsFunc(c.brokers, func(b *brokertest.Broker) bool {
				return metric(t, b, "holdfast_watches") != want
			})
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch, err := c.conns(0).Watch(ctx, &holdfastv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if started, err := watch.Recv(); err != nil || started.GetStarted() == nil {
		t.Fatal(started, err)
	}
	eventually(t, "watch at every node", watches("1"))
	cancel()
	eventually(t, "end of the watch at every node", watches("0"))

	// A message in fragments belongs to its stream: its owner gives it up when the caller is gone.
	peer := c.dial(1, "/")
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	stream, err := c.conns(0).SendStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := text("never ended")
	first.More = true
	if err := stream.Send(&holdfastv1.SendStreamRequest{Sends: []*holdfastv1.SendRequest{{ConnectionId: peer.id, Message: first}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	begin := time.Now()
	peer.ExpectClose(wire.InternalError)
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("the stream's end reached the owner after %v: only when the fragment's own time was over", took)
	}
}

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/holdfast-broker/holdfast/bench/client"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const (
	pushConns    = 1000
	streams      = 4
	batchSize    = 64
	openBatches  = 4 // per stream, without their answer
	unaryCallers = 32
)

// target is a connection as a backend knows it, with the next message for it.
type target struct {
	id    string
	index uint32
	seq   uint64
}

func (t *target) request() *holdfastv1.SendRequest {
	stamp := client.Stamp{Index: t.index, Seq: t.seq, Sent: client.Now()}
	t.seq++
	return &holdfastv1.SendRequest{ConnectionId: t.id, Message: &holdfastv1.Message{
		Payload: &holdfastv1.Message_Binary{Binary: stamp.AppendMessage(nil, messageSize)},
	}}
}

// caller pushes to targets of its own, so that their order is known, until the context ends.
type caller struct {
	api     holdfastv1.ConnectionServiceClient
	targets []*target
	next    int
	stop    <-chan struct{}

	answered client.Histogram // of calls or batches
	failed   uint64
}

func (c *caller) request() *holdfastv1.SendRequest {
	t := c.targets[c.next%len(c.targets)]
	c.next++
	return t.request()
}

func (c *caller) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// calls is unary sends, one after the other.
func (c *caller) calls(ctx context.Context) error {
	for !c.stopped() {
		asked := client.Now()
		if _, err := c.api.Send(ctx, c.request()); err != nil {
			c.failed++
			return fmt.Errorf("send: %w", err)
		}
		c.answered.Record(client.Now() - asked)
	}
	return nil
}

// stream keeps batches under way on one stream.
func (c *caller) stream(ctx context.Context) error {
	stream, err := c.api.SendStream(ctx)
	if err != nil {
		return fmt.Errorf("send stream: %w", err)
	}
	room := make(chan struct{}, openBatches)
	answers := make(chan error, 1)
	go func() { answers <- c.answers(stream, room) }()
	for !c.stopped() {
		select {
		case room <- struct{}{}:
		case err := <-answers:
			return fmt.Errorf("send stream ended: %w", err)
		}
		batch := &holdfastv1.SendStreamRequest{BatchId: uint64(client.Now())}
		for range batchSize {
			batch.Sends = append(batch.Sends, c.request())
		}
		if err := stream.Send(batch); err != nil {
			return fmt.Errorf("send stream: %w", err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return fmt.Errorf("send stream: %w", err)
	}
	if err := <-answers; !errors.Is(err, io.EOF) {
		return fmt.Errorf("send stream ended: %w", err)
	}
	if open := len(room); open > 0 {
		return fmt.Errorf("send stream ended without the answers to %d batches", open)
	}
	return nil
}

func (c *caller) answers(stream grpc.BidiStreamingClient[holdfastv1.SendStreamRequest, holdfastv1.SendStreamResponse],
	room <-chan struct{},
) error {
	for {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		c.failed += uint64(len(answer.Failures))
		c.answered.Record(client.Now() - int64(answer.BatchId))
		<-room
	}
}

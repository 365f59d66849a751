package rpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// maxOpenBatches is how many batches of a SendStream may be open before it is not read.
const maxOpenBatches = 64

// sendStream is one SendStream. Its call answers batches as they complete; a second goroutine receives
// them and gives them to the core and to the other nodes, so that an answer never waits for the next
// request. It may outlive the call for the moment in which Recv learns of its end.
type sendStream struct {
	service *service
	stream  grpc.BidiStreamingServer[holdfastv1.SendStreamRequest, holdfastv1.SendStreamResponse]

	slots    chan struct{} // has one element for each open batch
	complete chan *batch   // has room for every open batch, so that no callback blocks
	ended    chan error    // why nothing more is received; io.EOF when the client closed its side

	// owned by receive
	feeder feeder
	far    farStream
}

// batch is one request of a SendStream on its way to its answer.
type batch struct {
	tally
	id uint64
	// owned by receive
	sends  []*holdfastv1.SendRequest
	size   int                 // of the request, in bytes: what is kept of a send may keep all of it
	seen   int                 // failures that failed knows of
	failed map[string]struct{} // connections; nil while nothing has failed
}

// SendStream sends in batches.
func (s *service) SendStream(stream grpc.BidiStreamingServer[holdfastv1.SendStreamRequest, holdfastv1.SendStreamResponse]) error {
	c := callerOf(stream.Context())
	st := &sendStream{
		service: s, stream: stream,
		slots: make(chan struct{}, maxOpenBatches), complete: make(chan *batch, maxOpenBatches),
		ended: make(chan error, 1), feeder: s.newFeeder(c), far: farStream{service: s, caller: c},
	}
	s.background.Go(func() { st.ended <- st.receive() })
	return st.answer(stream.Context())
}

// answer sends the answers until the client has closed its side and has them all.
func (st *sendStream) answer(ctx context.Context) error {
	ended, open := st.ended, true
	for open || len(st.slots) > 0 {
		select {
		case b := <-st.complete:
			if err := st.stream.Send(b.response()); err != nil {
				return err
			}
			<-st.slots
		case err := <-ended:
			if !errors.Is(err, io.EOF) {
				return err
			}
			ended, open = nil, false
		case <-ctx.Done():
			return ctx.Err()
		case <-st.service.stop:
			return st.answerLast()
		}
	}
	return nil
}

// answerLast sends what has completed before the server stops.
func (st *sendStream) answerLast() error {
	for {
		select {
		case b := <-st.complete:
			if err := st.stream.Send(b.response()); err != nil {
				return err
			}
		default:
			return hub.ErrStopping
		}
	}
}

// receive takes batches in until the client or the call ends. No message can be continued then.
func (st *sendStream) receive() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = st.service.recovery.refuse(holdfastv1.ConnectionService_SendStream_FullMethodName, p)
		}
	}()
	ctx := st.stream.Context()
	defer func() {
		st.feeder.abandon()
		st.far.end(ctx)
	}()
	for {
		select {
		case st.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		req := &batchRequest{}
		if err := st.stream.RecvMsg(req); err != nil {
			<-st.slots
			return err
		}
		st.send(req)
		st.service.spending.pace(ctx, callerOf(ctx), req.SendStreamRequest, st.service.stop)
	}
}

// send gives a batch to the core and what is not its own to other nodes. It completes now if nothing in
// it waits.
func (st *sendStream) send(req *batchRequest) {
	b := &batch{id: req.GetBatchId(), sends: req.GetSends(), size: req.size}
	b.finished = func() { st.complete <- b }
	b.begin()
	st.feeder.feed(b, st.far.keep())
	st.far.begin(st.stream.Context(), b, req.SendStreamRequest)
	b.end()
}

// lends: to keep that payload would be to keep much more.
func (b *batch) lends(payload []byte) bool { return len(payload) < b.size/2 }

// hasFailed reports whether an earlier send of the batch to that connection is known to have failed.
func (b *batch) hasFailed(id string) bool {
	for _, f := range b.since(b.seen) {
		if b.failed == nil {
			b.failed = make(map[string]struct{})
		}
		b.failed[b.sends[f.index].GetConnectionId()] = struct{}{}
		b.seen++
	}
	_, ok := b.failed[id]
	return ok
}

func (b *batch) response() *holdfastv1.SendStreamResponse {
	resp := &holdfastv1.SendStreamResponse{BatchId: b.id}
	for n, f := range b.byIndex() {
		resp.Failures = append(resp.Failures, &holdfastv1.SendFailure{
			Index: uint32(f.index), Code: int32(f.class.code), Reason: f.class.reason, Message: f.textOf(n),
		})
	}
	return resp
}

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

// maxTexts bounds the part of an answer that is for people: a batch can hold 200,000 sends, and a stock
// client accepts no answer of more than 4 MiB.
const maxTexts = 1000

// textOf is the text of the n-th failure of an answer.
func textOf(n int, err *hub.Error) string {
	if n < maxTexts {
		return err.Text
	}
	return ""
}

// sendStream is one SendStream. Its call answers batches as they complete; a second goroutine receives
// them and gives them to the core, so that an answer never waits for the next request. It may outlive
// the call for the moment in which Recv learns of its end.
type sendStream struct {
	service *service
	stream  grpc.BidiStreamingServer[holdfastv1.SendStreamRequest, holdfastv1.SendStreamResponse]

	slots    chan struct{} // has one element for each open batch
	complete chan *batch   // has room for every open batch, so that no callback blocks
	ended    chan error    // why nothing more is received; io.EOF when the client closed its side

	// owned by receive
	unfinished map[string]unfinished // by connection ID
}

// unfinished is a message in fragments that belongs to a stream.
type unfinished struct {
	conn     *hub.Conn
	fragment uint64
	opcode   hub.Opcode
}

// batch is one request of a SendStream on its way to its answer.
type batch struct {
	tally
	id uint64
	// owned by receive
	sends  []*holdfastv1.SendRequest
	seen   int                 // failures that failed knows of
	failed map[string]struct{} // connections; nil while nothing has failed
}

// SendStream sends in batches.
func (s *service) SendStream(stream grpc.BidiStreamingServer[holdfastv1.SendStreamRequest, holdfastv1.SendStreamResponse]) error {
	st := &sendStream{
		service: s, stream: stream,
		slots: make(chan struct{}, maxOpenBatches), complete: make(chan *batch, maxOpenBatches),
		ended: make(chan error, 1), unfinished: make(map[string]unfinished),
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
	defer func() {
		for _, u := range st.unfinished {
			u.conn.Abandon(u.fragment)
		}
	}()
	ctx := st.stream.Context()
	for {
		select {
		case st.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		req, err := st.stream.Recv()
		if err != nil {
			<-st.slots
			return err
		}
		st.send(req)
	}
}

// send gives a batch to the core. It completes now if nothing in it waits for a confirmation.
func (st *sendStream) send(req *holdfastv1.SendStreamRequest) {
	b := &batch{id: req.GetBatchId(), sends: req.GetSends()}
	b.finished = func() { st.complete <- b }
	b.begin()
	messages := make([]hub.Message, len(b.sends))
	for i, r := range b.sends {
		if err := st.sendOne(b, i, r, &messages[i]); err != nil {
			b.fail(i, err)
		}
	}
	b.end()
}

func (st *sendStream) sendOne(b *batch, index int, r *holdfastv1.SendRequest, m *hub.Message) error {
	id := r.GetConnectionId()
	if b.hasFailed(id) {
		return hub.ErrSkipped
	}
	c, err := st.service.hub.Lookup(id)
	if err != nil {
		delete(st.unfinished, id)
		return err
	}
	if err := readSend(m, r); err != nil {
		return err
	}
	if f := r.GetMessage().GetFragmentId(); f != "" {
		return invalidFragment(f, "empty: the next send of the stream to the connection continues its message")
	}
	if err := st.proceed(id, m); err != nil {
		return err
	}
	sent, err := b.give(index, c, m, r.GetRequestId())
	st.remember(id, c, m, sent, err)
	return err
}

// proceed makes m a fragment of the connection's unfinished message, if there is one.
func (st *sendStream) proceed(id string, m *hub.Message) error {
	u, ok := st.unfinished[id]
	if !ok {
		return nil
	}
	if u.opcode != m.Opcode { // refused here, so that a refusal by the socket means that the message is gone
		return hub.Invalid(hub.InvalidFragment, "message", m.Opcode.String(), "a fragment of the kind of the first, "+u.opcode.String())
	}
	m.Fragment = u.fragment
	return nil
}

// remember keeps which message of the connection is unfinished now. After a refusal for want of room
// the same fragment can be tried again; when the message is gone the next send begins a new one.
func (st *sendStream) remember(id string, c *hub.Conn, m *hub.Message, sent hub.Sent, err error) {
	switch {
	case err == nil && m.More:
		st.unfinished[id] = unfinished{c, sent.Fragment, m.Opcode}
	case err == nil && m.Fragment != 0, errors.Is(err, gone), errors.Is(err, hub.ErrClosing):
		delete(st.unfinished, id)
	}
}

// gone is how a socket refuses a fragment of a message that it no longer has, or never had.
var gone = &hub.Error{Reason: hub.InvalidFragment}

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
		cl := classes[f.err.Reason]
		resp.Failures = append(resp.Failures, &holdfastv1.SendFailure{
			Index: uint32(f.index), Code: int32(cl.code), Reason: cl.reason, Message: textOf(n, f.err),
		})
	}
	return resp
}

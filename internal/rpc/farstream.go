package rpc

import (
	"context"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// endLimit is how long the end of a stream may take to reach another node.
const endLimit = 2 * time.Second

// farStream is what a SendStream knows of the nodes that it has reached. It is used by the goroutine that
// receives, whose calls to one node keep their order.
type farStream struct {
	service *service
	caller  *caller               // whose stream it is; nil: may do everything
	number  uint64                // of the stream; 0 before its first send to another node
	seqs    map[hub.NodeID]uint64 // calls begun

	// of the batch at hand
	parts []*part
	last  *part
}

// part is what of a batch goes to one node.
type part struct {
	node    hub.NodeID
	indexes []int
}

// keep begins a batch: it answers what tells the sends for this node from those for others, which it
// sets aside.
func (f *farStream) keep() func(int, *holdfastv1.SendRequest) bool {
	f.parts, f.last = nil, nil
	return func(index int, r *holdfastv1.SendRequest) bool {
		id := r.GetConnectionId()
		if f.service.owns(id) {
			return true
		}
		node, elsewhere := f.service.ownerElsewhere(id)
		if elsewhere {
			p := f.part(node)
			p.indexes = append(p.indexes, index)
		}
		return !elsewhere
	}
}

// part finds the part for a node: mostly the one that was found before.
func (f *farStream) part(node hub.NodeID) *part {
	if f.last != nil && f.last.node == node {
		return f.last
	}
	for _, p := range f.parts {
		if p.node == node {
			f.last = p
			return p
		}
	}
	f.last = &part{node: node}
	f.parts = append(f.parts, f.last)
	return f.last
}

// begin sends the parts that were set aside to their nodes.
func (f *farStream) begin(ctx context.Context, b *batch, req *holdfastv1.SendStreamRequest) {
	for _, p := range f.parts {
		if len(p.indexes) < len(b.sends) {
			req = &holdfastv1.SendStreamRequest{Sends: make([]*holdfastv1.SendRequest, len(p.indexes))}
			for i, index := range p.indexes {
				req.Sends[i] = b.sends[index]
			}
		}
		f.beginPart(ctx, b, p, req)
	}
}

func (f *farStream) beginPart(ctx context.Context, b *batch, p *part, req *holdfastv1.SendStreamRequest) {
	request, err := f.call(callBatch, p.node).encode(req)
	if err != nil {
		b.failPart(p.indexes, err)
		return
	}
	settle := b.expectPart(p.indexes)
	f.service.peers.Begin(ctx, p.node, request, func(part []byte, more bool, err error) {
		if more && err == nil {
			return
		}
		if err == nil && len(part) == 1 && part[0] == partResponse { // as it mostly is: no failures
			settle(nil, nil)
			return
		}
		resp := &holdfastv1.SendStreamResponse{}
		if err == nil {
			err = readAnswer(part, resp)
		}
		settle(resp.GetFailures(), err)
	})
}

// call numbers the next call to a node.
func (f *farStream) call(kind callKind, node hub.NodeID) *envelope {
	if f.number == 0 {
		f.number = f.service.streams.Add(1)
		f.seqs = make(map[hub.NodeID]uint64)
	}
	c := &envelope{kind: kind, caller: f.caller.bytes(), stream: f.number, seq: f.seqs[node]}
	f.seqs[node]++
	return c
}

// end tells the nodes that nothing follows, so that they give up unfinished messages now. ctx may have
// ended. Nobody waits for it: a node that does not hear it finds out by itself.
func (f *farStream) end(ctx context.Context) {
	for node := range f.seqs {
		request, err := f.call(callEnd, node).encode((*holdfastv1.SendStreamRequest)(nil))
		if err != nil {
			continue
		}
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
		f.service.peers.Begin(limited, node, request, func(_ []byte, more bool, err error) {
			if !more || err != nil {
				cancel()
			}
		})
	}
}

// failPart fails every send of a part.
func (t *tally) failPart(indexes []int, err error) {
	for _, index := range indexes {
		t.fail(index, err)
	}
}

// expectPart answers what to call with what another node answers about a part.
func (t *tally) expectPart(indexes []int) func([]*holdfastv1.SendFailure, error) {
	t.left.Add(1)
	return func(failures []*holdfastv1.SendFailure, err error) {
		if err != nil {
			t.failPart(indexes, err)
		}
		for _, f := range failures {
			if n := int(f.GetIndex()); n < len(indexes) {
				t.add(failure{indexes[n], class{codeOf(f.GetCode()), f.GetReason()}, f.GetMessage()})
			}
		}
		t.settle()
	}
}

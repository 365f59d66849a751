package main_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// tiny has an endpoint whose send queue is soon full.
const tiny = `
endpoints:
  - path: /
    compression: {enabled: true, threshold: 0B}
  - {path: /tiny, limits: {send_queue: 64KiB}}
`

// refusal is a call that must be refused.
type refusal struct {
	want string // reason
	call func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error
}

func sending(change func(*holdfastv1.SendRequest)) func(context.Context, holdfastv1.ConnectionServiceClient, string) error {
	return func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
		req := &holdfastv1.SendRequest{ConnectionId: id, Message: text("x")}
		change(req)
		_, err := api.Send(ctx, req)
		return err
	}
}

// Refusals of a connection that is as it should be.
var refusals = []refusal{
	{"INVALID_MESSAGE", sending(func(r *holdfastv1.SendRequest) { r.Message = &holdfastv1.Message{} })},
	{"MESSAGE_TOO_LARGE", sending(func(r *holdfastv1.SendRequest) { r.Message = text(strings.Repeat("x", 1<<20+1)) })},
	{"INVALID_FRAGMENT", sending(func(r *holdfastv1.SendRequest) { r.Message.FragmentId = "abc" })},
	{"INVALID_CONFIRMATION", sending(func(r *holdfastv1.SendRequest) { r.Confirmation = 9 })},
	{"INVALID_DURATION", sending(func(r *holdfastv1.SendRequest) { r.ExpireAfter = durationpb.New(-1) })},
	{"INVALID_REQUEST_ID", sending(func(r *holdfastv1.SendRequest) { r.RequestId = strings.Repeat("r", 65) })},
	{"INVALID_CLOSE_CODE", func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
		code := uint32(1005)
		_, err := api.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: id, Code: &code})
		return err
	}},
	{"REASON_TOO_LONG", func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
		_, err := api.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: id, Reason: strings.Repeat("r", 124)})
		return err
	}},
	{"CONTROL_PAYLOAD_TOO_LONG", func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
		_, err := api.Ping(ctx, &holdfastv1.PingRequest{ConnectionId: id, Payload: make([]byte, 126)})
		return err
	}},
	{"INVALID_CONFIRMATION", func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
		_, err := api.Pong(ctx, &holdfastv1.PongRequest{ConnectionId: id, Confirmation: holdfastv1.Confirmation_RECEIVED})
		return err
	}},
	{"INVALID_DURATION", func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
		_, err := api.Pause(ctx, &holdfastv1.PauseRequest{ConnectionId: id, ResumeAfter: durationpb.New(-1)})
		return err
	}},
	{"INVALID_EXPIRE_TIME", func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
		_, err := api.Update(ctx, &holdfastv1.UpdateRequest{ConnectionId: id, ExpireTime: &timestamppb.Timestamp{Seconds: 1}})
		return err
	}},
	{"INVALID_ATTRIBUTES", func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
		_, err := api.Update(ctx, &holdfastv1.UpdateRequest{ConnectionId: id, SetAttributes: map[string]string{"": "x"}})
		return err
	}},
	{"INVALID_FILTER", func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
		watch, err := api.Watch(ctx, &holdfastv1.WatchRequest{ConnectionId: id, Kinds: []holdfastv1.Event_Kind{0}})
		if err == nil {
			_, err = watch.Recv()
		}
		return err
	}},
}

// about are calls about one connection that must all be refused alike.
func about(reason string) (all []refusal) {
	for _, call := range []func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error{
		sending(func(*holdfastv1.SendRequest) {}),
		func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
			_, err := api.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: id})
			return err
		},
		func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
			_, err := api.Terminate(ctx, &holdfastv1.TerminateRequest{ConnectionId: id})
			return err
		},
		func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
			_, err := api.Resume(ctx, &holdfastv1.ResumeRequest{ConnectionId: id})
			return err
		},
		func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
			_, err := api.Get(ctx, &holdfastv1.GetRequest{ConnectionId: id})
			return err
		},
		func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
			_, err := api.Update(ctx, &holdfastv1.UpdateRequest{ConnectionId: id})
			return err
		},
		func(ctx context.Context, api holdfastv1.ConnectionServiceClient, id string) error {
			watch, err := api.Watch(ctx, &holdfastv1.WatchRequest{ConnectionId: id})
			if err == nil {
				_, err = watch.Recv()
			}
			return err
		},
	} {
		all = append(all, refusal{reason, call})
	}
	return all
}

// A refusal says the same, to the last detail, whichever node was asked, and gives the reason that is wanted.
func TestNodesRefuseAsTheOwnerDoes(t *testing.T) {
	c := newTrio(t, brokertest.Config(t, tiny))
	for owner, b := range c.brokers {
		healthy := c.dial(owner, "/")
		c.refusedEverywhere(owner, healthy.id, refusals)
		c.refusedEverywhere(owner, b.Node+"-aaaaaaaaaaaaaaaa", about("CONNECTION_NOT_FOUND"))
		c.refusedEverywhere(owner, "aaaaaaaaaa-aaaaaaaaaaaaaaaa", about("CONNECTION_GONE"))
		c.refusedEverywhere(owner, "nonsense", about("INVALID_CONNECTION_ID"))

		full := c.dial(owner, "/tiny")
		c.fill(full)
		c.refusedEverywhere(owner, full.id, []refusal{{"SEND_QUEUE_FULL", sending(func(*holdfastv1.SendRequest) {})}})

		if _, err := c.conns(owner).Pause(c.patient(), &holdfastv1.PauseRequest{ConnectionId: healthy.id}); err != nil {
			t.Fatal(err)
		}
		c.refusedEverywhere(owner, healthy.id, []refusal{{"CONNECTION_PAUSED", sending(func(r *holdfastv1.SendRequest) {
			r.Confirmation = holdfastv1.Confirmation_RECEIVED
		})}})
		c.beginClose(healthy)
		c.refusedEverywhere(owner, healthy.id, []refusal{{"CONNECTION_CLOSING", sending(func(*holdfastv1.SendRequest) {})}})
	}
}

func (c *trio) refusedEverywhere(owner int, id string, all []refusal) {
	c.t.Helper()
	for _, r := range all {
		want := status.Convert(r.call(c.patient(), c.conns(owner), id))
		if got := reasonIn(want); got != r.want {
			c.t.Errorf("%s: the owner says %v, want %s", id, want, r.want)
		}
		for via := range c.brokers {
			got := status.Convert(r.call(c.patient(), c.conns(via), id))
			if diff := cmp.Diff(want.Proto(), got.Proto(), protocmp.Transform()); diff != "" {
				c.t.Errorf("%s: node %d does not say what the owner, %d, does (-owner +other):\n%s", r.want, via, owner, diff)
			}
		}
	}
}

// reasonIn is the reason of a refusal.
func reasonIn(st *status.Status) string {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// fill sends to a client that does not read, until not the smallest message is taken.
func (c *trio) fill(m *member) {
	c.t.Helper()
	for _, size := range []int{32 << 10, 1 << 10, 1} {
		for {
			_, err := c.conns(m.owner).Send(c.patient(), &holdfastv1.SendRequest{ConnectionId: m.id, Message: text(strings.Repeat("x", size))})
			if status.Code(err) == codes.ResourceExhausted {
				break
			}
			if err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// beginClose begins to close a client that does not answer.
func (c *trio) beginClose(m *member) {
	c.t.Helper()
	req := &holdfastv1.CloseRequest{ConnectionId: m.id, Confirmation: holdfastv1.Confirmation_QUEUED}
	if _, err := c.conns(m.owner).Close(c.patient(), req); err != nil {
		c.t.Fatal(err)
	}
}

// Failures inside an answer are in the order of the request and the same through every node, too.
func TestNodesReportTheSameFailures(t *testing.T) {
	c := newTrio(t)
	members := c.dialEach("/")
	ids := idsOf(members)
	for i, b := range c.brokers { // none stands twice: its second send would be skipped
		nobody := strings.Repeat(string(rune('a'+i)), 10)
		ids = append(ids, b.Node+"-aaaaaaaaaaaaaaaa", nobody+"-aaaaaaaaaaaaaaaa", "nonsense"+nobody)
	}
	slices.Reverse(ids)
	want := strings.Repeat("INVALID_CONNECTION_ID CONNECTION_GONE CONNECTION_NOT_FOUND ", len(c.brokers))
	for via := range c.brokers {
		many, err := c.conns(via).SendMany(c.patient(), &holdfastv1.SendManyRequest{ConnectionIds: ids, Message: text("x")})
		if err != nil || many.Succeeded != 3 || len(many.Failures) != len(ids)-3 {
			t.Fatal(many, err)
		}
		batch := &holdfastv1.SendStreamRequest{}
		for _, id := range ids {
			batch.Sends = append(batch.Sends, &holdfastv1.SendRequest{ConnectionId: id, Message: text("x")})
		}
		stream, err := c.conns(via).SendStream(c.patient())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(batch)
		streamed, err := stream.Recv()
		if err != nil || len(streamed.Failures) != len(many.Failures) {
			t.Fatal(streamed, err)
		}
		_ = stream.CloseSend()
		var got strings.Builder
		for i, f := range many.Failures {
			s := streamed.Failures[i]
			if f.ConnectionId != ids[i] || int(s.Index) != i || s.Reason != f.Reason || s.Code != f.Code {
				t.Errorf("node %d: failure %d: %v and %v", via, i, f, s)
			}
			got.WriteString(f.Reason.String() + " ")
		}
		if got.String() != want {
			t.Errorf("node %d: failures %s, want %s", via, got.String(), want)
		}
	}
}

package rpc

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// edge is one call on a fresh connection, at a limit or just beyond it.
type edge struct {
	name   string
	call   func(ctx context.Context, c holdfastv1.ConnectionServiceClient, id string) error
	reason hub.Reason // 0: accepted
	field  string
}

func testEdges(t *testing.T, edges []edge) {
	t.Helper()
	b := start(t, Config{})
	for _, e := range edges {
		t.Run(e.name, func(t *testing.T) {
			id, _ := b.open(t)
			err := e.call(t.Context(), b.client, id)
			if e.reason == 0 {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			md := wantRefusal(t, err, e.reason)
			if md["field"] != e.field || md["allowed"] == "" || len(md["value"]) > 70 {
				t.Errorf("metadata %v, want field %q", md, e.field)
			}
		})
	}
}

type change func(*holdfastv1.SendRequest)

func sending(name string, reason hub.Reason, field string, f change) edge {
	return edge{name, func(ctx context.Context, c holdfastv1.ConnectionServiceClient, id string) error {
		req := send(id, text("hi"))
		f(req)
		_, err := c.Send(ctx, req)
		return err
	}, reason, field}
}

func expiring(d *durationpb.Duration) change {
	return func(r *holdfastv1.SendRequest) { r.ExpireAfter = d }
}

func TestSendEdges(t *testing.T) {
	testEdges(t, []edge{
		sending("1 MiB of text", 0, "", func(r *holdfastv1.SendRequest) { r.Message = text(strings.Repeat("a", MaxPayload)) }),
		sending("1 MiB and a byte of text", hub.MessageTooLarge, "message.text",
			func(r *holdfastv1.SendRequest) { r.Message = text(strings.Repeat("a", MaxPayload+1)) }),
		sending("1 MiB of bytes", 0, "", func(r *holdfastv1.SendRequest) { r.Message = blob(MaxPayload) }),
		sending("1 MiB and a byte of bytes", hub.MessageTooLarge, "message.binary",
			func(r *holdfastv1.SendRequest) { r.Message = blob(MaxPayload + 1) }),
		sending("empty text", 0, "", func(r *holdfastv1.SendRequest) { r.Message = text("") }),
		sending("empty bytes", 0, "", func(r *holdfastv1.SendRequest) { r.Message = blob(0) }),
		sending("no message", hub.InvalidMessage, "message", func(r *holdfastv1.SendRequest) { r.Message = nil }),
		sending("no payload", hub.InvalidMessage, "message", func(r *holdfastv1.SendRequest) { r.Message = &holdfastv1.Message{} }),
		sending("request ID of 64", 0, "", func(r *holdfastv1.SendRequest) { r.RequestId = strings.Repeat("r", 64) }),
		sending("request ID of 65", hub.InvalidRequestID, "request_id",
			func(r *holdfastv1.SendRequest) { r.RequestId = strings.Repeat("r", 65) }),
		sending("unknown confirmation", hub.InvalidConfirmation, "confirmation", func(r *holdfastv1.SendRequest) { r.Confirmation = 9 }),
		sending("negative confirmation", hub.InvalidConfirmation, "confirmation", func(r *holdfastv1.SendRequest) { r.Confirmation = -1 }),
		sending("expires after 1 ns", 0, "", expiring(durationpb.New(1))),
		sending("expires after 24 h", 0, "", expiring(durationpb.New(24*time.Hour))),
		sending("expires after 24 h and 1 ns", hub.InvalidDuration, "expire_after", expiring(durationpb.New(24*time.Hour+1))),
		sending("expires after 0", hub.InvalidDuration, "expire_after", expiring(durationpb.New(0))),
		sending("expires before", hub.InvalidDuration, "expire_after", expiring(durationpb.New(-1))),
		sending("malformed duration", hub.InvalidDuration, "expire_after", expiring(&durationpb.Duration{Seconds: 1, Nanos: -1})),
		sending("duration beyond time", hub.InvalidDuration, "expire_after", expiring(&durationpb.Duration{Seconds: 1 << 62})),
		sending("foreign fragment", hub.InvalidFragment, "message.fragment_id",
			func(r *holdfastv1.SendRequest) { r.Message = fragment("x", "1-abc", false) }),
		sending("odd fragment", hub.InvalidFragment, "message.fragment_id",
			func(r *holdfastv1.SendRequest) { r.Message = fragment("x", "+é/", false) }),
	})
}

func TestConnectionIDEdges(t *testing.T) {
	b := start(t, Config{})
	id, _ := b.open(t)
	own := id[:nodeLen+1]
	for name, tt := range map[string]struct {
		id     string
		reason hub.Reason
	}{
		"empty":            {"", hub.InvalidConnectionID},
		"short":            {id[:26], hub.InvalidConnectionID},
		"long":             {id + "a", hub.InvalidConnectionID},
		"upper case":       {strings.ToUpper(id), hub.InvalidConnectionID},
		"digit 1":          {own + "111111111111111a", hub.InvalidConnectionID},
		"two bytes":        {own + "ééaaaaaaaaaaaa", hub.InvalidConnectionID},
		"no dash":          {id[:nodeLen] + "a" + id[nodeLen+1:], hub.InvalidConnectionID},
		"line end":         {own + "aaaaaaaaaaaaaaa\n", hub.InvalidConnectionID},
		"of nobody":        {own + "aaaaaaaaaaaaaaaa", hub.ConnectionNotFound},
		"of another node":  {"aaaaaaaaaa-" + id[nodeLen+1:], hub.ConnectionGone},
		"of another, odd":  {"aaaaaaaaaa-" + "1aaaaaaaaaaaaaaa", hub.InvalidConnectionID},
		"very long indeed": {strings.Repeat("é", 5000), hub.InvalidConnectionID},
	} {
		for method, call := range everyUnaryCall(tt.id) {
			t.Run(method+" "+name, func(t *testing.T) {
				md := wantRefusal(t, call(t.Context(), b.client), tt.reason)
				want := tt.id
				if tt.reason == hub.InvalidConnectionID {
					want = ""
					if md["field"] != "connection_id" {
						t.Errorf("field %q", md["field"])
					}
				}
				if md["connection_id"] != want {
					t.Errorf("connection_id %q", md["connection_id"])
				}
				if tt.reason == hub.ConnectionGone && md["node"] != "aaaaaaaaaa" {
					t.Errorf("node %q", md["node"])
				}
			})
		}
	}
}

type call func(context.Context, holdfastv1.ConnectionServiceClient) error

// everyUnaryCall are all calls about one connection.
func everyUnaryCall(id string) map[string]call {
	return map[string]call{
		"Send": func(ctx context.Context, c holdfastv1.ConnectionServiceClient) error {
			_, err := c.Send(ctx, send(id, text("hi")))
			return err
		},
		"Close": func(ctx context.Context, c holdfastv1.ConnectionServiceClient) error {
			_, err := c.Close(ctx, &holdfastv1.CloseRequest{ConnectionId: id})
			return err
		},
		"Terminate": func(ctx context.Context, c holdfastv1.ConnectionServiceClient) error {
			_, err := c.Terminate(ctx, &holdfastv1.TerminateRequest{ConnectionId: id})
			return err
		},
		"Pause": func(ctx context.Context, c holdfastv1.ConnectionServiceClient) error {
			_, err := c.Pause(ctx, &holdfastv1.PauseRequest{ConnectionId: id})
			return err
		},
		"Resume": func(ctx context.Context, c holdfastv1.ConnectionServiceClient) error {
			_, err := c.Resume(ctx, &holdfastv1.ResumeRequest{ConnectionId: id})
			return err
		},
		"Ping": func(ctx context.Context, c holdfastv1.ConnectionServiceClient) error {
			_, err := c.Ping(ctx, &holdfastv1.PingRequest{ConnectionId: id})
			return err
		},
		"Pong": func(ctx context.Context, c holdfastv1.ConnectionServiceClient) error {
			_, err := c.Pong(ctx, &holdfastv1.PongRequest{ConnectionId: id})
			return err
		},
		"Get": func(ctx context.Context, c holdfastv1.ConnectionServiceClient) error {
			_, err := c.Get(ctx, &holdfastv1.GetRequest{ConnectionId: id})
			return err
		},
		"Update": func(ctx context.Context, c holdfastv1.ConnectionServiceClient) error {
			_, err := c.Update(ctx, &holdfastv1.UpdateRequest{ConnectionId: id})
			return err
		},
	}
}

func closing(name string, reason hub.Reason, field string, f func(*holdfastv1.CloseRequest)) edge {
	return edge{name, func(ctx context.Context, c holdfastv1.ConnectionServiceClient, id string) error {
		req := &holdfastv1.CloseRequest{ConnectionId: id, Confirmation: holdfastv1.Confirmation_QUEUED}
		f(req)
		_, err := c.Close(ctx, req)
		return err
	}, reason, field}
}

func TestCloseEdges(t *testing.T) {
	var edges []edge
	for code, ok := range map[uint32]bool{
		0: false, 1: false, 999: false, 1000: true, 1003: true, 1004: false, 1005: false, 1006: false, 1007: true,
		1014: true, 1015: false, 2999: false, 3000: true, 3999: true, 4000: true, 4999: true, 5000: false,
		65536 + 1000: false, 1<<32 - 1: false,
	} {
		e := closing("code", 0, "code", func(r *holdfastv1.CloseRequest) { r.Code = &code })
		if !ok {
			e.reason = hub.InvalidCloseCode
		}
		edges = append(edges, e)
	}
	edges = append(edges,
		closing("reason of 123", 0, "", func(r *holdfastv1.CloseRequest) { r.Reason = strings.Repeat("r", 123) }),
		closing("reason of 124", hub.ReasonTooLong, "reason", func(r *holdfastv1.CloseRequest) { r.Reason = strings.Repeat("r", 124) }),
		closing("reason of 62 characters, 124 bytes", hub.ReasonTooLong, "reason",
			func(r *holdfastv1.CloseRequest) { r.Reason = strings.Repeat("é", 62) }),
		closing("unknown confirmation", hub.InvalidConfirmation, "confirmation", func(r *holdfastv1.CloseRequest) { r.Confirmation = 4 }))
	testEdges(t, edges)
}

func TestControlEdges(t *testing.T) {
	queued := holdfastv1.Confirmation_QUEUED
	ping := func(name string, reason hub.Reason, field string, n int, cf holdfastv1.Confirmation) edge {
		return edge{"ping " + name, func(ctx context.Context, c holdfastv1.ConnectionServiceClient, id string) error {
			_, err := c.Ping(ctx, &holdfastv1.PingRequest{ConnectionId: id, Payload: make([]byte, n), Confirmation: cf})
			return err
		}, reason, field}
	}
	pong := func(name string, reason hub.Reason, field string, n int, cf holdfastv1.Confirmation) edge {
		return edge{"pong " + name, func(ctx context.Context, c holdfastv1.ConnectionServiceClient, id string) error {
			_, err := c.Pong(ctx, &holdfastv1.PongRequest{ConnectionId: id, Payload: make([]byte, n), Confirmation: cf})
			return err
		}, reason, field}
	}
	testEdges(t, []edge{
		ping("of 125", 0, "", 125, queued),
		ping("of 126", hub.ControlPayloadTooLong, "payload", 126, queued),
		ping("unknown confirmation", hub.InvalidConfirmation, "confirmation", 0, 4),
		pong("of 125", 0, "", 125, queued),
		pong("of 126", hub.ControlPayloadTooLong, "payload", 126, queued),
		pong("default is QUEUED", 0, "", 0, 0),
		pong("RECEIVED", hub.InvalidConfirmation, "confirmation", 0, holdfastv1.Confirmation_RECEIVED),
	})
}

func TestPauseEdges(t *testing.T) {
	pause := func(name string, reason hub.Reason, d *durationpb.Duration) edge {
		return edge{name, func(ctx context.Context, c holdfastv1.ConnectionServiceClient, id string) error {
			_, err := c.Pause(ctx, &holdfastv1.PauseRequest{ConnectionId: id, ResumeAfter: d})
			return err
		}, reason, "resume_after"}
	}
	testEdges(t, []edge{
		pause("absent", 0, nil),
		pause("1 s", 0, durationpb.New(time.Second)),
		pause("the limit", 0, durationpb.New(10*time.Minute)),
		pause("over the limit", hub.InvalidDuration, durationpb.New(10*time.Minute+1)),
		pause("zero", hub.InvalidDuration, durationpb.New(0)),
		pause("negative", hub.InvalidDuration, durationpb.New(-time.Second)),
		pause("beyond time", hub.InvalidDuration, &durationpb.Duration{Seconds: 1 << 62}),
	})
}

func TestUpdateEdges(t *testing.T) {
	update := func(name string, reason hub.Reason, field string, req *holdfastv1.UpdateRequest) edge {
		return edge{name, func(ctx context.Context, c holdfastv1.ConnectionServiceClient, id string) error {
			req.ConnectionId = id
			_, err := c.Update(ctx, req)
			return err
		}, reason, field}
	}
	set := func(name, value string) *holdfastv1.UpdateRequest {
		return &holdfastv1.UpdateRequest{SetAttributes: map[string]string{name: value}}
	}
	user := func(u string) *holdfastv1.UpdateRequest { return &holdfastv1.UpdateRequest{User: &u} }
	expire := func(at *timestamppb.Timestamp, never bool) *holdfastv1.UpdateRequest {
		return &holdfastv1.UpdateRequest{ExpireTime: at, ClearExpireTime: never}
	}
	soon := timestamppb.New(time.Now().Add(time.Hour))
	testEdges(t, []edge{
		update("nothing", 0, "", &holdfastv1.UpdateRequest{}),
		update("8192 bytes", 0, "", set("name", strings.Repeat("v", 8192-4))),
		update("8193 bytes", hub.InvalidAttributes, "set_attributes", set("name", strings.Repeat("v", 8193-4))),
		update("name of 128", 0, "", set(strings.Repeat("n", 128), "")),
		update("name of 129", hub.InvalidAttributes, "set_attributes", set(strings.Repeat("n", 129), "")),
		update("no name", hub.InvalidAttributes, "set_attributes", set("", "v")),
		update("control in a value", hub.InvalidAttributes, "set_attributes[a]", set("a", "x\ny")),
		update("set and removed", hub.InvalidAttributes, "remove_attributes",
			&holdfastv1.UpdateRequest{SetAttributes: map[string]string{"a": "1"}, RemoveAttributes: []string{"a"}}),
		update("user of 256", 0, "", user(strings.Repeat("u", 256))),
		update("user of 257", hub.InvalidUser, "user", user(strings.Repeat("u", 257))),
		update("control in a user", hub.InvalidUser, "user", user("a\u0085b")),
		update("nobody", 0, "", user("")),
		update("expires later", 0, "", expire(soon, false)),
		update("expired before", hub.InvalidExpireTime, "expire_time", expire(timestamppb.New(time.Now().Add(-time.Hour)), false)),
		update("expired in year 1", hub.InvalidExpireTime, "expire_time", expire(timestamppb.New(time.Time{}), false)),
		update("expired in 1970", hub.InvalidExpireTime, "expire_time", expire(&timestamppb.Timestamp{}, false)),
		update("malformed time", hub.InvalidExpireTime, "expire_time", expire(&timestamppb.Timestamp{Seconds: 1 << 60}, false)),
		update("set and cleared", hub.InvalidExpireTime, "clear_expire_time", expire(soon, true)),
		update("cleared", 0, "", expire(nil, true)),
	})
}

// protobuf itself refuses text that is not UTF-8, before any of our code runs; the schema says so.
func TestTextThatIsNotUTF8IsInternal(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	raw := append([]byte{0x0a, idLen}, id...)       // connection_id
	raw = append(raw, 0x12, 0x03, 0x0a, 0x01, 0xff) // message { text: "\xff" }
	err := b.conn.Invoke(t.Context(), servicePrefix+"Send", &raw, &[]byte{}, rawCodec)
	if status.Code(err) != codes.Internal || len(s.Record().Messages) != 0 {
		t.Errorf("error %v, sent %d", err, len(s.Record().Messages))
	}
}

func TestRequestOverTheLimit(t *testing.T) {
	b := start(t, Config{})
	id, _ := b.open(t)
	_, err := b.client.Send(t.Context(), send(id, blob(MaxRequest)))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("error %v", err)
	}
}

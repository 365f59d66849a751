package rpc

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker is a server on a hub of fakes, with a real client.
type broker struct {
	hub       *hub.Hub
	published *hubtest.Publisher
	server    *Server
	listener  *bufconn.Listener
	conn      *grpc.ClientConn
	client    holdfastv1.ConnectionServiceClient
}

func start(t testing.TB, c Config) *broker {
	t.Helper()
	return startNode(t, hub.NewNodeID(), c)
}

func startNode(t testing.TB, id hub.NodeID, c Config) *broker {
	t.Helper()
	b := &broker{published: &hubtest.Publisher{}, listener: bufconn.Listen(1 << 20)}
	b.hub = hub.New(id, b.published)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	b.server = New(b.hub, c)
	served := make(chan error, 1)
	go func() { served <- b.server.Serve(b.listener) }()
	b.conn, b.client = b.dial(t)
	t.Cleanup(func() {
		_ = b.conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		b.server.Stop(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return b
}

func (b *broker) dial(t testing.TB) (*grpc.ClientConn, holdfastv1.ConnectionServiceClient) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///broker",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return b.listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	return conn, holdfastv1.NewConnectionServiceClient(conn)
}

var chat = &hub.Endpoint{Path: "/chat", Namespace: "default", MaxPause: 10 * time.Minute}

// open opens a client connection and answers its ID and its socket.
func (b *broker) open(t testing.TB) (string, *hubtest.Socket) {
	t.Helper()
	c, s, err := hubtest.Open(b.hub, chat)
	if err != nil {
		t.Fatal(err)
	}
	return c.ID().String(), s
}

// refusal is what a client can read of a failed call.
func refusal(t testing.TB, err error) (st *status.Status, info *errdetails.ErrorInfo) {
	t.Helper()
	st = status.Convert(err)
	for _, d := range st.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return st, i
		}
	}
	t.Fatalf("no ErrorInfo in %v", err)
	return nil, nil
}

// wantRefusal checks class and fact of a failed call and answers its metadata.
func wantRefusal(t testing.TB, err error, want hub.Reason) map[string]string {
	t.Helper()
	st, info := refusal(t, err)
	if st.Code() != classes[want].code || info.Reason != want.String() || info.Domain != "holdfast" {
		t.Fatalf("refusal is %s, %s of %q (%s); want %s, %s", st.Code(), info.Reason, info.Domain, st.Message(),
			classes[want].code, want)
	}
	return info.Metadata
}

func text(s string) *holdfastv1.Message {
	return &holdfastv1.Message{Payload: &holdfastv1.Message_Text{Text: s}}
}

func blob(n int) *holdfastv1.Message {
	return &holdfastv1.Message{Payload: &holdfastv1.Message_Binary{Binary: make([]byte, n)}}
}

func fragment(s, id string, more bool) *holdfastv1.Message {
	m := text(s)
	m.More, m.FragmentId = more, id
	return m
}

func send(id string, m *holdfastv1.Message) *holdfastv1.SendRequest {
	return &holdfastv1.SendRequest{ConnectionId: id, Message: m}
}

// payloads joins what a socket was sent.
func payloads(r hubtest.Record) string {
	var all []string
	for _, m := range r.Messages {
		all = append(all, string(m.Payload))
	}
	return strings.Join(all, " ")
}

// messages waits for a number of messages.
func messages(n int) func(hubtest.Record) bool {
	return func(r hubtest.Record) bool { return len(r.Messages) >= n }
}

// waiting waits for a number of unsettled confirmations.
func waiting(n int) func(hubtest.Record) bool {
	return func(r hubtest.Record) bool { return r.Waiting >= n }
}

// rawCodec lets a test send bytes that no client library would.
var rawCodec = grpc.ForceCodecV2(bytesCodec{})

type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

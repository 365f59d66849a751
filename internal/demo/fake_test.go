package demo

import (
	"context"
	"encoding/json"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"

	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const (
	alice = "aaaaaaaaaa-aaaaaaaaaaaaaaaa"
	bob   = "bbbbbbbbbb-bbbbbbbbbbbbbbbb"
)

// limit is how long a test waits for what must come.
const limit = 30 * time.Second

// sent is a message that the backend gave to the fake.
type sent struct {
	to   []string
	body map[string]any
}

// fakeControl is a control API over a set of connections. What it is told to send it hands to the test.
type fakeControl struct {
	holdfastv1.UnimplementedConnectionServiceServer
	sends chan sent
	lists chan struct{}

	mu          sync.Mutex
	connections []string
	unreachable []string
	gone        map[string]bool
	refuse      error // of actions
}

func (f *fakeControl) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeControl) List(context.Context, *holdfastv1.ListRequest) (*holdfastv1.ListResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	answer := &holdfastv1.ListResponse{UnreachableNodes: f.unreachable}
	for _, id := range f.connections {
		answer.Connections = append(answer.Connections, &holdfastv1.Connection{Id: id})
	}
	select {
	case f.lists <- struct{}{}:
	default:
	}
	return answer, nil
}

func (f *fakeControl) Send(_ context.Context, req *holdfastv1.SendRequest) (*holdfastv1.SendResponse, error) {
	f.record([]string{req.GetConnectionId()}, req.GetMessage())
	return &holdfastv1.SendResponse{}, nil
}

func (f *fakeControl) SendMany(_ context.Context, req *holdfastv1.SendManyRequest) (*holdfastv1.SendManyResponse, error) {
	f.record(req.GetConnectionIds(), req.GetMessage())
	f.mu.Lock()
	defer f.mu.Unlock()
	answer := &holdfastv1.SendManyResponse{}
	for _, id := range req.GetConnectionIds() {
		if f.gone[id] {
			answer.Failures = append(answer.Failures, &holdfastv1.SendManyFailure{ConnectionId: id, Code: 5})
		}
	}
	return answer, nil
}

func (f *fakeControl) Ping(context.Context, *holdfastv1.PingRequest) (*holdfastv1.PingResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &holdfastv1.PingResponse{}, f.refuse
}

func (f *fakeControl) record(to []string, message *holdfastv1.Message) {
	s := sent{to: to}
	_ = json.Unmarshal([]byte(message.GetText()), &s.body)
	f.sends <- s
}

// wait returns the next message of a type.
func (f *fakeControl) wait(t *testing.T, kind string) sent {
	t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case s := <-f.sends:
			if s.body["type"] == kind {
				return s
			}
		case <-timeout:
			t.Fatalf("no %s was sent", kind)
		}
	}
}

// world is a NATS server, a fake control API and a backend between them.
type world struct {
	*fakeControl
	bus     *nats.Conn
	control string
}

func newWorld(t *testing.T, connections ...string) *world {
	t.Helper()
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(limit) {
		t.Fatal("nats-server does not start")
	}
	bus, err := nats.Connect(ns.ClientURL(), nats.Timeout(limit))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		fakeControl: &fakeControl{
			sends: make(chan sent, 100), lists: make(chan struct{}, 1), connections: connections, gone: make(map[string]bool),
		},
		bus: bus, control: listener.Addr().String(),
	}
	control := grpc.NewServer()
	holdfastv1.RegisterConnectionServiceServer(control, w.fakeControl)
	go func() { _ = control.Serve(listener) }()
	t.Cleanup(control.Stop)
	return w
}

// run starts a backend and waits until it has listed, so that it hears what is published from now on.
func (w *world) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- Run(ctx, Config{NATSURL: w.bus.ConnectedUrl(), Control: w.control}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-w.lists:
	case <-time.After(limit):
		t.Fatal("the backend does not list")
	}
}

// publish is an event as the broker publishes it.
func (w *world) publish(t *testing.T, kind, id, seq, payload string) {
	t.Helper()
	msg := nats.NewMsg("holdfast.default." + kind + "." + id)
	msg.Header.Set("Holdfast-Seq", seq)
	msg.Data = []byte(payload)
	if err := w.bus.PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
}

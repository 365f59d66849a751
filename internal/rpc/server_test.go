package rpc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

func TestPanicEndsOneCallOnly(t *testing.T) {
	var log bytes.Buffer
	b := start(t, Config{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	_, err := b.client.Send(t.Context(), send(b.openPanicking(t), text("x")))
	if md := wantRefusal(t, err, hub.InternalError); strings.Contains(err.Error(), "defect") {
		t.Errorf("the caller was told %v, %v", err, md)
	}
	id, _ := b.open(t)
	if _, err := b.client.Send(t.Context(), send(id, text("x"))); err != nil {
		t.Errorf("after the panic: %v", err)
	}
	if b.server.Panics() != 1 || !strings.Contains(log.String(), "defect") || !strings.Contains(log.String(), "panicking") {
		t.Errorf("%d panics, log %s", b.server.Panics(), log.String())
	}
}

func TestCallsAreCounted(t *testing.T) {
	b := start(t, Config{})
	id, _ := b.open(t)
	for range 3 {
		if _, err := b.client.Send(t.Context(), send(id, text("x"))); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = b.client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: "?"})
	b.sendStream(t, t.Context()).end()
	want := map[MethodCode]uint64{
		{servicePrefix + "Send", codes.OK}:             3,
		{servicePrefix + "Get", codes.InvalidArgument}: 1,
		{servicePrefix + "SendStream", codes.OK}:       1,
	}
	got := b.server.Calls()
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%v: %d calls, want %d", k, got[k], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("calls %v", got)
	}
}

// Whatever the services have, there is a row for.
func TestEveryMethodIsCounted(t *testing.T) {
	b := start(t, Config{})
	for _, d := range []grpc.ServiceDesc{
		holdfastv1.ConnectionService_ServiceDesc, holdfastv1.GroupService_ServiceDesc, holdfastv1.NodeService_ServiceDesc,
	} {
		for _, m := range d.Methods {
			if b.server.calls["/"+d.ServiceName+"/"+m.MethodName] == nil {
				t.Errorf("%s of %s is not counted", m.MethodName, d.ServiceName)
			}
		}
	}
}

// Other nodes can ask for everything that acts on what a node has.
func TestEveryMethodCanBeForwarded(t *testing.T) {
	b := start(t, Config{})
	for _, d := range []grpc.ServiceDesc{holdfastv1.ConnectionService_ServiceDesc, holdfastv1.GroupService_ServiceDesc} {
		for _, m := range d.Methods {
			if _, ok := b.server.service.methods["/"+d.ServiceName+"/"+m.MethodName]; !ok {
				t.Errorf("%s of %s cannot be forwarded", m.MethodName, d.ServiceName)
			}
		}
	}
}

func TestHealth(t *testing.T) {
	b := start(t, Config{})
	client := healthv1.NewHealthClient(b.conn)
	for _, serving := range []bool{true, false, true} {
		b.server.SetServing(serving)
		for _, name := range []string{"", "holdfast.v1.ConnectionService", "holdfast.v1.GroupService", "holdfast.v1.NodeService"} {
			resp, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: name})
			if err != nil || (resp.Status == healthv1.HealthCheckResponse_SERVING) != serving {
				t.Errorf("%q, serving %v: %v, %v", name, serving, resp, err)
			}
		}
	}
}

func TestReflection(t *testing.T) {
	b := start(t, Config{})
	v1, err := reflectionv1.NewServerReflectionClient(b.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := v1.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	resp, err := v1.Recv()
	for _, name := range append(services, "grpc.health.v1.Health") {
		if err != nil || !strings.Contains(resp.String(), name) {
			t.Errorf("v1: no %s in %v, %v", name, resp, err)
		}
	}
	alpha, err := reflectionv1alpha.NewServerReflectionClient(b.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	//nolint:staticcheck // v1alpha is what older tools speak
	if err := alpha.Send(&reflectionv1alpha.ServerReflectionRequest{MessageRequest: &reflectionv1alpha.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	if resp, err := alpha.Recv(); err != nil || !strings.Contains(resp.String(), "holdfast.v1.ConnectionService") {
		t.Errorf("v1alpha: %v, %v", resp, err)
	}
}

// A broker may be told to stop while it starts: then nothing is served, and nothing has failed.
func TestServeAfterStop(t *testing.T) {
	s := New(hub.New(hub.NewNodeID(), &hubtest.Publisher{}), Config{Logger: slog.New(slog.DiscardHandler)})
	s.Stop(t.Context())
	l := bufconn.Listen(1)
	if err := s.Serve(l); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is open")
	}
}

// Whatever waits, for however long, a graceful stop does not wait for it.
func TestStopEndsEverythingThatWaits(t *testing.T) {
	b := start(t, Config{})
	id, s := b.open(t)
	w := b.watch(t, t.Context(), &holdfastv1.WatchRequest{})
	idle := b.sendStream(t, t.Context())
	busy := b.sendStream(t, t.Context())
	busy.batch(confirmed(id, text("x"), written))
	health, err := healthv1.NewHealthClient(b.conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := health.Recv(); err != nil {
		t.Fatal(err)
	}
	reflection, err := reflectionv1.NewServerReflectionClient(b.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sent := beside(func() (*holdfastv1.SendResponse, error) {
		return b.client.Send(t.Context(), confirmed(id, text("y"), written))
	})
	s.Until(waiting(2))
	closed := b.close(t.Context(), id, received)
	s.Until(closes(1))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.server.Stop(ctx) // ctx never ends: this hangs if anything waits
	wantRefusal(t, (<-sent).err, hub.NotConfirmed)
	wantRefusal(t, (<-closed).err, hub.NotConfirmed)
	_, err = w.Recv()
	wantRefusal(t, err, hub.NodeStopping)
	for _, st := range []*sender{idle, busy} {
		_, err := st.stream.Recv()
		wantRefusal(t, err, hub.NodeStopping)
	}
	if _, err := reflection.Recv(); err == nil {
		t.Error("reflection goes on")
	}
	for err == nil {
		_, err = health.Recv()
	}
	_, err = b.client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: id})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("call after Stop: %v", err)
	}
	s.Confirm(hub.Outcome{}) // nobody waits any more, nobody is blocked
}

// stuck is a socket with a defect: Terminate does not return.
type stuck struct {
	*hubtest.Socket
	release chan struct{}
}

func (s stuck) Terminate(hub.Cause) { <-s.release }

func TestStopCutsWhatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{})
		s := stuck{&hubtest.Socket{}, make(chan struct{})}
		c, err := b.hub.Open(chat, &hub.Facts{}, s)
		if err != nil {
			t.Fatal(err)
		}
		answer := beside(func() (*holdfastv1.TerminateResponse, error) {
			return b.client.Terminate(t.Context(), &holdfastv1.TerminateRequest{ConnectionId: c.ID().String()})
		})
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		stopped := make(chan struct{})
		go func() {
			b.server.Stop(ctx)
			close(stopped)
		}()
		if r := <-answer; status.Code(r.err) != codes.Unavailable {
			t.Errorf("cut call: %v", r.err)
		}
		close(s.release)
		<-stopped
	})
}

// The end of a watch comes behind its events, so a client that reads nothing would never be done.
func TestStopCutsAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, Config{})
		w := b.watch(t, t.Context(), &holdfastv1.WatchRequest{})
		c, _, err := hubtest.Open(b.hub, chat)
		if err != nil {
			t.Fatal(err)
		}
		c.Message(hub.Binary, make([]byte, 1<<20))
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		b.server.Stop(ctx)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
		for err == nil {
			_, err = w.Recv()
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("watch ended with %v", err)
		}
	})
}

// defect is a socket that answers with an error which is none of the core's.
type defect struct{ *hubtest.Socket }

func (defect) Send(*hub.Message, hub.Done) (hub.Sent, error) {
	return hub.Sent{}, errors.New("surprise")
}

// What is no refusal is a defect: the log has it, the caller does not.
func TestDefectIsLogged(t *testing.T) {
	var log bytes.Buffer
	b := start(t, Config{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	c, err := b.hub.Open(chat, &hub.Facts{}, defect{&hubtest.Socket{}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.client.Send(t.Context(), send(c.ID().String(), text("x")))
	wantRefusal(t, err, hub.InternalError)
	if strings.Contains(err.Error(), "surprise") || !strings.Contains(log.String(), "surprise") {
		t.Errorf("told %v, logged %s", err, log.String())
	}
	log.Reset()
	_, err = b.client.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: string(b.hub.Node()) + "-aaaaaaaaaaaaaaaa"})
	wantRefusal(t, err, hub.ConnectionNotFound)
	if log.Len() != 0 {
		t.Errorf("a refusal was logged: %s", log.String())
	}
}

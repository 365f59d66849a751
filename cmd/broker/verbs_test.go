package main_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

const serviceName = "holdfast.v1.ConnectionService"

// generic is a client that knows nothing of the schema but what the server tells by reflection.
type generic struct {
	t       *testing.T
	cc      *grpc.ClientConn
	service protoreflect.ServiceDescriptor
}

func newGeneric(t *testing.T, cc *grpc.ClientConn) *generic {
	t.Helper()
	stream, err := reflectionpb.NewServerReflectionClient(cc).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set := new(descriptorpb.FileDescriptorSet)
	known := make(map[string]bool)
	ask := func(req *reflectionpb.ServerReflectionRequest) {
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range resp.GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := new(descriptorpb.FileDescriptorProto)
			if err := proto.Unmarshal(raw, file); err != nil {
				t.Fatal(err)
			}
			if !known[file.GetName()] {
				known[file.GetName()] = true
				set.File = append(set.File, file)
			}
		}
	}
	ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: serviceName},
	})
	for next := 0; next < len(set.File); { // grows while it is walked
		dependencies := set.File[next].GetDependency()
		next++
		for _, name := range dependencies {
			if !known[name] {
				ask(&reflectionpb.ServerReflectionRequest{
					MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: name},
				})
			}
		}
	}
	return &generic{t: t, cc: cc, service: findService(t, set)}
}

func findService(t *testing.T, set *descriptorpb.FileDescriptorSet) protoreflect.ServiceDescriptor {
	t.Helper()
	var files *protoregistry.Files
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	d, err := files.FindDescriptorByName(serviceName)
	if err != nil {
		t.Fatal(err)
	}
	return d.(protoreflect.ServiceDescriptor)
}

// call makes a call with a JSON request and answers the JSON response without white space, or "CODE REASON
// field" of the error.
func (g *generic) call(method, request string) string {
	g.t.Helper()
	m := g.service.Methods().ByName(protoreflect.Name(method))
	if m == nil {
		g.t.Fatalf("no method %s", method)
	}
	req, resp := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	if err := protojson.Unmarshal([]byte(request), req); err != nil {
		g.t.Fatalf("%s %s: %v", method, request, err)
	}
	name := fmt.Sprintf("/%s/%s", serviceName, method)
	ctx, cancel := context.WithTimeout(g.t.Context(), brokertest.Patience)
	defer cancel()
	var err error
	if m.IsStreamingClient() || m.IsStreamingServer() {
		err = g.stream(ctx, name, req, resp)
	} else {
		err = g.cc.Invoke(ctx, name, req, resp)
	}
	if err != nil {
		return describe(err)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(resp)
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), " ", "")
}

// stream sends one request and receives one response.
func (g *generic) stream(ctx context.Context, name string, req, resp proto.Message) error {
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	s, err := g.cc.NewStream(ctx, desc, name)
	if err != nil {
		return err
	}
	if err := s.SendMsg(req); err != nil {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return s.RecvMsg(resp)
}

func describe(err error) string {
	words := []string{status.Code(err).String()}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			words = append(words, info.GetReason(), info.GetMetadata()["field"])
		}
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

// Every verb does what it says to a real client, called by a generic client through reflection.
func TestEveryVerbThroughReflection(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, "endpoints: [{path: /, events: [open, message, close, pong]}]"))
	events := bustest.Record(t, b.NATS, "holdfast.>")
	g := newGeneric(t, b.GRPC())
	peer := wstest.Dial(t, b.URL("/"), nil)
	id := events.Wait(1)[0].Subject[len("holdfast.default.open."):]
	request := func(rest string) string { return fmt.Sprintf(`{"connection_id":%q%s}`, id, rest) }
	expect := func(got, want string) {
		t.Helper()
		if !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}

	expect(g.call("Send", request(`,"message":{"text":"hi"}`)), `{}`)
	peer.Expect(wire.Text, "hi")
	expect(g.call("Send", request(`,"message":{"binary":"AQI="},"confirmation":"WRITTEN"`)), `{}`)
	peer.Expect(wire.Binary, "\x01\x02")
	expect(g.call("SendStream", `{"batch_id":"7","sends":[`+request(`,"message":{"text":"a"}`)+`]}`), `{"batch_id":"7"}`)
	peer.Expect(wire.Text, "a")
	expect(g.call("SendMany", fmt.Sprintf(`{"connection_ids":[%q,%q],"message":{"text":"b"}}`, id, id)), `{"succeeded":2}`)
	peer.Expect(wire.Text, "b")
	peer.Expect(wire.Text, "b")

	// Received and Ping wait for the pong, which the peer sends from another goroutine.
	go func() {
		for range 2 {
			f := peer.Receive()
			for f.Opcode != wire.Ping {
				f = peer.Receive()
			}
			peer.Send(wstest.Pong(string(f.Payload)))
		}
	}()
	for _, call := range [][2]string{
		{"Send", request(`,"message":{"text":"c"},"confirmation":"RECEIVED"`)}, {"Ping", request(`,"payload":"cGluZw=="`)},
	} {
		begin := time.Now()
		answer := g.call(call[0], call[1])
		took := time.Since(begin)
		text, _ := strings.CutPrefix(answer, `{"rtt":"`)
		if rtt, err := time.ParseDuration(strings.TrimSuffix(text, `"}`)); err != nil || rtt <= 0 || rtt > took {
			t.Errorf("%s answers %s (%v), want the time of a round trip within %v", call[0], answer, err, took)
		}
	}
	expect(g.call("Pong", request(``)), `{}`)
	peer.Expect(wire.Pong, "")

	expect(g.call("Pause", request(`,"resume_after":"60s"`)), `{"resume_time":"20`)
	peer.Send(wstest.Text("while paused"))
	expect(g.call("Get", request(``)), fmt.Sprintf(`{"connection":{"id":%q,"node":%q`, id, b.Node))
	expect(g.call("Ping", request(``)), "FailedPrecondition CONNECTION_PAUSED")
	expect(g.call("Resume", request(``)), `{}`)
	if m := events.Wait(2)[1]; string(m.Data) != "while paused" {
		t.Errorf("event %s %q", m.Subject, m.Data)
	}

	expect(g.call("Update", request(`,"set_attributes":{"room":"7"},"user":"ann"`)), `{"connection":{"id"`)
	expect(g.call("Count", `{"filter":{"user":"ann","attributes":{"room":"7"}}}`), `{"count":"1"}`)
	expect(g.call("List", `{"filter":{"namespace":"default"}}`), fmt.Sprintf(`{"connections":[{"id":%q`, id))
	expect(g.call("Watch", `{}`), fmt.Sprintf(`{"started":{"node":%q`, b.Node))

	go func() {
		peer.ExpectClose(4000)
		peer.Send(wstest.Close(4001, "bye"))
	}()
	expect(g.call("Close", request(`,"code":4000,"reason":"enough"`)), `{"code":4001,"reason":"bye","was_clean":true}`)
	expect(g.call("Terminate", request(``)), "NotFound CONNECTION_NOT_FOUND")

	peer = wstest.Dial(t, b.URL("/"), nil)
	id = events.Wait(4)[3].Subject[len("holdfast.default.open."):]
	expect(g.call("Terminate", request(``)), `{}`)
	peer.ExpectEnd()
	if got := closed(t, events.Wait(5)[4].Data); got.Code != 1006 || got.Cause != "BACKEND_TERMINATE" {
		t.Errorf("close event %+v", got)
	}
}

// Every verb refuses what it must, with the reason and the field.
func TestEveryRefusalThroughReflection(t *testing.T) {
	b := brokertest.Start(t)
	events := bustest.Record(t, b.NATS, "holdfast.>")
	g := newGeneric(t, b.GRPC())
	wstest.Dial(t, b.URL("/"), nil)
	id := events.Wait(1)[0].Subject[len("holdfast.default.open."):]
	unknown := b.Node + "-aaaaaaaaaaaaaaaa"
	for _, c := range []struct{ method, request, want string }{
		{"Send", `{"connection_id":"nonsense","message":{"text":""}}`, "InvalidArgument INVALID_CONNECTION_ID connection_id"},
		{"Send", `{"connection_id":"` + unknown + `","message":{"text":""}}`, "NotFound CONNECTION_NOT_FOUND"},
		{"Send", `{"connection_id":"aaaaaaaaaa-aaaaaaaaaaaaaaaa","message":{"text":""}}`, "NotFound CONNECTION_GONE"},
		{"Send", `{"connection_id":"ID","message":{}}`, "InvalidArgument INVALID_MESSAGE message"},
		{"Send", `{"connection_id":"ID","message":{"text":"x","fragment_id":"abc"}}`, "InvalidArgument INVALID_FRAGMENT message.fragment_id"},
		{"Send", `{"connection_id":"ID","message":{"text":"x"},"confirmation":9}`, "InvalidArgument INVALID_CONFIRMATION confirmation"},
		{"Send", `{"connection_id":"ID","message":{"text":"x"},"expire_after":"-1s"}`, "InvalidArgument INVALID_DURATION expire_after"},
		{"Close", `{"connection_id":"ID","code":1005}`, "InvalidArgument INVALID_CLOSE_CODE code"},
		{"Close", `{"connection_id":"ID","reason":"` + strings.Repeat("r", 124) + `"}`, "InvalidArgument REASON_TOO_LONG reason"},
		{"Ping", `{"connection_id":"ID","payload":"` + strings.Repeat("QUFB", 42) + `"}`, "InvalidArgument CONTROL_PAYLOAD_TOO_LONG payload"},
		{"Pong", `{"connection_id":"ID","confirmation":"RECEIVED"}`, "InvalidArgument INVALID_CONFIRMATION confirmation"},
		{"Pause", `{"connection_id":"ID","resume_after":"3600s"}`, "InvalidArgument INVALID_DURATION resume_after"},
		{"List", `{"page_token":"nonsense"}`, "InvalidArgument INVALID_PAGE_TOKEN page_token"},
		{"List", `{"filter":{"namespace":"NO"}}`, "InvalidArgument INVALID_NAMESPACE filter.namespace"},
		{"Count", `{"filter":{"group":"a b"}}`, "InvalidArgument INVALID_GROUP filter.group"},
		{"Update", `{"connection_id":"ID","expire_time":"2001-01-01T00:00:00Z"}`, "InvalidArgument INVALID_EXPIRE_TIME expire_time"},
		{"Update", `{"connection_id":"ID","user":"a\u0000b"}`, "InvalidArgument INVALID_USER user"},
		{"Update", `{"connection_id":"ID","set_attributes":{"":"x"}}`, "InvalidArgument INVALID_ATTRIBUTES set_attributes"},
		{"SendMany", `{"message":{"text":"x"}}`, "InvalidArgument INVALID_BATCH connection_ids"},
		{"Watch", `{"kinds":["KIND_UNSPECIFIED"]}`, "InvalidArgument INVALID_FILTER kinds"},
	} {
		if got := g.call(c.method, strings.ReplaceAll(c.request, `"ID"`, `"`+id+`"`)); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.method, c.request, got, c.want)
		}
	}
}

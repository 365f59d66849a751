package main_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// guest is a client that is being admitted.
type guest struct {
	id      string
	request *nats.Msg
	arrives <-chan *wstest.Peer // with the 101
}

func (d *door) guest(asked <-chan *nats.Msg) *guest {
	d.t.Helper()
	arrives := make(chan *wstest.Peer, 1)
	go func() {
		p, resp := wstest.TryDial(d.t, d.URL("/chat/lobby"), nil)
		if resp.StatusCode == 101 {
			arrives <- p
		}
		close(arrives)
	}()
	m := next(d.t, asked)
	var h struct {
		ID string `json:"connection_id"`
	}
	if err := json.Unmarshal(m.Data, &h); err != nil {
		d.t.Fatal(err)
	}
	return &guest{h.ID, m, arrives}
}

func (g *guest) answer(t *testing.T, answer string) *wstest.Peer {
	t.Helper()
	if err := g.request.Respond([]byte(answer)); err != nil {
		t.Fatal(err)
	}
	return next(t, g.arrives)
}

func textTo(id, text string) *holdfastv1.SendRequest {
	return &holdfastv1.SendRequest{ConnectionId: id, Message: &holdfastv1.Message{Payload: &holdfastv1.Message_Text{Text: text}}}
}

// pendingCalls are all kinds of calls about one connection. Each answers its error.
func pendingCalls(t *testing.T, b *brokertest.Broker, id string) map[string]func() error {
	t.Helper()
	connections, groups := holdfastv1.NewConnectionServiceClient(b.GRPC()), holdfastv1.NewGroupServiceClient(b.GRPC())
	failure := func(failures int, code int32) error {
		if failures == 0 {
			return nil
		}
		return status.Error(codes.Code(code), "one of many")
	}
	return map[string]func() error{
		"Send": func() error {
			_, err := connections.Send(t.Context(), textTo(id, "sent"))
			return err
		},
		"Get": func() error {
			_, err := connections.Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: id})
			return err
		},
		"Update": func() error {
			_, err := connections.Update(t.Context(), &holdfastv1.UpdateRequest{ConnectionId: id, SetAttributes: map[string]string{"a": "b"}})
			return err
		},
		"SendMany": func() error {
			resp, err := connections.SendMany(t.Context(), &holdfastv1.SendManyRequest{
				ConnectionIds: []string{id}, Message: textTo(id, "sent").Message,
			})
			if err != nil || len(resp.GetFailures()) == 0 {
				return err
			}
			return failure(1, resp.GetFailures()[0].GetCode())
		},
		"AddMembers": func() error {
			resp, err := groups.AddMembers(t.Context(), &holdfastv1.AddMembersRequest{
				Namespace: "chat", Groups: []string{"g"}, ConnectionIds: []string{id},
			})
			if err != nil || len(resp.GetFailures()) == 0 {
				return err
			}
			return failure(1, resp.GetFailures()[0].GetCode())
		},
	}
}

// begin begins the calls and waits until the broker has them.
func begin(t *testing.T, calls map[string]func() error) <-chan error {
	t.Helper()
	ended := make(chan error, len(calls))
	for _, call := range calls {
		go func() { ended <- call() }()
	}
	return ended
}

// What is asked of a connection that is being admitted waits for it: by the node that has it, or through another.
func TestCallsWaitForTheOpen(t *testing.T) {
	d := newDoor(t, patientAdmission)
	other := brokertest.Start(t, "--nats-url="+d.NATS)
	asked := d.handshakes()
	for name, b := range map[string]*brokertest.Broker{"its node": d.Broker, "another node": other} {
		t.Run(name, func(t *testing.T) {
			g := d.guest(asked)
			calls := pendingCalls(t, b, g.id)
			ended := begin(t, calls)
			d.untilWaiting(len(calls))
			p := g.answer(t, `{"accept":{}}`)
			for range calls {
				if err := next(t, ended); err != nil {
					t.Error(err)
				}
			}
			p.Expect(wire.Text, "sent")
			p.Expect(wire.Text, "sent")
		})
		t.Run(name+", refused", func(t *testing.T) {
			g := d.guest(asked)
			calls := pendingCalls(t, b, g.id)
			ended := begin(t, calls)
			d.untilWaiting(len(calls))
			if g.answer(t, `{"refuse":{}}`) != nil {
				t.Fatal("it was let in")
			}
			for range calls {
				if err := next(t, ended); status.Code(err) != codes.NotFound {
					t.Error(err)
				}
			}
		})
	}
}

func (d *door) untilWaiting(n int) {
	d.t.Helper()
	d.untilMetric("holdfast_admission_waiting_calls", strconv.Itoa(n))
}

// A stream keeps the order of each connection, and a connection that is being admitted stops no other.
func TestStreamGoesOnWhileOneConnectionIsPending(t *testing.T) {
	d := newDoor(t, patientAdmission)
	asked := d.handshakes()
	there := d.guest(asked)
	friend := there.answer(t, `{"accept":{}}`)
	g := d.guest(asked)
	stream, err := holdfastv1.NewConnectionServiceClient(d.GRPC()).SendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, batch := range [][]*holdfastv1.SendRequest{
		{textTo(g.id, "1"), textTo(there.id, "a"), textTo(g.id, "2")}, {textTo(g.id, "3")}, {textTo(there.id, "b")},
	} {
		if err := stream.Send(&holdfastv1.SendStreamRequest{BatchId: uint64(i), Sends: batch}); err != nil {
			t.Fatal(err)
		}
	}
	friend.Expect(wire.Text, "a")
	friend.Expect(wire.Text, "b")
	if resp, err := stream.Recv(); err != nil || resp.GetBatchId() != 2 {
		t.Fatalf("%v, %v", resp, err)
	}
	if err := stream.CloseSend(); err != nil { // what waits is still sent
		t.Fatal(err)
	}
	p := g.answer(t, `{"accept":{}}`)
	for _, want := range []string{"1", "2", "3"} {
		p.Expect(wire.Text, want)
	}
	for range 2 {
		if resp, err := stream.Recv(); err != nil || len(resp.GetFailures()) != 0 {
			t.Errorf("%v, %v", resp, err)
		}
	}
}

// Replies on NATS wait, too, and those to others go on meanwhile.
func TestRepliesWaitForTheOpen(t *testing.T) {
	d := newDoor(t, patientAdmission)
	asked := d.handshakes()
	there := d.guest(asked)
	friend := there.answer(t, `{"accept":{}}`)
	g := d.guest(asked)
	subject := func(namespace, id string) string {
		return "holdfast-in." + namespace + ".reply." + d.Node + "." + id + ".t"
	}
	verdicts := bustest.Record(t, d.NATS, "verdicts")
	for _, m := range []*nats.Msg{
		{Subject: subject("chat", g.id), Data: []byte("1")},
		{Subject: subject("other", g.id), Data: []byte("foreign"), Reply: "verdicts"},
		{Subject: subject("chat", g.id), Data: []byte("2")},
		{Subject: subject("chat", there.id), Data: []byte("a")},
	} {
		if err := d.nats.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	friend.Expect(wire.Text, "a")
	if v := string(verdicts.Wait(1)[0].Data); !strings.Contains(v, "CONNECTION_NOT_FOUND") {
		t.Errorf("the verdict for another namespace is %s", v)
	}
	if err := d.nats.PublishMsg(&nats.Msg{Subject: subject("chat", g.id), Data: []byte("3"), Reply: "verdicts"}); err != nil {
		t.Fatal(err)
	}
	d.untilWaiting(3)
	p := g.answer(t, `{"accept":{}}`)
	for _, want := range []string{"1", "2", "3"} {
		p.Expect(wire.Text, want)
	}
	if v := string(verdicts.Wait(2)[1].Data); !strings.Contains(v, `"code":"OK"`) {
		t.Errorf("the verdict is %s", v)
	}
}

// A handshake whose time is over while a backend is asked is answered: its client is still there.
func TestTimeIsOverWhilePending(t *testing.T) {
	t.Parallel() // it waits most of the time
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	writeCertificate(t, cert, key, 1)
	d := newDoor(t, strings.Replace(patientAdmission, "10s", "4s", 1)+"clients: {handshake_timeout: 6s}\n",
		"--listen=127.0.0.1:0?cert="+cert+"&key="+key)
	d.handshakes() // nobody answers
	plain, err := net.Dial("tcp", address(d.Listen[0]))
	if err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Dial("tcp", address(d.Listen[1]), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	next(t, d.knock(nil)) // which takes two thirds of their time
	for _, nc := range []net.Conn{plain, secure} {
		defer func() { _ = nc.Close() }()
		if _, err := nc.Write([]byte("GET /chat/x HTTP/1.1\r\nHost: h\r\n" + upgradeFields + "\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	for _, nc := range []net.Conn{plain, secure} {
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
			t.Errorf("the answer is %s with %q", resp.Status, resp.Header)
		}
	}
}

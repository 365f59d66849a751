package doctest_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

const sigterm = syscall.SIGTERM

// soon is a time that a broker on this machine still takes for the future.
func soon() *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(3 * time.Second)) }

// dial opens a plain connection to the client port.
func dial(t *testing.T, b *brokertest.Broker) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.URL(""), "ws://"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// control is a client of the control API.
func control(b *brokertest.Broker) holdfastv1.ConnectionServiceClient {
	return holdfastv1.NewConnectionServiceClient(b.GRPC())
}

func send(t *testing.T, b *brokertest.Broker, id, what string) error {
	t.Helper()
	_, err := control(b).Send(t.Context(), &holdfastv1.SendRequest{ConnectionId: id, Message: text(what)})
	return err
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

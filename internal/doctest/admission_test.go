package doctest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// knock answers a handshake with a snippet.
func knock(t *testing.T, answer string) (*brokertest.Broker, *http.Response) {
	t.Helper()
	b := brokertest.Start(t, brokertest.Config(t, attended))
	nc := bustest.Dial(t, b.NATS)
	reply := func(m *nats.Msg) { _ = m.Respond([]byte(answer)) } // fails when the test is over
	if _, err := nc.Subscribe("holdfast-in.default.handshake", reply); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	_, resp := wstest.TryDial(t, b.URL("/"), nil)
	return b, resp
}

func answerAccepts(t *testing.T, s snippet) {
	b, resp := knock(t, s.text)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answered with %s", resp.Status)
	}
	got, err := control(b).Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: onlyConnection(t, b)})
	if err != nil {
		t.Fatal(err)
	}
	c := got.GetConnection()
	if c.GetUser() != "ann" || c.GetAttributes()["tenant"] != "t1" || strings.Join(c.GetGroups(), " ") != "lobby" || c.GetExpireTime().AsTime().Year() != 2030 {
		t.Errorf("the connection is %s", c)
	}
}

func answerRefuses(t *testing.T, s snippet) {
	_, resp := knock(t, s.text)
	if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("answered with %s and %v", resp.Status, resp.Header)
	}
}

const attended = "endpoints: [{path: /, admission: {mode: backend}}]\n"

func doorkeeperPython(t *testing.T, s snippet) {
	interpreter, b := python(t), brokertest.Start(t, brokertest.Config(t, attended))
	start(t, root, nil, interpreter, write(t, t.TempDir(), "door.py", here(b, s.text)))
	knowsAnn(t, b)
}

func doorkeeperNode(t *testing.T, s snippet) {
	interpreter, dir, b := node(t), withNodeClient(t), brokertest.Start(t, brokertest.Config(t, attended))
	start(t, dir, nil, interpreter, write(t, dir, "door.mjs", here(b, s.text)))
	knowsAnn(t, b)
}

// knowsAnn fails the test unless who shows the secret gets in, and nobody else.
func knowsAnn(t *testing.T, b *brokertest.Broker) {
	t.Helper()
	eventually(t, "the program decides", func() bool {
		_, resp := wstest.TryDial(t, b.URL("/"), nil)
		return resp.StatusCode == http.StatusUnauthorized
	})
	wstest.Dial(t, b.URL("/"), http.Header{"Authorization": {"Bearer hunter2"}})
}

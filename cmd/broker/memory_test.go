package main_test

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// hog is a broker with a small budget, neighbours who read, and somebody who knocks all the while to find it closed.
type hog struct {
	*abuse

	closes  *bustest.Recorder
	refused atomic.Bool // a handshake was, for want of memory
}

func newHog(t *testing.T) *hog {
	a := newAbuse(t, "path: /, limits: {send_queue: 8MiB, message_size: 7MiB}, heartbeat: {interval: 0s}", "--memory-budget=128MiB")
	h := &hog{abuse: a, closes: bustest.Record(t, a.broker.NATS, "holdfast.default.close.*")}
	var knocking sync.WaitGroup
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); knocking.Wait() })
	knocking.Go(func() { h.knock(stop) })
	return h
}

func (h *hog) knock(stop chan struct{}) {
	for !h.refused.Load() {
		select {
		case <-stop:
			return
		default:
		}
		p, resp := wstest.TryDial(h.t, h.broker.URL("/neighbour"), nil)
		_ = p.Close()
		h.note(resp)
	}
}

// note notes whether a handshake was refused, and reports whether it was accepted.
func (h *hog) note(resp *http.Response) (accepted bool) {
	if resp.StatusCode == http.StatusServiceUnavailable {
		h.refused.Store(true)
	}
	return resp.StatusCode == http.StatusSwitchingProtocols
}

// shed reports whether somebody was closed for want of memory.
func (h *hog) shed() bool { return metric(h.t, h.broker, "holdfast_memory_shed_total") != "0" }

// enough reports whether somebody was closed, and somebody who knocked was refused. A shortage may be over before anybody
// does.
func (h *hog) enough() bool { return h.refused.Load() && h.shed() }

// turnedAway checks that the attackers were, and nobody else: the process lives, the neighbours were served all the
// while, newcomers are accepted again.
func (h *hog) turnedAway(t *testing.T) {
	t.Helper()
	h.closes.Wait(1)
	for _, m := range h.closes.Messages() {
		if !bytes.Contains(m.Data, []byte(`"cause":"SLOW_CONSUMER"`)) {
			t.Errorf("a connection ended otherwise: %s", m.Data)
		}
	}
	if n := metric(t, h.broker, `holdfast_connections_refused_total{reason="memory"}`); n == "" {
		t.Error("no refused handshake is counted")
	}
	eventually(t, "end of the shortage", func() bool {
		return strings.Contains(h.broker.Stderr(), "within the memory budget again")
	})
	h.pinger.await(10)
	h.echoer.await(10)
}

// TestThreatReadersThatDoNotRead: what waits for clients who do not read would take more than the budget.
func TestThreatReadersThatDoNotRead(t *testing.T) {
	h := newHog(t)
	opens := bustest.Record(t, h.broker.NATS, "holdfast.default.open.*")
	client := holdfastv1.NewConnectionServiceClient(h.broker.GRPC())
	payload := bytes.Repeat([]byte("x"), 1<<20)
	for accepted := 0; !h.enough(); {
		_, resp := wstest.TryDial(t, h.broker.URL("/"), nil)
		if !h.note(resp) {
			continue
		}
		fill(t, client, opened(t, opens.Wait(accepted + 1)[accepted]).GetId(), payload)
		if accepted++; accepted > 100 && !h.shed() {
			t.Fatal("800 MiB wait for clients, and the budget is 128 MiB")
		}
	}
	h.turnedAway(t)
}

// fill sends to a connection until its queue is full, or it is gone.
func fill(t *testing.T, client holdfastv1.ConnectionServiceClient, id string, payload []byte) {
	t.Helper()
	for {
		_, err := client.Send(t.Context(), &holdfastv1.SendRequest{
			ConnectionId: id, Message: &holdfastv1.Message{Payload: &holdfastv1.Message_Binary{Binary: payload}},
		})
		switch status.Code(err) {
		case codes.OK:
		case codes.ResourceExhausted, codes.FailedPrecondition, codes.NotFound:
			return
		default:
			t.Fatal(err)
		}
	}
}

// TestThreatMessagesThatDoNotEnd: what has come of messages would take more than the budget.
func TestThreatMessagesThatDoNotEnd(t *testing.T) {
	h := newHog(t)
	part := wstest.Frame{Opcode: wire.Binary, NoFin: true, Payload: make([]byte, 6<<20)}
	for accepted := 0; !h.enough(); {
		p, resp := wstest.TryDial(t, h.broker.URL("/"), nil)
		if !h.note(resp) {
			continue
		}
		_ = p.TrySend(part, wstest.Ping("taken"))
		_, _ = p.TryReceive() // the pong, or the end
		if accepted++; accepted > 100 && !h.shed() {
			t.Fatal("messages of 600 MiB are unfinished, and the budget is 128 MiB")
		}
	}
	h.turnedAway(t)
}

package bus

import (
	"bytes"
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/hub"
)

func TestEnvelopeReadsBack(t *testing.T) {
	from := hub.NewNodeID()
	for k := kindRequest; k < kindEnd; k++ {
		want := envelope{kind: k, flags: flagLast, from: []byte(from), call: 1<<63 + 7, seq: 1<<31 + 5, size: 1<<31 + 3,
			value: 1<<63 + 1, body: []byte("body")}
		got, err := parseEnvelope(want.append(nil, from))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(envelope{})); err != nil || diff != "" {
			t.Errorf("%d: %v\n%s", k, err, diff)
		}
	}
	var list []byte
	entries := []aliveEntry{{1 << 40, 1 << 31, true}, {2, 0, false}}
	for _, a := range entries {
		list = a.append(list)
	}
	for _, want := range entries {
		a, rest, ok := cutAlive(list)
		if !ok || a != want {
			t.Errorf("%v, want %v", a, want)
		}
		list = rest
	}
	if _, _, ok := cutAlive(append(list, make([]byte, aliveLen-1)...)); ok {
		t.Error("half an entry")
	}
}

// FuzzPeers gives a node what anybody could publish on the private subjects, while it has a call under
// way and serves one.
func FuzzPeers(f *testing.F) {
	url := bustest.Server(f)
	p := startPeer(f, url, func(_ context.Context, _ hub.NodeID, request []byte, a *Answer) {
		if len(request) > 0 && request[0] == 'k' {
			return // kept open
		}
		a.End(request)
	})
	other := startPeer(f, url, echo)
	for k := kindRequest; k < kindEnd; k++ {
		f.Add((&envelope{kind: k, call: 1, body: []byte("k")}).append(nil, other.id))
		f.Add((&envelope{kind: k, flags: flagLast, call: 1, size: 1 << 31, value: 1 << 63, body: []byte("x")}).append(nil, other.id))
		f.Add((&envelope{kind: k, call: 2, size: 3, seq: 1, value: 1, body: []byte("xy")}).append(nil, "aaaaaaaaaa"))
	}
	f.Add((&envelope{kind: kindAlive, body: aliveEntry{1, 9, true}.append(nil)}).append(nil, other.id))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		p.receive(&nats.Msg{Data: bytes.Clone(data)})
		p.receiveAnswer(&nats.Msg{Subject: p.answers + "1", Data: bytes.Clone(data)})
		if used := p.callers.budget.used.Load(); used < 0 || used > maxAssembling {
			t.Errorf("%d bytes used", used)
		}
	})
}

//go:build linux

package main

import (
	"os"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/bench/client"
	"github.com/holdfast-broker/holdfast/internal/brokertest"
)

// TestMixedScenarioLosesNothing runs the program small, against the real broker; how fast it is says nothing.
func TestMixedScenarioLosesNothing(t *testing.T) {
	l, err := parse([]string{"-runs=1", "-scenarios=mixed", "-idle=100", "-busy=20", "-for=1s"})
	if err != nil {
		t.Fatal(err)
	}
	l.dir, l.broker = t.TempDir(), brokertest.Binary(t)
	if err := l.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	to := newReport(l)
	if err := l.measure(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	to.print(os.Stderr)
	if err := to.verdict(); err != nil {
		t.Error(err)
	}
	if n := to.Lines[0].Runs["msgs/s"][0]; n == 0 {
		t.Error("no message was answered")
	}
}

// TestNodesScenariosLoseNothing runs them small, too.
func TestNodesScenariosLoseNothing(t *testing.T) {
	l, err := parse([]string{"-for=800ms"})
	if err != nil {
		t.Fatal(err)
	}
	l.dir, l.broker = t.TempDir(), brokertest.Binary(t)
	if err := l.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, measure := range map[string]measurement{
		"through another node": through{1, 2, (*caller).stream, perSecond}.measure, "fan-out": fanOut{300, clusterNodes}.measure,
		"with and without the record": lifeCost{0, 100}.measure,
	} {
		f, bad, err := measure(t.Context(), l)
		if err != nil || bad != (faults{}) || f[0].Value == 0 {
			t.Errorf("%s: %v, %+v, %v", name, f, bad, err)
		}
	}
}

// TestTrafficSeesEveryFault: a check that cannot fail is none.
func TestTrafficSeesEveryFault(t *testing.T) {
	const busy = 1
	for name, test := range map[string]struct {
		conn    int
		payload []byte
		want    faults
	}{
		"right":          {0, client.Stamp{}.AppendMessage(nil, messageSize), faults{}},
		"wrong byte":     {0, append(client.Stamp{}.AppendMessage(nil, messageSize), 0), faults{Wrong: 1}},
		"cut short":      {0, client.Stamp{}.AppendMessage(nil, messageSize)[:messageSize-1], faults{Wrong: 1}},
		"not the next":   {0, client.Stamp{Seq: 1}.AppendMessage(nil, messageSize), faults{Wrong: 1}},
		"another's":      {0, client.Stamp{Index: 1}.AppendMessage(nil, messageSize), faults{Stray: 1}},
		"idle disturbed": {1, client.Stamp{Index: 1}.AppendMessage(nil, messageSize), faults{Stray: 1}},
	} {
		pool := &client.Pool{Conns: []*client.Conn{{Index: 0, Sent: 1}, {Index: 1}}}
		traffic := newTraffic(pool, busy, 1)
		traffic.stopping = true
		pool.OnMessage(pool.Conns[test.conn], 0, test.payload)
		if traffic.faults != test.want {
			t.Errorf("%s: %+v, want %+v", name, traffic.faults, test.want)
		}
	}
}

// TestHistogramIsExactEnough: quantiles are off by at most one part in 64.
func TestHistogramIsExactEnough(t *testing.T) {
	for _, v := range []time.Duration{0, 1, 63, 64, 127, 128, 1000, 123_456, time.Second, time.Hour} {
		var h client.Histogram
		h.Record(int64(v))
		if got := h.Quantile(0.99); got > v || v-got > v/64 {
			t.Errorf("%d: %d", v, got)
		}
	}
}

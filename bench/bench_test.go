//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/bench/client"
	"github.com/holdfast-broker/holdfast/bench/report"
	"github.com/holdfast-broker/holdfast/internal/brokertest"
)

// programs are built once.
var programs struct {
	sync.Once
	dir string
	lab lab
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(programs.dir)
	os.Exit(code)
}

// small makes a lab that is quick; how fast anything is says nothing.
func small(t *testing.T, args ...string) *lab {
	t.Helper()
	programs.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "bench-test"); programs.err == nil { //nolint:usetesting // outlives the test that needs it first
			programs.lab = lab{dir: programs.dir, broker: brokertest.Binary(t), nats: os.Getenv("HOLDFAST_NATS_SERVER")}
			programs.err = programs.lab.buildOwn(t.Context())
		}
	})
	l, err := parse(append([]string{"-runs=1", "-for=200ms", "-held=10ms", "-idle=100", "-most=120", "-tls=40", "-busy=20"}, args...))
	if err = errors.Join(err, programs.err); err != nil {
		t.Fatal(err)
	}
	built := &programs.lab
	l.dir, l.broker, l.nats, l.limits = t.TempDir(), built.broker, built.nats, built.limits
	l.cert, l.key, l.roots = built.cert, built.key, built.roots
	return l
}

// TestScenariosLoseNothing measures a little of everything, against the real broker and its limits.
func TestScenariosLoseNothing(t *testing.T) {
	untilMeasured(t, func(long string) (nothing []string) {
		l := small(t, "-scenarios=idle,tls,inbound,push,tail,mixed", long)
		to := &report.Data{}
		if err := l.measure(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		to.Print(os.Stderr)
		if err := to.Faulty(); err != nil {
			t.Error(err)
		}
		for _, want := range []struct{ scenario, row, figure string }{
			{"mixed", withNATS, report.Rate}, {"inbound", "100 × 8, " + barePublisher, report.CPU}, {"push", "Send, " + bareControl, report.Rate},
			{"idle", withNATS, report.Held}, {"tail", "100 connections", report.Latency(withNATS, 0.5)},
		} {
			if runs := to.Row(want.scenario, want.row).Runs(want.figure); len(runs) == 0 || runs[0] <= 0 {
				nothing = append(nothing, fmt.Sprintf("%s, %s: %s is %v", want.scenario, want.row, want.figure, runs))
			}
		}
		return nothing
	})
}

// untilMeasured measures for a moment, and once more for longer if the machine stood still then and there was nothing.
func untilMeasured(t *testing.T, measure func(long string) (nothing []string)) {
	t.Helper()
	var nothing []string
	for _, long := range []string{"-for=200ms", "-for=4s"} {
		if nothing = measure(long); len(nothing) == 0 {
			return
		}
		t.Log("with ", long, ": ", strings.Join(nothing, "; "))
	}
	t.Error(strings.Join(nothing, "; "))
}

// TestNodesScenariosLoseNothing runs those of three nodes small, too.
func TestNodesScenariosLoseNothing(t *testing.T) {
	for name, measure := range map[string]measurement{
		"through another node":        through{1, 2, (*caller).stream, perSecond}.measure,
		"fan-out":                     fanOut{300, clusterNodes, withNATS}.measure,
		"bare fan-out":                fanOut{300, 1, bareControl}.measure,
		"with and without the record": lifeCost{0, 100}.measure,
	} {
		untilMeasured(t, func(long string) (nothing []string) {
			f, bad, err := measure(t.Context(), small(t, long))
			if err != nil || bad != (faults{}) {
				t.Errorf("%s: %+v, %v", name, bad, err)
			} else if f[0].value == 0 {
				nothing = append(nothing, fmt.Sprintf("%s: %v", name, f))
			}
			return nothing
		})
	}
}

// TestAnyServerCanBeMeasured aims at one that is not ours to start.
func TestAnyServerCanBeMeasured(t *testing.T) {
	mine := small(t)
	s, err := mine.set(t.Context(), bareEcho)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.strike() }()
	untilMeasured(t, func(long string) (nothing []string) {
		l := small(t, "-url=ws://"+s.address+"/chat", "-pid="+strconv.Itoa(s.server.PID()), long)
		to := &report.Data{}
		if err := l.measure(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		for _, r := range to.Rows {
			figure := report.CPU
			if r.Scenario == "idle" {
				figure = report.Held
			}
			if r.Faults != (faults{}) {
				t.Errorf("%s: %+v", r.Name, r.Faults)
			} else if runs := r.Runs(figure); len(runs) != 1 || runs[0] <= 0 {
				nothing = append(nothing, fmt.Sprintf("%s: %v", r.Name, r.Figures))
			}
		}
		return nothing
	})
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

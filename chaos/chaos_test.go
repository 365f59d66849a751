//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
)

// small is a run that a busy machine plays in about a minute.
func small(t *testing.T, args ...string) *verdict {
	t.Helper()
	s, err := parse(append([]string{
		"-clients=300", "-lease=4s", "-drop-after=30s", "-outage=6s", "-pause=1s", "-every=1s", "-sends=100",
		"-strict=false", // how late closes are is a matter of the machine
		"-dir=" + t.TempDir(), "-broker=" + brokertest.Binary(t),
	}, args...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { showComplaints(t, s.dir) })
	var out strings.Builder
	v, err := run(t.Context(), s, &out)
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	v.print(&out)
	t.Log(out.String())
	for _, b := range v.Broken {
		t.Error(b)
	}
	if v.Opens < 300 || v.Messages == 0 || v.Confirmed == 0 || v.Pinged != 300 {
		t.Error("the run did not do what it is for")
	}
	return v
}

// showComplaints logs what brokers complained of, if the test has failed: their logs go with it.
func showComplaints(t *testing.T, dir string) {
	if !t.Failed() {
		return
	}
	for i := range brokers {
		text, _ := os.ReadFile(filepath.Join(dir, fmt.Sprintf("b%d.log", i)))
		for line := range strings.Lines(string(text)) {
			if !strings.Contains(line, "level=INFO") {
				t.Logf("broker %d: %s", i, line)
			}
		}
	}
}

// Exactly one close for each open, whatever dies: brokers are killed, stopped and cut off, NATS is away or loses its
// leader.
func TestEveryOpenHasOneCloseWhateverDies(t *testing.T) {
	const each = "-only=kill,stop,cut,leader,outage"
	v := small(t, "-seed=5", "-time=48s", each)
	if len(v.Faults) != 5 || v.Causes["NODE_LOST"] == 0 {
		t.Errorf("faults %v, causes %v: not all were played", v.Faults, v.Causes)
	}
}

// Brokers restarted one by one lose no event, turn none around, and break no confirmed send.
func TestRollingRestartLosesNothing(t *testing.T) {
	v := small(t, "-seed=1", "-time=30s", "-only=rolling")
	if v.Causes["NODE_DRAIN"] == 0 || v.Causes["NODE_LOST"] > 0 {
		t.Errorf("causes of closes: %v", v.Causes)
	}
}

// A schedule follows from its seed alone, and every fault is in a long one.
func TestScheduleCanBeReplayed(t *testing.T) {
	parsed := func(args ...string) settings {
		s, err := parse(args)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	text := func(s settings) string {
		var b strings.Builder
		for _, st := range plan(s) {
			b.WriteString(st.String() + "\n")
		}
		return b.String()
	}
	seven := text(parsed("-seed=7"))
	if again := text(parsed("-seed=7")); seven != again {
		t.Errorf("first\n%s\nthen\n%s", seven, again)
	}
	if text(parsed("-seed=8")) == seven {
		t.Error("seed 8 is like seed 7")
	}
	for _, name := range faultNames() {
		if !strings.Contains(seven, name) {
			t.Errorf("no %s in\n%s", name, seven)
		}
	}
	begin := time.Duration(0)
	for _, st := range plan(parsed("-seed=7", "-time=5m")) {
		begin += st.hold
	}
	if begin > 5*time.Minute {
		t.Errorf("faults of 5 minutes last %v", begin)
	}
}

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/bench/report"
)

// TestTheDocumentHasTheTables: what the document shows is what the program says.
func TestTheDocumentHasTheTables(t *testing.T) {
	document, err := os.ReadFile("../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := tabulate(&b); err != nil {
		t.Fatal(err)
	}
	for table := range strings.SplitSeq(b.String(), "\n\n") {
		if !strings.Contains(string(document), strings.TrimSpace(table)+"\n") {
			t.Errorf("docs/scale.md lacks this table; run \"go run ./bench/scale\":\n%s", table)
		}
	}
}

// TestWallsStandWhereTheDocumentSays finds the sizes at which each of the three walls is reached.
func TestWallsStandWhereTheDocumentSays(t *testing.T) {
	walls := []struct {
		name     string
		reached  func(load) bool
		from, to float64
	}{
		{"Publish takes NATS ten times what messages do", func(l load) bool { return l.publishCores() > 10*l.natsCores() }, 80e6, 90e6},
		{"Publish takes NATS as much as messages do", func(l load) bool { return l.publishCores() > l.natsCores() }, 8e6, 9e6},
		{"one stream has no more writes", func(l load) bool { return l.leaderShare() > 1 }, 60e6, 65e6},
		{"interest takes 16 GB of each NATS server", func(l load) bool { return l.interestMemory() > 16e9 }, 13e6, 16e6},
	}
	for _, w := range walls {
		size := 10e3
		for !w.reached(loadOf(size)) {
			size *= 1.01
		}
		if size < w.from || size > w.to {
			t.Errorf("%s: at %.0f connections, want %.0f to %.0f", w.name, size, w.from, w.to)
		}
	}
}

func TestStorm(t *testing.T) {
	calm, once := after(1000, 128)
	if calm > firstRetry.value+0.15 || once > 1.01 {
		t.Errorf("a few clients need %.1f s and %.2f attempts", calm, once)
	}
	// A node that is overrun serves all in the end, at its rate.
	long, tries := after(200_000, 10_000)
	if least := 200_000 * 0.99 / (coresOfNode.value * coresUsable / 10_000e-6); long < least || tries <= 1 {
		t.Errorf("%.0f s and %.1f attempts, and at least %.0f s of work", long, tries, least)
	}
}

// TestFiguresAreThoseThatWereMeasured: what was rounded must not be off by more than a factor of two, which is nothing here.
func TestFiguresAreThoseThatWereMeasured(t *testing.T) {
	d, err := report.Read("../data/performance.json")
	if err != nil {
		t.Fatal(err)
	}
	const socket = 5e3
	for _, test := range []struct {
		figure                figure
		scenario, row, column string
		besides               float64
	}{
		{perConnection, "growth", "18,000, broker", report.AfterMessage, socket},
		{perHandshake, "idle", "broker", report.Handshake, 0},
		{perEvent, "inbound", "1,000 × 1, broker", report.CPU, 0},
		{perEventNATS, "inbound", "1,000 × 1, broker", report.NATS, 0},
	} {
		measured := report.Median(d.Row(test.scenario, test.row).Runs(test.column)) + test.besides
		if off := test.figure.value / measured; off < 0.5 || off > 2 {
			t.Errorf("%s: %v %s is assumed, %v was measured", test.figure.name, test.figure.value, test.figure.unit, measured)
		}
	}
}

package report

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	committed = "../data/performance.json"
	document  = "../../docs/performance.md"
	plots     = "../../docs/plots"
)

// TestTheDocumentSaysWhatWasMeasured: tables and plots are those of the committed figures.
func TestTheDocumentSaysWhatWasMeasured(t *testing.T) {
	d, err := Read(committed)
	if err != nil {
		t.Fatal(err)
	}
	const renew = "run \"go run ./bench -report\""
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if renewed, err := d.Document(string(text)); err != nil || renewed != string(text) {
		t.Errorf("%s is stale (%v): %s", document, err, renew)
	}
	for name, want := range d.Plots() {
		if got, err := os.ReadFile(filepath.Join(plots, name)); err != nil || string(got) != want {
			t.Errorf("%s is stale (%v): %s", name, err, renew)
		}
	}
}

// TestEveryTargetIsJudged: a row that was renamed would leave its target out.
func TestEveryTargetIsJudged(t *testing.T) {
	d, err := Read(committed)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		if len(d.at(target.here)) == 0 || len(d.at(target.beside)) == 0 {
			t.Errorf("%s: nothing was measured: %v, %v", target.name, d.at(target.here), d.at(target.beside))
		}
	}
	if err := d.Faulty(); err != nil {
		t.Error(err)
	}
}

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		target       target
		here, beside []float64
		want         bool
	}{
		{target{most: 5}, []float64{5}, nil, true},
		{target{most: 5}, []float64{5.1}, []float64{5.1}, false},
		{target{most: 5, times: drift}, []float64{5.5}, []float64{5}, true},
		{target{most: 5, times: drift}, []float64{6}, []float64{5}, false},
		// The ratio is of each run, so a machine that became slow meanwhile changes nothing.
		{target{most: 5, times: drift}, []float64{6, 12, 6}, []float64{6, 12, 6}, true},
		{target{times: 5}, []float64{10}, []float64{2}, true},
		{target{times: 5}, []float64{10}, []float64{1.9}, false},
		{target{times: 5}, []float64{10}, nil, false},
		{target{least: 100}, []float64{99, 100, 101}, nil, true},
		{target{least: 100}, []float64{99}, nil, false},
	} {
		if got := test.target.met(test.here, test.beside); got != test.want {
			t.Errorf("%+v, here %v, beside %v: met is %v", test.target, test.here, test.beside, got)
		}
	}
}

func TestDocumentKeepsWhatIsNotGenerated(t *testing.T) {
	d := &Data{Date: "2026-11-22", Versions: []string{"v1"}}
	d.Row("idle", "broker").Add(Held, 1234)
	got, err := d.Document("before\n<!-- bench: idle -->\nstale\n<!-- bench end -->\nafter\n")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := d.Document(got); again != got {
		t.Errorf("another time it is another text:\n%s", again)
	}
	if !strings.HasPrefix(got, "before\n<!--") || !strings.HasSuffix(got, "-->\nafter\n") ||
		!strings.Contains(got, "1,234") || strings.Contains(got, "stale") {
		t.Errorf("%s", got)
	}
	if _, err := d.Document("<!-- bench: idle -->\n"); err == nil {
		t.Error("a part without an end is taken")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.123: "0.12", 1.5: "1.50", 9.99: "9.99", 12.34: "12.3", 99.9: "99.9", 123.4: "123", 1234: "1,234", 1234567.8: "1,234,568", -1234: "-1,234",
	} {
		if got := Number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestSteps(t *testing.T) {
	for v, want := range map[float64][]float64{
		18000: {0, 5000, 10000, 15000, 20000}, 10000: {0, 2000, 4000, 6000, 8000, 10000}, 420: {0, 100, 200, 300, 400, 500},
	} {
		if got := steps(v); !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
}

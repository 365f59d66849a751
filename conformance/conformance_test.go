package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
)

// TestBrokerConforms plays the catalogue but for what takes long, so that nobody needs "make conformance" to see
// that something broke.
func TestBrokerConforms(t *testing.T) {
	for _, driver := range []string{"epoll", "portable"} {
		t.Run(driver, func(t *testing.T) {
			t.Setenv("HOLDFAST_DRIVER", driver) // which the broker's process inherits
			conforms(t)
		})
	}
}

func conforms(t *testing.T) {
	var cases []testCase
	for _, c := range catalogue() {
		if !c.slow {
			cases = append(cases, c)
		}
	}
	st, err := setUp(t.Context(), brokertest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	results := playAll(t.Context(), st, cases, 8, func(result) {})
	noCompression := st.noCompression
	if err := st.strike(); err != nil {
		t.Error(err)
	}
	for _, r := range results {
		if !r.notRunnable && (r.verdict == failed || r.verdict == nonStrict) {
			var out bytes.Buffer
			printCase(&out, r)
			t.Error(out.String())
		}
	}
	if noCompression != nil {
		t.Error("cases with compression cannot run: ", noCompression)
	}
}

// TestCatalogueIsWhole counts what the well-known catalogue has in each section, and ours beside it.
func TestCatalogueIsWhole(t *testing.T) {
	want := map[int]int{
		1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1, 12: 90, 13: 126,
	}
	own := []string{"6.4.5", "7.7.14", "7.7.15", "7.7.16", "7.9.10", "14"}
	got := map[int]int{}
	seen := map[string]bool{}
	for _, c := range catalogue() {
		if seen[c.id] || c.title == "" || c.rfc == "" || len(c.steps) == 0 {
			t.Errorf("%s: twice, or not whole", c.id)
		}
		seen[c.id] = true
		if !matches(c.id, strings.Join(own, ",")) {
			got[c.section()]++
		}
	}
	for section, n := range want {
		if got[section] != n {
			t.Errorf("section %d has %d cases, want %d", section, got[section], n)
		}
	}
}

// TestReadmeKeepsUp: an informational case needs a reason that people can read, and the number is right.
func TestReadmeKeepsUp(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := catalogue()
	if !bytes.Contains(readme, fmt.Appendf(nil, "plays %d cases", len(all))) {
		t.Errorf("it does not say that there are %d cases", len(all))
	}
	for _, c := range all {
		if c.informational != "" && !bytes.Contains(readme, []byte(c.id)) {
			t.Errorf("%s is not there", c.id)
		}
	}
}

// TestProgramEndsWithAnErrorUnlessAllIsWell plays against a broker that does not exist, and a case likewise.
func TestProgramEndsWithAnErrorUnlessAllIsWell(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), options{cases: "99.1"}, &out); err == nil {
		t.Error("no such case is no error")
	}
	if err := run(t.Context(), options{cases: "1.1.1", broker: "/nowhere"}, &out); err == nil {
		t.Error("no such broker is no error")
	}
	results := []result{{testCase: &testCase{id: "1.1"}}, {testCase: &testCase{id: "1.2"}, verdict: nonStrict}}
	if err := summarize(&out, results, time.Second); err == nil || !strings.Contains(out.String(), "1 passed, 1 failed") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// TestTablesOfUTF8AreRight: the cases of section 6 say what is valid, and so does the library.
func TestTablesOfUTF8AreRight(t *testing.T) {
	for _, group := range utf8Groups() {
		for i, sequence := range group.sequences {
			if utf8.ValidString(sequence) != group.valid(i) {
				t.Errorf("6.%d.%d: %q", group.number, i+1, sequence)
			}
		}
	}
}

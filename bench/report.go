//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The figures that servers are compared by.
const (
	cpuFigure    = "server CPU µs/msg"
	memoryFigure = "RSS B/conn, held"
)

// figure is one number of one run.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

type figures []figure

func (f *figures) add(name string, value float64) { *f = append(*f, figure{name, value}) }

// line is one row with the figures of all runs.
type line struct {
	Scenario string               `json:"scenario"`
	Row      string               `json:"row"`
	Names    []string             `json:"-"`
	Runs     map[string][]float64 `json:"runs"`
	Faults   faults               `json:"faults"`
}

// report collects what was measured.
type report struct {
	Versions []string `json:"versions"`
	Lines    []*line  `json:"rows"`
}

func newReport(l *lab) *report { return &report{Versions: l.versions(context.Background())} }

func (r *report) add(of row, f figures, bad faults) {
	i := slices.IndexFunc(r.Lines, func(l *line) bool { return l.Scenario == of.scenario && l.Row == of.name })
	if i < 0 {
		i = len(r.Lines)
		r.Lines = append(r.Lines, &line{Scenario: of.scenario, Row: of.name, Runs: map[string][]float64{}})
	}
	l := r.Lines[i]
	for _, one := range f {
		if _, known := l.Runs[one.Name]; !known {
			l.Names = append(l.Names, one.Name)
		}
		l.Runs[one.Name] = append(l.Runs[one.Name], one.Value)
	}
	l.Faults.add(bad)
}

// verdict is an error when anything was lost, wrong or stray.
func (r *report) verdict() error {
	for _, l := range r.Lines {
		if l.Faults != (faults{}) {
			return fmt.Errorf("%s: %s: %+v: all must be 0", l.Scenario, l.Row, l.Faults)
		}
	}
	return nil
}

func (r *report) writeJSON(name string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o600) //nolint:gosec // the path is the operator's
}

// print writes a table for each scenario, in Markdown.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s.\nCells are medians (lowest–highest).\n", strings.Join(r.Versions, "; "))
	for start := 0; start < len(r.Lines); {
		end := start
		for end < len(r.Lines) && r.Lines[end].Scenario == r.Lines[start].Scenario {
			end++
		}
		printTable(w, r.Lines[start:end])
		start = end
	}
}

func printTable(w io.Writer, lines []*line) {
	names := lines[0].Names
	table := [][]string{slices.Concat([]string{lines[0].Scenario}, names, []string{"× bare echo", "errors, lost, wrong, stray"})}
	for _, l := range lines {
		cells := []string{l.Row}
		for _, name := range names {
			cells = append(cells, cell(l.Runs[name]))
		}
		f := l.Faults
		bad := fmt.Sprintf("%d, %d, %d, %d", f.Errors, f.Lost, f.Wrong, f.Stray)
		table = append(table, append(cells, ratio(l, lines), bad))
	}
	writeTable(w, table)
}

// ratio compares a row with that of the bare echo peer under the same load: by memory where there is
// such a figure, else by processor time.
func ratio(l *line, lines []*line) string {
	shape, _, _ := strings.Cut(l.Row, ", ")
	for _, bare := range lines {
		loaded := bare.Row == shape+", "+bareEcho
		if bare == l || !loaded && bare.Row != bareEcho {
			continue
		}
		name := memoryFigure
		if loaded {
			name = cpuFigure
		}
		if limit := median(bare.Runs[name]); limit > 0 {
			return number(median(l.Runs[name]) / limit)
		}
	}
	return ""
}

func writeTable(w io.Writer, table [][]string) {
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	fmt.Fprintln(w)
	for n, cells := range table {
		for i, c := range cells {
			fmt.Fprintf(w, "| %s%s ", c, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)))
		}
		fmt.Fprintln(w, "|")
		for i := 0; n == 0 && i < len(widths); i++ {
			fmt.Fprintf(w, "|%s", strings.Repeat("-", widths[i]+2))
		}
		if n == 0 {
			fmt.Fprintln(w, "|")
		}
	}
}

// cell is a median and its range.
func cell(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	middle, low, high := number(median(values)), number(slices.Min(values)), number(slices.Max(values))
	if low == high {
		return middle
	}
	return fmt.Sprintf("%s (%s–%s)", middle, low, high)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

// number has three digits or all before the point, with commas.
func number(v float64) string {
	decimals := 0
	if magnitude := math.Abs(v); magnitude < 100 && magnitude != 0 {
		decimals = min(2, max(0, 2-int(math.Floor(math.Log10(magnitude)))))
	}
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	for i := strings.IndexByte(text+".", '.') - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

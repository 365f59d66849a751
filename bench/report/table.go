package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// scenarios have a table each, of the figures that say most.
var scenarios = []struct {
	name    string
	figures []string
}{
	{"idle", []string{Held, AfterMessage, Handshake, "handshakes/s", OthersOpening}},
	{"tls", []string{Held, AfterMessage, Handshake, "handshakes/s", OthersOpening}},
	{"growth", []string{Held, AfterMessage, CPU, Rate, Others}},
	{"inbound", []string{CPU, NATS, "load CPU µs/msg", Rate, RTT, Others}},
	{"echo", []string{CPU, "load CPU µs/msg", Rate, RTT, "RTT p99 µs", Others}},
	{"push", []string{CPU, "load CPU µs/msg", Rate, "arrival p50 µs", "answer p50 µs", Others}},
	{"fanout", []string{CPU, "load CPU µs/msg", Rate, "answer p50 ms", "last arrival p50 ms", Others}},
	{"tail", []string{"saturated, messages/s", Latency("broker", 0.5), Latency("bare echo", 0.5), Latency("broker", 0.999), Latency("bare echo", 0.999)}},
	{"roundtrip", []string{RTT, "RTT p99 µs", CPU, Others}},
}

// Print writes the judgement of the targets, and a table for each scenario, in Markdown.
func (d *Data) Print(w io.Writer) {
	fmt.Fprintf(w, "%s.\nCells are medians (lowest–highest).\n\n", strings.Join(d.Versions, "; "))
	d.Judge(w)
	for _, name := range d.names() {
		fmt.Fprintln(w)
		d.Table(w, name)
	}
}

// names are the scenarios that were measured.
func (d *Data) names() (names []string) {
	for _, r := range d.Rows {
		if len(names) == 0 || names[len(names)-1] != r.Scenario {
			names = append(names, r.Scenario)
		}
	}
	return names
}

// Table writes what was measured in a scenario.
func (d *Data) Table(w io.Writer, scenario string) {
	var figures []string
	for _, s := range scenarios {
		if s.name == scenario {
			figures = s.figures
		}
	}
	var table [][]string
	for _, r := range d.Rows {
		if r.Scenario != scenario {
			continue
		}
		if figures == nil {
			for _, f := range r.Figures {
				figures = append(figures, f.Name)
			}
		}
		cells := []string{r.Name}
		for _, name := range figures {
			cells = append(cells, cell(r.Runs(name)))
		}
		table = append(table, cells)
	}
	writeTable(w, append([][]string{append([]string{scenario}, figures...)}, table...))
}

func writeTable(w io.Writer, table [][]string) {
	widths := make([]int, len(table[0]))
	for _, cells := range table {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for n, cells := range table {
		for i, c := range cells {
			fmt.Fprintf(w, "| %s%s ", c, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)))
		}
		fmt.Fprintln(w, "|")
		for i := 0; n == 0 && i < len(widths); i++ {
			right := ":"
			if i == 0 {
				right = "-"
			}
			fmt.Fprintf(w, "|%s%s", strings.Repeat("-", widths[i]+1), right)
		}
		if n == 0 {
			fmt.Fprintln(w, "|")
		}
	}
}

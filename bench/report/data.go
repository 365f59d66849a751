// Package report turns what was measured into what is read: tables, the judgement of every target, plots, and the parts
// of docs/performance.md that show them. It measures nothing, and the same figures give the same text.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// Names of figures that somebody looks for.
const (
	CPU          = "server CPU µs/msg"
	NATS         = "NATS CPU µs/msg"
	Rate         = "msgs/s"
	RTT          = "RTT p50 µs"
	Held         = "RSS B/conn, held"
	AfterMessage = "RSS B/conn, after 1 message"
	Handshake    = "server CPU µs/handshake"
	// Others shows how noisy the machine was: runs among much noise cost more for each message.
	Others        = "others' cores"
	OthersOpening = "others' cores, opening"
)

// Quantiles are those that a tail is shown by.
var Quantiles = []float64{0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999}

// Latency names a quantile of a peer's latency.
func Latency(peer string, q float64) string {
	return fmt.Sprintf("%s p%s µs", peer, strconv.FormatFloat(100*q, 'f', -1, 32))
}

// RSSAt names the resident memory with so many connections open.
func RSSAt(conns int) string { return fmt.Sprintf("RSS MB at %d", conns) }

// Data is all that was measured at once.
type Data struct {
	Date     string   `json:"date"`
	Versions []string `json:"versions"`
	Rows     []*Row   `json:"rows"`
}

// Row is one server under one load.
type Row struct {
	Scenario string   `json:"scenario"`
	Name     string   `json:"row"`
	Figures  []Figure `json:"figures"`
	Faults   Faults   `json:"faults"`
}

// Figure has a value for each run.
type Figure struct {
	Name string    `json:"name"`
	Runs []float64 `json:"runs"`
}

// Faults are what must not be: each is a bug of the broker or of the benchmark.
type Faults struct {
	Errors uint64 `json:"errors"` // connections that ended, calls and events that failed
	Lost   uint64 `json:"lost"`   // messages and events that never came
	Wrong  uint64 `json:"wrong"`  // in a byte, or not the next in order
	Stray  uint64 `json:"stray"`  // on another connection than their own
}

// Add adds another row's.
func (f *Faults) Add(other Faults) {
	f.Errors, f.Lost = f.Errors+other.Errors, f.Lost+other.Lost
	f.Wrong, f.Stray = f.Wrong+other.Wrong, f.Stray+other.Stray
}

// Row finds a row, or makes it.
func (d *Data) Row(scenario, name string) *Row {
	if r := d.find(scenario, name); r != nil {
		return r
	}
	r := &Row{Scenario: scenario, Name: name}
	d.Rows = append(d.Rows, r)
	return r
}

func (d *Data) find(scenario, name string) *Row {
	i := slices.IndexFunc(d.Rows, func(r *Row) bool { return r.Scenario == scenario && r.Name == name })
	if i < 0 {
		return nil
	}
	return d.Rows[i]
}

// Add adds the value of one run.
func (r *Row) Add(figure string, value float64) {
	i := slices.IndexFunc(r.Figures, func(f Figure) bool { return f.Name == figure })
	if i < 0 {
		i = len(r.Figures)
		r.Figures = append(r.Figures, Figure{Name: figure})
	}
	r.Figures[i].Runs = append(r.Figures[i].Runs, value)
}

// Runs are the values of a figure; none if there is no such row or figure.
func (r *Row) Runs(figure string) []float64 {
	if r == nil {
		return nil
	}
	for _, f := range r.Figures {
		if f.Name == figure {
			return f.Runs
		}
	}
	return nil
}

// Faulty is an error when anything was lost, wrong or stray.
func (d *Data) Faulty() error {
	for _, r := range d.Rows {
		if r.Faults != (Faults{}) {
			return fmt.Errorf("%s: %s: %+v: all must be 0", r.Scenario, r.Name, r.Faults)
		}
	}
	return nil
}

// Read reads what Write has written.
func Read(name string) (*Data, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	d := &Data{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

// Write keeps the figures, in four digits.
func (d *Data) Write(name string) error {
	for _, r := range d.Rows {
		for _, f := range r.Figures {
			for i, v := range f.Runs {
				f.Runs[i], _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 5, 64), 64)
			}
		}
	}
	text, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644) //nolint:gosec // it is committed
}

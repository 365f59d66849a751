package report

import (
	"fmt"
	"io"
	"slices"
)

// drift is how much dearer than the limit beside it a figure may be that is to equal it: machines vary by that much.
const drift = 1.15

// place is where a figure stands.
type place struct{ scenario, row, figure string }

func (d *Data) at(p place) []float64 { return d.find(p.scenario, p.row).Runs(p.figure) }

// target is what the broker shall be as good as. It is met when the figure is at most (or at least) so much, or at most
// so many times the limit that was measured beside it, whichever of the two is asked for.
type target struct {
	name   string
	here   place
	beside place // its limit, if there is one
	most   float64
	least  float64
	times  float64
	unit   string
}

// The names of rows stand here as the benchmark writes them.
const (
	epoll     = "bare epoll"
	publisher = "bare publisher"
	control   = "bare grpc-go"
	broker    = "broker"
)

var targets = []target{
	{name: "idle connection, 10,000", here: place{"idle", broker, Held}, beside: place{"idle", epoll, Held}, most: 1500, unit: "B"},
	{name: "– after a message of 1 KiB on each", here: place{"idle", broker, AfterMessage}, beside: place{"idle", epoll, AfterMessage}, most: 1500, unit: "B"},
	{name: "idle connection, 18,000", here: place{"growth", "18,000, broker", Held}, beside: place{"idle", epoll, Held}, most: 1500, unit: "B"},
	{name: "– after a message of 1 KiB on each", here: place{"growth", "18,000, broker", AfterMessage}, beside: place{"idle", epoll, AfterMessage}, most: 1500, unit: "B"},
	{name: "idle connection, TLS 1.3", here: place{"tls", "broker, TLS 1.3", Held}, beside: place{"tls", "bare crypto/tls", Held}, times: 1.3, unit: "B"},
	{name: "– after a message of 1 KiB on each", here: place{"tls", "broker, TLS 1.3", AfterMessage}, beside: place{"tls", "bare crypto/tls", AfterMessage}, times: 1.3, unit: "B"},
	{name: "handshake, with its open event", here: place{"idle", broker, Handshake}, beside: place{"idle", epoll, Handshake}, most: 60, times: 1.3, unit: "µs"},
	{name: "inbound, 100 × 8", here: place{"inbound", "100 × 8, broker", CPU}, beside: place{"inbound", "100 × 8, " + publisher, CPU}, most: 1.6, times: drift, unit: "µs"},
	{name: "inbound, 1,000 × 1", here: place{"inbound", "1,000 × 1, broker", CPU}, beside: place{"inbound", "1,000 × 1, " + publisher, CPU}, most: 8.5, times: drift, unit: "µs"},
	{name: "push, SendStream", here: place{"push", "SendStream, broker", CPU}, beside: place{"push", "SendStream, " + control, CPU}, most: 5, times: drift, unit: "µs"},
	{name: "– pushes per second", here: place{"push", "SendStream, broker", Rate}, beside: place{"push", "SendStream, " + control, Rate}, least: 150_000, unit: "/s"},
	{name: "push, unary Send", here: place{"push", "Send, broker", CPU}, beside: place{"push", "Send, " + control, CPU}, most: 43, times: drift, unit: "µs"},
	{name: "fan-out to 1,000, a delivery", here: place{"fanout", "1,000 members, broker", CPU}, beside: place{"fanout", "1,000 members, " + control, CPU}, most: 3.6, times: drift, unit: "µs"},
	{name: "fan-out to 10,000, a delivery", here: place{"fanout", "10,000 members, broker", CPU}, beside: place{"fanout", "10,000 members, " + control, CPU}, most: 5.5, times: drift, unit: "µs"},
	{name: "tail, p99.9 at half the saturated rate", here: place{"tail", "100 connections", Latency(broker, 0.999)}, beside: place{"tail", "100 connections", Latency("bare echo", 0.999)}, times: 5, unit: "µs"},
	{name: "round trip, 10 × 1, p50", here: place{"roundtrip", "10 × 1, broker", RTT}, beside: place{"roundtrip", "10 × 1, bare echo", RTT}, times: 5, unit: "µs"},
	{name: "CPU per message, 18,000 against 1,000", here: place{"growth", "18,000, broker", CPU}, beside: place{"growth", "1,000, broker", CPU}, times: 1.2, unit: "µs"},
	{name: "memory, 18,000 against 1,000", here: place{"growth", "18,000, broker", AfterMessage}, beside: place{"growth", "1,000, broker", AfterMessage}, times: 1.2, unit: "B"},
}

// Judge writes what became of every target that was measured.
func (d *Data) Judge(w io.Writer) {
	table := [][]string{{"target", "asked for", "here", "limit beside it", "× limit", "verdict"}}
	for _, t := range targets {
		here := d.at(t.here)
		if len(here) == 0 {
			continue
		}
		beside := d.at(t.beside)
		verdict := "**missed**"
		if t.met(here, beside) {
			verdict = "met"
		}
		table = append(table, []string{t.name, t.asked(), cell(here), cell(beside), cell(ratios(here, beside)), verdict})
	}
	if len(table) > 1 {
		writeTable(w, table)
	}
}

func (t *target) met(here, beside []float64) bool {
	value := Median(here)
	switch {
	case t.least > 0:
		return value >= t.least
	case t.most > 0 && value <= t.most:
		return true
	}
	times := ratios(here, beside)
	return t.times > 0 && len(times) > 0 && Median(times) <= t.times
}

func (t *target) asked() string {
	text := ""
	switch {
	case t.least > 0:
		return fmt.Sprintf("≥ %s %s", Number(t.least), t.unit)
	case t.most > 0:
		text = fmt.Sprintf("≤ %s %s", Number(t.most), t.unit)
	}
	if t.times > 0 {
		if text != "" {
			text += " or "
		}
		text += fmt.Sprintf("≤ %.3g ×", t.times)
	}
	return text
}

// ratios are those of each run, whose two figures were taken within the same minutes; and of the medians, if there are not as
// many of both.
func ratios(here, beside []float64) []float64 {
	if len(here) == 0 || len(beside) == 0 || slices.Contains(beside, 0) {
		return nil
	}
	if len(here) != len(beside) {
		return []float64{Median(here) / Median(beside)}
	}
	all := make([]float64, len(here))
	for i := range here {
		all[i] = here[i] / beside[i]
	}
	return all
}

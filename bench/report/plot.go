package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Plots draws all plots, by file name.
func (d *Data) Plots() map[string]string {
	return map[string]string{
		"memory.svg":  d.memoryPlot(),
		"cpu.svg":     d.cpuPlot(),
		"latency.svg": d.latencyPlot(),
	}
}

// memoryPlot shows the resident memory while connections come.
func (d *Data) memoryPlot() string {
	var all []series
	most, conns := 0.0, 0.0
	for _, of := range []struct{ name, scenario, row string }{
		{"Holdfast", "growth", "18,000, broker"}, {"bare epoll", "idle", epoll}, {"gws", "idle", "gws"},
		{"gorilla/websocket", "idle", "gorilla/websocket"}, {"ws (Node)", "idle", "ws (Node)"},
	} {
		s := series{name: of.name}
		for _, f := range d.find(of.scenario, of.row).all() {
			text, found := strings.CutPrefix(f.Name, "RSS MB at ")
			if !found {
				continue
			}
			n, _ := strconv.ParseFloat(text, 64)
			p := point{n, Median(f.Runs)}
			s.points = append(s.points, p)
			most, conns = max(most, p.y), max(conns, p.x)
		}
		if len(s.points) > 0 {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return ""
	}
	c := newCanvas("Resident memory while connections come", 420)
	c.lines(&axis{title: "connections, idle", ticks: steps(conns), label: whole},
		&axis{title: "MB", ticks: steps(most), label: whole}, all)
	return c.end()
}

// whole is a label of a round number, of which Number would show digits behind the point.
func whole(v float64) string { return strings.TrimSuffix(Number(v), ".0") }

// all are the figures; none of a row that was not measured.
func (r *Row) all() []Figure {
	if r == nil {
		return nil
	}
	return r.Figures
}

// cpuPlot shows what a message of 128 bytes costs each server.
func (d *Data) cpuPlot() string {
	groups := []struct {
		title string
		bars  []bar
	}{
		{"100 connections, 8 messages under way on each", d.cpuBars("100 × 8")},
		{"1,000 connections, 1 message under way on each", d.cpuBars("1,000 × 1")},
	}
	most, rows := 0.0, 0
	for _, g := range groups {
		for _, b := range g.bars {
			most = max(most, b.high)
			rows++
		}
	}
	if rows == 0 {
		return ""
	}
	const forRow, forGroup = 24, 36
	c := newCanvas("Server CPU per message, µs", 50+float64(rows*forRow+len(groups)*forGroup))
	c.left, c.right = 260, 60
	y := 44.0
	for _, g := range groups {
		y = c.bars(y, g.title, g.bars, &axis{ticks: []float64{0, most * 1.05}})
	}
	return c.end()
}

func (d *Data) cpuBars(shape string) (all []bar) {
	for _, of := range []struct{ scenario, name, label string }{
		{"inbound", broker, "Holdfast, published to NATS"},
		{"inbound", publisher, "bare publisher to NATS"},
		{"echo", epoll, "bare epoll, echo"},
		{"echo", "bare echo", "bare goroutines, echo"},
		{"echo", "gws", "gws, echo"},
		{"echo", "gorilla/websocket", "gorilla/websocket, echo"},
		{"echo", "ws (Node)", "ws (Node), echo"},
	} {
		values := d.at(place{of.scenario, shape + ", " + of.name, CPU})
		if len(values) > 0 {
			all = append(all, bar{of.label, slices.Min(values), Median(values), slices.Max(values), of.name == broker})
		}
	}
	return all
}

// latencyPlot shows the tail of an echo at half the rate that saturates the broker.
func (d *Data) latencyPlot() string {
	r := d.find("tail", "100 connections")
	var all []series
	low, high := math.MaxFloat64, 0.0
	for _, of := range []struct{ name, peer string }{{"Holdfast and a backend", broker}, {"bare echo", "bare echo"}} {
		s := series{name: of.name}
		for _, q := range Quantiles {
			if v := Median(r.Runs(Latency(of.peer, q))) / 1000; v > 0 {
				s.points = append(s.points, point{q, v})
				low, high = min(low, v), max(high, v)
			}
		}
		if len(s.points) > 0 {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return ""
	}
	nines := func(q float64) float64 { return -math.Log10(1 - q) }
	percent := func(q float64) string { return strconv.FormatFloat(100*q, 'f', -1, 32) + " %" }
	c := newCanvas("Round trip of an echo at half the saturated rate", 420)
	c.lines(&axis{title: "so many of all messages are back", ticks: []float64{0.5, 0.9, 0.99, 0.999, 0.9999}, label: percent, scale: nines},
		&axis{title: "ms", ticks: decades(low, high), label: func(v float64) string { return fmt.Sprintf("%g", v) }, scale: math.Log10}, all)
	return c.end()
}

// decades are powers of ten around a range.
func decades(low, high float64) (ticks []float64) {
	for e := math.Floor(math.Log10(low)); ; e++ {
		ticks = append(ticks, math.Pow(10, e))
		if ticks[len(ticks)-1] >= high && len(ticks) > 1 {
			return ticks
		}
	}
}

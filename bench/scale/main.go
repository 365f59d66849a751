// Command scale computes what a broker of ten thousand to a hundred million connections costs, from what was measured
// on one machine, and prints the tables of docs/scale.md. It loads nothing.
//
//	go run ./bench/scale
package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

func main() {
	if err := tabulate(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// column of a table: what it says of each size.
type column struct {
	name string
	of   func(load) string
}

var tables = [][]column{
	{
		{"nodes", func(l load) string { return number(l.nodes) }},
		{"connections of each", func(l load) string { return number(l.each()) }},
		{"memory of each", func(l load) string { return bytes(l.memory()) }},
		{"messages/s", func(l load) string { return number(l.events()) }},
		{"cores, brokers", func(l load) string { return number(l.brokerCores()) }},
		{"cores, NATS", func(l load) string { return number(l.natsCores()) }},
		{"NATS servers", func(l load) string { return number(serversFor(l.natsCores())) }},
	},
	{
		{"`Publish`/s", func(l load) string { return number(l.publishes()) }},
		{"messages between nodes/s", func(l load) string { return number(l.heard()) }},
		{"cores, NATS", func(l load) string { return number(l.publishCores()) }},
		{"cores, each node", func(l load) string { return number(l.publishShare()) }},
		{"nodes with members", func(l load) string { return number(l.spread()) }},
		{"by subject: cores, NATS", func(l load) string { return number(l.viaSubject()) }},
		{"by subject: memory of each NATS server", func(l load) string { return bytes(l.interestMemory()) }},
	},
	{
		{"announcements heard/s", func(l load) string { return number(l.announcements()) }},
		{"cores, each node", func(l load) string { return number(l.announceShare()) }},
		{"opens/s", func(l load) string { return number(l.opens()) }},
		{"writes/s", func(l load) string { return number(l.appends()) }},
		{"of one stream's", func(l load) string { return percent(l.leaderShare()) }},
		{"written/s", func(l load) string { return bytes(l.recordBytes()) }},
		{"open now", func(l load) string { return bytes(l.recordSize()) }},
	},
	{
		{"one node is lost: clients for each other node", func(l load) string { return number(l.each() / (l.nodes - 1)) }},
		{"99 % are back after", func(l load) string { s, _ := l.lostNode(); return seconds(s) }},
		{"its closes take", func(l load) string { return seconds(l.closesOfANode()) }},
		{"all are lost: clients for each node", func(l load) string { return number(l.each()) }},
		{"99 % are back after ", func(l load) string { s, _ := l.allLost(); return seconds(s) }},
		{"with TLS at the nodes", func(l load) string { s, _ := l.allLostTLS(); return seconds(s) }},
		{"attempts of each", func(l load) string { _, a := l.allLostTLS(); return number(a) }},
	},
}

// tabulate writes the figures and the tables in Markdown.
func tabulate(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| | | source |\n|---|---:|---|\n")
	for _, f := range figures {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.name, strings.TrimSpace(plain(f.value)+" "+f.unit), f.source)
	}
	for _, columns := range tables {
		b.WriteString("\n| connections |")
		for _, c := range columns {
			b.WriteString(" " + strings.TrimSpace(c.name) + " |")
		}
		b.WriteString("\n|---:|" + strings.Repeat("---:|", len(columns)) + "\n")
		for _, n := range connections {
			fmt.Fprintf(&b, "| %s |", number(n))
			for _, c := range columns {
				b.WriteString(" " + c.of(loadOf(n)) + " |")
			}
			b.WriteString("\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// plain has all digits, in threes.
func plain(v float64) string {
	if v != math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// number has two significant digits: nothing here is known better.
func number(v float64) string {
	const least = 0.01
	if v < least {
		return "< 0.01"
	}
	scale := math.Pow(10, math.Floor(math.Log10(v))-1)
	v = math.Round(v/scale) * scale
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + " M"
	case v >= 10:
		return plain(math.Round(v))
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

func bytes(v float64) string {
	const kilo, mega, giga = 1e3, 1e6, 1e9
	switch {
	case v >= giga:
		return number(v/giga) + " GB"
	case v >= mega:
		return number(v/mega) + " MB"
	case v >= kilo:
		return number(v/kilo) + " KB"
	}
	return number(v) + " B"
}

func seconds(v float64) string { return number(v) + " s" }

func percent(v float64) string { return number(100*v) + " %" }

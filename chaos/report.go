//go:build linux

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// verdict is what a run has shown.
type verdict struct {
	Seed     uint64
	Duration time.Duration
	Clients  int
	Faults   map[string]int
	Skipped  []string

	Opens, Closes, Events, Messages int
	Causes                          map[string]int
	Unopened                        int   // closes of connections whose open event died with their node
	Repeats                         int   // events that a subscriber saw again, byte for byte
	Missed                          int   // events that one of the subscribers did not see
	Behind, BehindCloses            int   // events that a server confirmed and no subscriber saw
	Reordered                       int   // events that NATS turned around between two connections
	AfterClose                      int   // messages after a close
	Pinged                          int   // connections open at the end, which answered
	Lost                            int   // connections that clients lost
	Refused                         int64 // handshakes
	Sends, Confirmed, NotArrived    int
	Answers                         map[codes.Code]int // of sends that were not confirmed
	Kills                           []killing
	Late                            int

	Broken []string // promises
}

func (v *verdict) cause(name string) {
	if v.Causes == nil {
		v.Causes = make(map[string]int)
	}
	v.Causes[name]++
}

func (v *verdict) answer(c codes.Code) {
	if v.Answers == nil {
		v.Answers = make(map[codes.Code]int)
	}
	v.Answers[c]++
}

// shownBroken is how many broken promises are printed.
const shownBroken = 40

func (v *verdict) print(out io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-28s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(out)
	line("seed", "%d", v.Seed)
	line("duration", "%v", v.Duration.Round(time.Second))
	line("clients", "%d", v.Clients)
	line("faults", "%s", counts(v.Faults))
	for _, s := range v.Skipped {
		line("skipped", "%s", s)
	}
	line("opens", "%d", v.Opens)
	line("closes", "%d: %s", v.Closes, counts(v.Causes))
	line("closes without open", "%d, of nodes that died before they could publish it", v.Unopened)
	line("messages of clients", "%d published", v.Messages)
	line("events with a Seq", "%d, none missing unless said below", v.Events)
	line("repeats", "%d, byte for byte, all three subscribers together", v.Repeats)
	line("missed by a subscriber", "%d of %d", v.Missed, servers*v.Events)
	line("missed by all subscribers", "%d, of which %d closes: confirmed by a NATS server that did not pass them on", v.Behind, v.BehindCloses)
	line("reordered by NATS", "%d, published over two of its connections", v.Reordered)
	line("messages after a close", "%d, of nodes that were held dead", v.AfterClose)
	line("open at the end", "%d, all asked for a ping", v.Pinged)
	line("connections lost", "%d, and %d handshakes refused or timed out", v.Lost, v.Refused)
	line("sends", "%d, confirmed %d; others: %s", v.Sends, v.Confirmed, counts(v.Answers))
	line("queued or written, lost", "%d, with connections that ended", v.NotArrived)
	for i, k := range v.Kills {
		slices.Sort(k.after)
		how := "alone"
		if !k.soon {
			how = "with the leader or another broker"
		}
		line(fmt.Sprintf("closes after kill %d", i+1), "%d connections: %s; %s", k.connections, quantiles(k.after), how)
	}
	line("late closes", "%d", v.Late)
	line("broken promises", "%d", len(v.Broken))
	for i, b := range v.Broken {
		if i == shownBroken {
			fmt.Fprintln(out, "  …")
			break
		}
		fmt.Fprintln(out, "  "+b)
	}
}

func counts[K comparable](m map[K]int) string {
	var parts []string
	for k := range maps.Keys(m) {
		parts = append(parts, fmt.Sprintf("%v %d", k, m[k]))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func quantiles(sorted []time.Duration) string {
	if len(sorted) == 0 {
		return "none"
	}
	at := func(q float64) time.Duration {
		return sorted[int(q*float64(len(sorted)-1))].Round(10 * time.Millisecond)
	}
	return fmt.Sprintf("first %v, half %v, last %v", at(0), at(0.5), at(1))
}

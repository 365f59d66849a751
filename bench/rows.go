//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-broker/holdfast/bench/report"
)

// messageSize is that of all messages but where a scenario says another, in bytes.
const messageSize = 128

// patience bounds the wait for what must come.
const patience = 10 * time.Second

// row is one line of a scenario's table.
type row struct {
	scenario, name string
	run            measurement
	rarely         int  // measured in every second or fourth run only; 0: in all
	extra          bool // not part of the whole: measured when it is asked for
}

// Rows whose figures hardly differ from run to run, and those that no target is judged by.
const (
	everySecond = 2
	everyFourth = 4
)

type measurement func(context.Context, *lab) (figures, faults, error)

// rows are all there is to measure, in the order of the report. What is compared stands together, so that it is measured
// within the same minute.
func (l *lab) rows() []row {
	if l.url != nil {
		return l.rowsElsewhere()
	}
	return slices.Concat(l.idleRows(), inboundRows(), echoRows(l.peerNames()), pushRows(), latencyRows(), l.extraRows())
}

func (l *lab) idleRows() (rows []row) {
	of := func(peer string) measurement { return idle{peer: peer, conns: l.idleConns}.measure }
	rows = []row{
		{scenario: "idle", name: withNATS, run: of(withNATS)},
		{scenario: "idle", name: bareEpoll, run: of(bareEpoll)},
	}
	for _, peer := range append([]string{bareAccept}, l.peerNames()...) {
		rows = append(rows, row{scenario: "idle", name: peer, run: of(peer), rarely: everyFourth})
	}
	for _, peer := range []string{withTLS, bareTLS} {
		rows = append(rows, row{scenario: "tls", name: peer, run: encrypted{peer}.measure, rarely: everySecond})
	}
	for _, conns := range []int{underWay, l.mostConns} {
		bare := load{peer: barePublisher, busy: conns, depth: 1, turns: true, counted: true}
		rows = append(rows,
			row{scenario: "growth", name: count(conns) + ", " + withNATS, run: idle{withNATS, conns, true}.measure, rarely: everySecond},
			row{scenario: "growth", name: count(conns) + ", " + barePublisher, run: bare.measure, rarely: everyFourth})
	}
	return rows
}

// shape is how many connections have how many messages under way each.
type shape struct{ conns, depth int }

var shapes = []shape{{100, 8}, {1000, 1}}

func (s shape) name(peer string) string {
	return fmt.Sprintf("%s × %d, %s", count(s.conns), s.depth, peer)
}

func (s shape) load(peer string) load { return load{peer: peer, busy: s.conns, depth: s.depth} }

func inboundRows() (rows []row) {
	for _, s := range shapes {
		for _, peer := range []string{withNATS, barePublisher, withEmbedded} {
			w := s.load(peer)
			w.counted = true
			rows = append(rows, row{scenario: "inbound", name: s.name(peer), run: w.measure, rarely: rarelyEmbedded(peer)})
		}
	}
	return rows
}

func rarelyEmbedded(peer string) int {
	if peer == withEmbedded {
		return everyFourth
	}
	return 0
}

func echoRows(peers []string) (rows []row) {
	for _, s := range shapes {
		for _, peer := range slices.Concat([]string{bareEpoll, bareEcho}, peers) {
			rows = append(rows, row{scenario: "echo", name: s.name(peer), run: s.load(peer).measure, rarely: everyFourth})
		}
	}
	return rows
}

func pushRows() (rows []row) {
	for _, peer := range []string{withNATS, bareControl} {
		rows = append(rows, row{scenario: "push", name: "SendStream, " + peer, run: push{peer, streams, (*caller).stream}.measure})
	}
	for _, peer := range []string{withNATS, bareControl} {
		rows = append(rows, row{scenario: "push", name: "Send, " + peer, run: push{peer, unaryCallers, (*caller).calls}.measure})
	}
	for _, members := range []int{1000, 10_000} {
		for _, peer := range []string{withNATS, bareControl} {
			w := fanOut{members: members, nodes: 1, peer: peer}
			rows = append(rows, row{scenario: "fanout", name: count(members) + " members, " + peer, run: w.measure})
		}
	}
	return rows
}

func latencyRows() (rows []row) {
	rows = append(rows, row{scenario: "tail", name: "100 connections", run: tail})
	for _, peer := range []string{withNATS, withEmbedded, bareEcho} {
		of := shape{10, 1}
		rows = append(rows, row{scenario: "roundtrip", name: of.name(peer), run: of.load(peer).measure, rarely: rarelyEmbedded(peer)})
	}
	return rows
}

func (l *lab) extraRows() (rows []row) {
	mixed := load{peer: withNATS, idle: l.idleConns, busy: l.busyConns, depth: 1}
	rows = append(rows, row{scenario: "mixed", name: withNATS, run: mixed.measure})
	for _, s := range shapes {
		for _, peer := range []string{withNATS, withEmbedded} {
			rows = append(rows, row{scenario: "answered", name: s.name(peer), run: s.load(peer).measure})
		}
	}
	calls, stream := (*caller).calls, (*caller).stream
	rows = append(rows,
		row{scenario: "nodes", name: "Send, 1 caller, p50 µs", run: through{3, 1, calls, p50}.measure},
		row{scenario: "nodes", name: "Send, 1 caller, p50 µs, one NATS server", run: through{1, 1, calls, p50}.measure},
		row{scenario: "nodes", name: "Send, 16 callers, p50 µs", run: through{3, 16, calls, p50}.measure},
		row{scenario: "nodes", name: "SendStream, 1 stream, batches of 64, sends/s", run: through{3, 1, stream, perSecond}.measure},
		row{scenario: "nodes", name: "SendStream, 4 streams, batches of 64, sends/s", run: through{3, 4, stream, perSecond}.measure})
	spread := fanOut{members: 10_000, nodes: clusterNodes, peer: withNATS}
	rows = append(rows, row{scenario: "spread", name: "10,000 members over three nodes", run: spread.measure})
	rows = append(rows, lifeRows()...)
	for i := range rows {
		rows[i].extra = true
	}
	return rows
}

// rowsElsewhere are those for a server that echoes, whatever it is.
func (l *lab) rowsElsewhere() []row {
	rows := []row{{scenario: "idle", name: elsewhere, run: idle{peer: elsewhere, conns: l.idleConns}.measure}}
	for _, s := range append(shapes, shape{10, 1}) {
		rows = append(rows, row{scenario: "echo", name: s.name(elsewhere), run: s.load(elsewhere).measure})
	}
	return rows
}

func count(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return report.Number(float64(n))
}

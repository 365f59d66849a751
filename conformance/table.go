package main

import (
	"fmt"
	"io"
	"strings"
)

// tally counts verdicts.
type tally [failed + 1]int

func (t *tally) total() (n int) {
	for _, k := range t {
		n += k
	}
	return n
}

const row = "%3v  %-26s%7v%7v%12v%9v%8v\n"

// printTable prints a line for each section and the sum.
func printTable(w io.Writer, results []result) {
	by := map[int]*tally{}
	var sum tally
	for _, r := range results {
		t := by[r.testCase.section()]
		if t == nil {
			t = new(tally)
			by[r.testCase.section()] = t
		}
		t[r.verdict]++
		sum[r.verdict]++
	}
	fmt.Fprintf(w, row, "", "section", "cases", "OK", "non-strict", "informal", "failed")
	for _, c := range chapters {
		if t := by[c.number]; t != nil {
			printRow(w, c.number, c.title, t)
		}
	}
	printRow(w, "", "all", &sum)
}

func printRow(w io.Writer, number any, title string, t *tally) {
	fmt.Fprintf(w, row, number, title, t.total(), t[ok], t[nonStrict], t[informational], t[failed])
}

// printCases prints what is not OK, and with all also what is.
func printCases(w io.Writer, results []result, noCompression error, all bool) {
	lacking := 0
	for _, r := range results {
		switch {
		case r.notRunnable:
			lacking++
		case all || r.verdict == failed || r.verdict == nonStrict:
			printCase(w, r)
		case r.verdict == informational:
			fmt.Fprintf(w, "%-8s INFORMATIONAL  %s: %s\n", r.testCase.id, r.testCase.title, r.why)
		}
	}
	if lacking > 0 {
		fmt.Fprintf(w, "%d cases FAILED, for the broker cannot run them: %s\n", lacking, noCompression)
	}
}

func printCase(w io.Writer, r result) {
	fmt.Fprintf(w, "%-8s %s  %s (%s)\n", r.testCase.id, verdictNames[r.verdict], r.testCase.title, r.testCase.rfc)
	if r.why != "" {
		fmt.Fprintf(w, "         %s\n", r.why)
	}
	const enough = 40
	lines := r.behavior
	if len(lines) > enough {
		lines = append(append(lines[:enough/2:enough/2], "       …"), lines[len(lines)-enough/2:]...)
	}
	if len(lines) > 0 {
		fmt.Fprintln(w, "      "+strings.Join(lines, "\n      "))
	}
}

// Command conformance examines the broker as RFC 6455 and RFC 7692 would have it. It starts the real one, a NATS
// server and a backend that echoes, and plays over 500 cases against it, each over a TCP connection of its own that
// can say anything, also what is wrong.
//
//	go run ./conformance                     # all
//	go run ./conformance -section 6          # one section
//	go run ./conformance -case 6.4.1 -v      # one case, and what happened
//	go run ./conformance -list               # what there is
//
// It ends with exit code 1 unless every case is OK or, for a reason that the README gives, informational.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	cases    string
	sections string
	broker   string
	atOnce   int
	verbose  bool
	list     bool
}

func main() {
	o := options{}
	flag.StringVar(&o.cases, "case", "", "play these `cases` only, such as 6.4.1,7")
	flag.StringVar(&o.sections, "section", "", "play these `sections` only, such as 6,7")
	flag.StringVar(&o.broker, "broker", os.Getenv("HOLDFAST_BROKER"), "the broker's `binary`; empty: build it")
	flag.IntVar(&o.atOnce, "parallel", 4*runtime.GOMAXPROCS(0), "cases at a time")
	flag.BoolVar(&o.verbose, "v", false, "say of every case what happened")
	flag.BoolVar(&o.list, "list", false, "list the cases and play none")
	flag.BoolVar(&everything, "full", false, "1000 messages in every case of the sections 12 and 13, whatever their size")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, w io.Writer) (err error) {
	cases := o.chosen(catalogue())
	if len(cases) == 0 {
		return errors.New("there is no such case")
	}
	if o.list {
		for _, c := range cases {
			fmt.Fprintf(w, "%-8s %s (%s)\n", c.id, c.title, c.rfc)
		}
		return nil
	}
	st, err := setUp(ctx, o.broker)
	if err != nil {
		return err
	}
	began := time.Now()
	results := playAll(ctx, st, cases, max(o.atOnce, 1), progress(len(cases)))
	err = st.strike()
	printCases(w, results, st.noCompression, o.verbose)
	printTable(w, results)
	return errors.Join(summarize(w, results, time.Since(began)), err)
}

// chosen are the cases that the flags ask for.
func (o options) chosen(all []testCase) []testCase {
	if o.cases == "" && o.sections == "" {
		return all
	}
	var some []testCase
	for _, c := range all {
		if matches(c.id, o.cases) || matches(strconv.Itoa(c.section()), o.sections) {
			some = append(some, c)
		}
	}
	return some
}

// matches: the ID is in the list, or lies below one that is.
func matches(id, list string) bool {
	for want := range strings.SplitSeq(list, ",") {
		if want != "" && (id == want || strings.HasPrefix(id, want+".")) {
			return true
		}
	}
	return false
}

// progress says on a terminal's stderr how far it is.
func progress(total int) func(result) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func(result) {}
	}
	done := 0
	return func(r result) {
		done++
		fmt.Fprintf(os.Stderr, "\r%d of %d: %-12s", done, total, r.testCase.id)
		if done == total {
			fmt.Fprint(os.Stderr, "\r\033[K")
		}
	}
}

// summarize prints the last line.
func summarize(w io.Writer, results []result, took time.Duration) error {
	good := 0
	for _, r := range results {
		if r.verdict == ok || r.verdict == informational {
			good++
		}
	}
	fmt.Fprintf(w, "%d passed, %d failed (in %s)\n", good, len(results)-good, took.Round(time.Second))
	if good < len(results) {
		return errNotOK
	}
	return nil
}

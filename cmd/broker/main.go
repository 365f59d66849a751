// Command broker runs Holdfast: it holds WebSockets, publishes what happens on them to NATS, and lets
// backends act on them over gRPC.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/holdfast-broker/holdfast/internal/app"
)

// Exit codes beside 0.
const (
	exitFailure = 1
	exitUsage   = 2 // wrong flags, or a wrong configuration
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	cmd, err := parse(args, stdout)
	if err != nil {
		return complain(stderr, err, exitUsage)
	}
	admin := app.ClusterAdmin{Config: cmd.config, URL: cmd.nats, Out: stdout}
	switch cmd.name {
	case "":
		return 0 // the help was asked for
	case "version":
		err = printVersion(stdout)
	case "config check":
		_, err = fmt.Fprintln(stdout, "ok")
	case "config show":
		_, err = io.WriteString(stdout, cmd.config.Show())
	case "cluster status":
		err = admin.Status(context.Background())
	case "cluster remove <server-name>":
		err = admin.Remove(context.Background(), cmd.server, cmd.force)
	default:
		err = serve(cmd.config, stdout, stderr)
	}
	if err != nil {
		return complain(stderr, err, exitFailure)
	}
	return 0
}

// complain writes a line for each problem.
func complain(stderr io.Writer, err error, code int) int {
	for line := range strings.Lines(err.Error()) {
		_, _ = fmt.Fprintf(stderr, "broker: %s\n", strings.TrimSuffix(line, "\n"))
	}
	return code
}

func printVersion(stdout io.Writer) error {
	v := app.BuildVersion()
	words := []string{"holdfast", v.Version, v.Revision, v.Go, v.Platform}
	_, err := fmt.Fprintln(stdout, strings.Join(strings.Fields(strings.Join(words, " ")), " "))
	return err
}

// serve runs the broker until a signal stops it.
func serve(c app.Config, stdout, stderr io.Writer) error {
	ctx, done := untilSignal(stderr)
	defer done()
	return app.Run(ctx, c, stdout, newLogger(c.Log, stderr))
}

// untilSignal makes a context that ends with the first signal. The second one ends the process, unless
// done was called.
func untilSignal(stderr io.Writer) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	over := make(chan struct{})
	go func() {
		for n := 1; ; n++ {
			select {
			case s := <-signals:
				if n == 2 {
					os.Exit(complain(stderr, fmt.Errorf("%s: a second signal ends it at once", s), exitFailure))
				}
				cancel()
			case <-over:
				return
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); close(over); cancel() }
}

func newLogger(c app.Log, stderr io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(stderr, options))
	}
	return slog.New(slog.NewTextHandler(stderr, options))
}

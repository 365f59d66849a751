package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/holdfast-broker/holdfast/internal/app"
)

const description = `Holds WebSockets, publishes what happens on them to NATS, and lets backends act on them over gRPC.

Without a command it serves. Each flag has the variable that stands behind it and, but for --config and
the switches, a key in the YAML file: --nats-url is nats.url. A flag wins over its variable, that over the
file, that over the default. Endpoints stand in the file only; "broker config show" prints a whole one.
Sizes have a unit (64KiB, 1MiB), and so do times (500ms, 30s, 10m). The exit code is 0 after an orderly
stop, 2 when flags or configuration are wrong, and 1 for everything else; a second signal does not wait.

Examples:

    broker
    broker --demo --log-level=debug
    broker --config=holdfast.yaml --listen=:8080 --listen=unix:/run/holdfast.sock
    broker --listen=':8443?cert=tls.crt&key=tls.key'
    broker --nats-url=nats://a:4222,nats://b:4222 --nats-credentials=broker.creds
    broker --cluster-name=chat --cluster-routes=a:6222,b:6222,c:6222 --cluster-secret-file=secret
    broker config check --config=holdfast.yaml`

// settings are the flags of app.Config without its methods: kong would call Validate before the file and
// the variables are read.
type settings app.Config

// commandLine is what kong reads: the table of settings, and the commands.
type commandLine struct {
	File     string   `name:"config" placeholder:"FILE" env:"HOLDFAST_CONFIG" help:"YAML file with settings and endpoints."`
	Settings settings `embed:""`

	Serve  struct{} `cmd:"" default:"1" help:"Run the broker until SIGTERM or SIGINT (the default)."`
	Config struct {
		Check struct{} `cmd:"" help:"Say ok, or what is wrong with the configuration."`
		Show  struct{} `cmd:"" help:"Print the effective configuration as YAML, with passwords masked."`
	} `cmd:""`
	Cluster struct {
		NATS   string   `name:"nats" placeholder:"URL" help:"A broker of the cluster, by its NATS address; by default the one that this configuration starts."`
		Status struct{} `cmd:"" help:"Print the servers of an embedded cluster; exit code 1 without a JetStream leader."`
		Remove struct {
			Server string `arg:"" name:"server-name" help:"As \"broker cluster status\" prints it."`
			Force  bool   `name:"force" help:"Also a server that is running: it goes on without JetStream, and is let in again only by a restart, five minutes later."`
		} `cmd:"" help:"Take a machine that does not come back out of an embedded cluster, for good."`
	} `cmd:""`
	Version struct{} `cmd:"" help:"Print what this binary was built from."`
}

var groups = []kong.Group{
	{Key: "clients", Title: "Clients:"},
	{Key: "ports", Title: "Backends and operators:"},
	{Key: "nats", Title: "NATS:"},
	{Key: "cluster", Title: "Embedded NATS cluster, of three or five brokers:"},
	{Key: "life", Title: "One close for each open:"},
	{Key: "stop", Title: "Orderly stop:"},
	{Key: "log", Title: "Log, on stderr:"},
}

// command is what the command line asks for. An empty name: nothing more, the help was printed.
type command struct {
	name   string
	config app.Config

	nats   string // of the cluster commands
	server string
	force  bool
}

// parse reads the command line, and the configuration where the command needs it.
func parse(args []string, stdout io.Writer) (command, error) {
	var line commandLine
	helped := false
	parser, err := kong.New(&line,
		kong.Name("broker"), kong.Description(description), kong.Writers(stdout, io.Discard),
		kong.Exit(func(int) { helped = true }), kong.ExplicitGroups(groups),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, NoAppDescFormat: true, WrapUpperBound: 110}),
		kong.ValueFormatter(describe),
	)
	if err != nil {
		return command{}, err
	}
	ctx, err := parser.Parse(args)
	if helped {
		return command{}, nil
	}
	if err != nil {
		return command{}, oneLine(err)
	}
	cmd := command{
		name: ctx.Command(),
		nats: line.Cluster.NATS, server: line.Cluster.Remove.Server, force: line.Cluster.Remove.Force,
	}
	if cmd.name == "version" {
		return cmd, nil
	}
	cmd.config, err = app.Load(app.Sources{
		Flags: app.Config(line.Settings), Given: given(ctx), Variable: os.LookupEnv, File: line.File,
	})
	return cmd, err
}

// given lists the flags that the command line holds.
func given(ctx *kong.Context) (names []string) {
	for _, element := range ctx.Path {
		if element.Flag != nil {
			names = append(names, element.Flag.Name)
		}
	}
	return names
}

// commandFlags are those of one command. They are no settings, so nothing else says the same.
var commandFlags = []string{"nats", "force"}

// describe is the help of a flag, with its default and its variable.
func describe(v *kong.Value) string {
	if v.Flag == nil || v.Name == "help" || slices.Contains(commandFlags, v.Name) {
		return v.Help
	}
	help := v.Help
	if text := app.DefaultText(v.Name); text != "" {
		help += fmt.Sprintf(" Default: %s.", text)
	}
	return help + " [" + app.Variable(v.Name) + "]"
}

func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

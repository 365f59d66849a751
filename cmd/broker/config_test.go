package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/help.txt")

// broker runs a command that does not serve.
func broker(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	code = run(args, &out, &complaints)
	return code, out.String(), complaints.String()
}

func TestHelp(t *testing.T) {
	t.Setenv("COLUMNS", "110")
	code, help, stderr := broker(t, "--help")
	if code != 0 || stderr != "" {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
	golden := filepath.Join("testdata", "help.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(help), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), help); diff != "" {
		t.Errorf("go test ./cmd/broker -update writes the new one:\n%s", diff)
	}
}

func TestConfigurationErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "bad.yaml", "\nleases: 1\nendpoints:\n- limits:\n    message_size: 1\n")
	write(t, "good.yaml", "control:\n  listen: 127.0.0.1:7777\n")
	for name, c := range map[string]struct{ args, variable, want string }{
		"unknown flag":    {args: "--lisen=:1", want: `unknown flag --lisen, did you mean "--listen"?`},
		"unknown command": {args: "serv", want: `unexpected argument serv, did you mean "serve"?`},
		"half a command":  {args: "config", want: `expected one of "check", "show"`},
		"no value":        {args: "--listen", want: `--listen: missing value, expecting "<arg>,..."`},
		"flag's type":     {args: "--nats-outbox=1", want: `--nats-outbox: "1" is not a size: want a whole number with a unit B, KiB, MiB or GiB, such as 1MiB`},
		"flag's value":    {args: "--log-format=xml", want: `--log-format: "xml" is unknown: want text or json`},
		"variable": {
			args: "config check", variable: "HOLDFAST_DRAIN_DELAY=2h",
			want: `HOLDFAST_DRAIN_DELAY: 2h is out of range: want 0s to 1h`,
		},
		"no file": {args: "--config=none.yaml", want: `none.yaml: no such file or directory`},
		"file": {args: "config check --config bad.yaml", want: "bad.yaml:2: leases: unknown key: known here are listen, clients, control, ops, nats, cluster, data_dir, drain, lease, one_close, memory, log, namespaces, endpoints\n" +
			`bad.yaml:5: endpoints[0].limits.message_size: "1" is not a size: want a whole number with a unit B, KiB, MiB or GiB, such as 1MiB`},
		"file by variable": {
			args: "config show --ops-listen=127.0.0.1:7777", variable: "HOLDFAST_CONFIG=good.yaml",
			want: `--ops-listen: "127.0.0.1:7777" is taken by control.listen ("127.0.0.1:7777"): want an address of its own`,
		},
		"beyond loopback": {
			args: "serve --control-listen=:7400 --insecure-ops",
			want: `--control-listen: ":7400" can be reached from other machines, and calls are not authenticated: want a loopback address such as 127.0.0.1, or --insecure-control`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if variable, value, ok := strings.Cut(c.variable, "="); ok {
				t.Setenv(variable, value)
			}
			code, stdout, stderr := broker(t, strings.Fields(c.args)...)
			want := "broker: " + strings.ReplaceAll(c.want, "\n", "\nbroker: ") + "\n"
			if code != exitUsage || stdout != "" || stderr != want {
				t.Errorf("code %d, stdout %q\ngot:\n%swant:\n%s", code, stdout, stderr, want)
			}
		})
	}
}

func TestCommandsThatDoNotServe(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "h.yaml", "listen: [\":1\"]\n")
	for _, c := range []struct{ args, want string }{
		{"version", "holdfast "},
		{"config check", "ok\n"},
		{"config check --config h.yaml", "ok\n"},
		{"--config h.yaml config show", "listen: [\":1\"]  # h.yaml:1\n"},
		{"config show --config h.yaml --listen :2,:3 --listen unix:/run/h.sock", "listen: [\":2\", \":3\", unix:/run/h.sock]  # --listen\n"},
		{"config show --insecure-control --control-listen :7400", "# --insecure-control: true, which no file can say\nlisten: "},
		{"serve --help", "Usage: broker serve"},
		{"config --help", "Usage: broker config"},
	} {
		code, stdout, stderr := broker(t, strings.Fields(c.args)...)
		if code != 0 || !strings.HasPrefix(stdout, c.want) || stderr != "" {
			t.Errorf("broker %s: code %d\nstdout: %.200s\nstderr: %s", c.args, code, stdout, stderr)
		}
	}
}

func TestShownListenersLoadAgain(t *testing.T) {
	t.Chdir(t.TempDir())
	_, shown, _ := broker(t, "config", "show", "--nats-url=nats://u:geheim@a:4222", "--listen=:9", "--log-level=warn")
	write(t, "shown.yaml", shown)
	code, again, stderr := broker(t, "config", "show", "--config=shown.yaml")
	if code != 0 || strings.Contains(shown, "geheim") {
		t.Fatalf("code %d: %s\n%s", code, stderr, shown)
	}
	if diff := cmp.Diff(withoutComments(shown), withoutComments(again)); diff != "" {
		t.Error(diff)
	}
}

func withoutComments(text string) (lines []string) {
	for line := range strings.Lines(text) {
		value, _, _ := strings.Cut(line, "#")
		lines = append(lines, strings.TrimRight(value, " \n"))
	}
	return lines
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var ignoreOrigins = cmpopts.IgnoreUnexported(Config{})

// loadText loads a file of this content, named h.yaml, and variables as "NAME=value".
func loadText(t *testing.T, text string, variables ...string) (Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("h.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(Sources{File: "h.yaml", Variable: lookupIn(variables)})
}

func lookupIn(variables []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, v := range variables {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
}

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	c, err := Load(Sources{})
	if diff := cmp.Diff(Default(), c, ignoreOrigins); diff != "" || err != nil {
		t.Errorf("nothing said: %v\n%s", err, diff)
	}
	for name, text := range map[string]string{"empty": "", "only comments": "# nothing\n", "a start": "---\n"} {
		t.Run(name, func(t *testing.T) {
			c, err := loadText(t, text)
			if diff := cmp.Diff(Default(), c, ignoreOrigins); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

// TestWholeFile reads a file with every section.
func TestWholeFile(t *testing.T) {
	c, err := loadText(t, `
listen: [":8080"]
control: {listen: "127.0.0.1:7400"}
ops: {listen: "127.0.0.1:7401"}
nats: {url: ""}
data_dir: ./holdfast-data
drain: {timeout: 25s, delay: 0s}
endpoints:
  - path: /
    namespace: default
    subprotocols: []
    origins: [same-origin]
    admission: {mode: none}
    compression: {enabled: false, threshold: 1KiB}
    heartbeat: {interval: 30s, timeout: 10s}
    limits: {message_size: 1MiB, send_queue: 1MiB, send_queue_policy: reject, max_pause: 10m}
    events: [open, message, close]
    event_attributes: []
    keep_headers: [User-Agent]
    start_paused: false
`)
	if diff := cmp.Diff(Default(), c, ignoreOrigins); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if !c.MessageSizeSet(0) {
		t.Error("the message size counts as a default")
	}
}

func TestEachEndpointHasTheDefaults(t *testing.T) {
	c, err := loadText(t, `
endpoints:
  - &chat
    path: /chat
    keep_headers: []
    limits: {message_size: 64KiB}
    heartbeat: {interval: 0s}
  - path: /ws/{room}
    namespace: rooms
    events: [open, message, close, ping]
  - <<: *chat
    path: /chat/old
`)
	if err != nil {
		t.Fatal(err)
	}
	chat, rooms := DefaultEndpoint(), DefaultEndpoint()
	chat.Path, chat.KeepHeaders = "/chat", []string{}
	chat.Limits.MessageSize, chat.Heartbeat.Interval = 64*KiB, 0
	rooms.Path, rooms.Namespace, rooms.Events = "/ws/{room}", "rooms", []string{"open", "message", "close", "ping"}
	old := chat
	old.Path = "/chat/old"
	if diff := cmp.Diff([]Endpoint{chat, rooms, old}, c.Endpoints); diff != "" {
		t.Error(diff)
	}
	for i, want := range []bool{true, false, true} {
		if c.MessageSizeSet(i) != want {
			t.Errorf("endpoints[%d]: message size set: %v", i, !want)
		}
	}
}

func TestFlagBeforeVariableBeforeFileBeforeDefault(t *testing.T) {
	const file = "nats: {outbox: 1MiB}\ndrain: {timeout: 1s, delay: 1s}\nlisten: [\":1\", {address: \":2\"}]\nlog: {level: warn}\n"
	c, err := loadText(t, file, "HOLDFAST_NATS_OUTBOX=2MiB", "HOLDFAST_DRAIN_TIMEOUT=2s", "HOLDFAST_DRAIN_DELAY=",
		"HOLDFAST_LISTEN=:3, unix:/run/h.sock", "HOLDFAST_DEMO=true")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.NATS.Outbox, want.Drain, want.Demo = 2*MiB, Drain{Timeout: 2 * Second, Delay: Second}, true
	want.Log.Level = Level(levels["warn"])
	want.Listen = []Listener{{Address: ":3"}, {Address: "unix:/run/h.sock"}}
	if diff := cmp.Diff(want, c, ignoreOrigins); diff != "" {
		t.Error("variables over the file:\n", diff)
	}

	var flags Config
	flags.NATS.Outbox, flags.Listen = 3*MiB, []Listener{{Address: ":4"}}
	flags.Drain.Timeout = 9 * Second // not given
	c, err = Load(Sources{
		File: "h.yaml", Variable: lookupIn([]string{"HOLDFAST_NATS_OUTBOX=2MiB"}),
		Flags: flags, Given: []string{"nats-outbox", "listen"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.NATS.Outbox != 3*MiB || len(c.Listen) != 1 || c.Listen[0].Address != ":4" || c.Drain.Timeout != Second {
		t.Errorf("flags over variables: %+v", c)
	}
	if c.Problem("listen[0]", "x").Error() != "--listen: x" || c.Problem("drain.delay", "x").Error() != "h.yaml:2: drain.delay: x" {
		t.Errorf("places: %v, %v", c.Problem("listen[0]", "x"), c.Problem("drain.delay", "x"))
	}
}

func TestVariablesAreRefusedByName(t *testing.T) {
	_, err := loadText(t, "", "HOLDFAST_DEMO=maybe", "HOLDFAST_NATS_OUTBOX=1", "HOLDFAST_LISTEN=:8443?x=y", "HOLDFAST_LOG_LEVEL=loud")
	want := `HOLDFAST_LISTEN: ":8443?x=y" is not an address: want cert=FILE, key=FILE, client_ca=FILE, mode=MODE and proxy_protocol=POLICY behind "?", joined by "&"
HOLDFAST_NATS_OUTBOX: "1" is not a size: want a whole number with a unit B, KiB, MiB or GiB, such as 1MiB
HOLDFAST_LOG_LEVEL: "loud" is not a log level: want debug, info, warn or error
HOLDFAST_DEMO: "maybe" is neither true nor false`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	_, err = loadText(t, "", "HOLDFAST_CONTROL_LISTEN=:7400")
	if err == nil || !strings.HasPrefix(err.Error(), `HOLDFAST_CONTROL_LISTEN: ":7400" can be reached from other machines`) {
		t.Errorf("a value out of range: %v", err)
	}
}

func TestShowIsAFileThatLoadsTheSame(t *testing.T) {
	cert, key := writeCertificate(t)
	const first = `
listen: [":8080", {address: ":8443", tls: {cert: CERT, key: KEY, client_ca: CERT}}, {address: "unix:/run/a b.sock", mode: 0660}]
clients: {connections: 5000, handshake_timeout: 5s}
nats: {listen: "127.0.0.1:0", outbox: 12345678B}
drain: {timeout: 90s, delay: 59m30s}
log: {level: debug, format: json}
endpoints:
  - path: /a
    subprotocols: ["*", "v1.json"]
    subprotocol_required: true
    origins: ["*", "https://*.example.org", same-origin]
    limits: {message_size: 2MiB, frame_size: 64KiB, idle_timeout: 5m, max_lifetime: 24h, connections: 9, connections_per_ip: 8, new_connections: 7}
    rates: {messages: 100, bytes: 1MiB, control_frames: 0, policy: close}
    events: [close, message, open, pong]
    event_attributes: [tenant, "true", "1"]
  - path: /b/{rest...}
    start_paused: true
`
	for name, text := range map[string]string{
		"defaults": "",
		"much":     strings.NewReplacer("CERT", cert, "KEY", key).Replace(first),
		"external": "nats: {url: \"nats://a:4222,tls://b:4222\"}\n",
		"proxied":  "listen: [\":8080?proxy_protocol=required\", \":8081\"]\nclients: {trusted_proxies: [10.0.0.0/8, unix]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := loadText(t, text)
			if err != nil {
				t.Fatal(err)
			}
			again, err := loadText(t, c.Show())
			if diff := cmp.Diff(c, again, ignoreOrigins); diff != "" || err != nil {
				t.Errorf("%v\n%s\n%s", err, diff, c.Show())
			}
			for i := range c.Endpoints {
				if c.MessageSizeSet(i) != again.MessageSizeSet(i) {
					t.Errorf("endpoints[%d]: what was a default is now a demand, or the other way round", i)
				}
			}
		})
	}
}

func TestShowMasksPasswordsAndNamesPlaces(t *testing.T) {
	c, err := loadText(t, "nats:\n  url: nats://u:geheim@a:4222,nats://token@b:4222\n", "HOLDFAST_LOG_LEVEL=error", "HOLDFAST_DEMO=1")
	if err != nil {
		t.Fatal(err)
	}
	text := c.Show()
	for _, want := range []string{
		"# HOLDFAST_DEMO: true, which no file can say\n",
		"  url: \"nats://u:***@a:4222,nats://***@b:4222\"  # h.yaml:2\n",
		"  level: error  # HOLDFAST_LOG_LEVEL\n",
		"      # message_size: 1MiB, or what NATS takes if that is less\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "geheim") || strings.Contains(text, "token@") {
		t.Errorf("a secret in\n%s", text)
	}
}

// TestTable holds every flag to its convention: its key with "-", and a help text.
func TestTable(t *testing.T) {
	exceptions := map[string]bool{"demo": true, "driver": true, "insecure-control": true, "insecure-ops": true, "insecure-nats": true}
	for _, set := range settings() {
		byKey := strings.NewReplacer(".", "-", "_", "-").Replace(set.key)
		if set.flag != byKey && !exceptions[set.flag] {
			t.Errorf("--%s sets %s: want --%s", set.flag, set.key, byKey)
		}
	}
	if n := len(settings()); n != 56 {
		t.Errorf("%d settings have flags", n)
	}
	if got := Variable("nats-tls-ca"); got != "HOLDFAST_NATS_TLS_CA" {
		t.Error(got)
	}
}

func TestUnits(t *testing.T) {
	for text, want := range map[string]Size{"0B": 0, "1B": 1, "1KiB": KiB, "1025B": 1025, "3GiB": 3 * GiB} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want || s.String() != text {
			t.Errorf("%s: %d, %v, %s", text, s, err, s)
		}
	}
	for _, text := range []string{"", "1", "MiB", "1MB", "1.5MiB", "-1B", "+1B", "1 MiB", "5000000000GiB", "0x1B"} {
		var s Size
		if s.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is a size: %s", text, s)
		}
	}
	for text, want := range map[string]Duration{"0s": 0, "250ms": 250 * Millisecond, "1m30s": 90 * Second, "10m": 10 * Minute, "1h30m": 90 * Minute, "24h": 24 * Hour} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d != want || d.String() != text {
			t.Errorf("%s: %d, %v, %s", text, d, err, d)
		}
	}
	for _, text := range []string{"", "0", "-0", "30", "-1s", "1d", "1 s"} {
		var d Duration
		if d.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is a time: %s", text, d)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, text := range []string{"listen: [\":1\"]", "endpoints:\n- &a {path: /}\n- <<: *a\n", "nats: {tls: {}}", "a: &a [*a]", "x: |\n y", "? [a]: b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "h.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(Sources{File: file})
		if err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Error("a refusal without words")
		}
		_ = c.Show()
	})
}

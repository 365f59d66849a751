package doctest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// configuration is the reference of the settings.
const configuration = "docs/configuration.md"

// broker runs the broker in a directory and answers what it said and its exit code.
func broker(t *testing.T, dir, arguments string) (output string, code int) {
	t.Helper()
	p := bash(t, dir, asBroker(t, "broker "+arguments))
	code = p.exitCode()
	return p.said(), code
}

// example is the directory with the example file.
func example(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	write(t, dir, "holdfast.yaml", read(t, configuration).one(t, configuration+"#An example/1").text)
	return dir
}

func configCommands(t *testing.T, s snippet) {
	out := bash(t, example(t), asBroker(t, s.text)).end()
	if !strings.HasPrefix(out, "ok\n") || !strings.Contains(out, "timeout: 10s  # --drain-timeout\n") {
		t.Errorf("they print:\n%s", out)
	}
}

// exampleFile checks the file, and that what config show makes of it is accepted and shown the same.
func exampleFile(t *testing.T, s snippet) {
	dir := example(t)
	shown, code := broker(t, dir, "config show --config=holdfast.yaml")
	if code != 0 {
		t.Fatalf("%d:\n%s", code, shown)
	}
	write(t, dir, "shown.yaml", shown)
	again, code := broker(t, dir, "config show --config=shown.yaml")
	if code != 0 {
		t.Fatalf("%d:\n%s", code, again)
	}
	origin := regexp.MustCompile(` +#.*`)
	if diff := cmp.Diff(origin.ReplaceAllString(shown, ""), origin.ReplaceAllString(again, "")); diff != "" {
		t.Errorf("shown, read and shown again (-first +second):\n%s", diff)
	}
}

// namespacesFile checks the file, and that what is set there is shown as it was said.
func namespacesFile(t *testing.T, s snippet) {
	dir := t.TempDir()
	write(t, dir, "holdfast.yaml", s.text)
	shown, code := broker(t, dir, "config show --config=holdfast.yaml")
	if code != 0 || !strings.Contains(shown, "bytes_per_user: 1MiB  # holdfast.yaml:") {
		t.Errorf("%d:\n%s", code, shown)
	}
}

// withCertificate is a directory with tls.crt and tls.key.
func withCertificate(t *testing.T) (dir string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	write(t, dir, "tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	write(t, dir, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	return dir
}

func tlsFile(t *testing.T, s snippet) {
	dir := withCertificate(t)
	write(t, dir, "tls.yaml", s.text)
	if out, code := broker(t, dir, "config check --config=tls.yaml"); code != 0 {
		t.Errorf("%d:\n%s", code, out)
	}
}

func tlsFlag(t *testing.T, s snippet) {
	if out := bash(t, withCertificate(t), asBroker(t, s.text)).end(); out != "ok\n" {
		t.Errorf("it says %s", out)
	}
}

// flag is what --help says of one.
type flag struct{ variable, fallback string }

var (
	flagName     = regexp.MustCompile(`^--([a-z-]+)`)
	flagFallback = regexp.MustCompile(`Default: (.+?)\. \[`)
	flagVariable = regexp.MustCompile(`\[(HOLDFAST_\w+)\]`)
)

// flags reads --help, whose long descriptions go on in the next line.
func flags(t *testing.T) map[string]flag {
	t.Helper()
	help, code := broker(t, t.TempDir(), "--help")
	if code != 0 {
		t.Fatal(help)
	}
	_, help, _ = strings.Cut(help, "\nFlags:\n")
	all := make(map[string]flag)
	for entry := range strings.SplitSeq(strings.Join(strings.Fields(help), " "), " --") {
		name := flagName.FindStringSubmatch("--" + strings.TrimPrefix(entry, "--"))
		variable := flagVariable.FindStringSubmatch(entry)
		if name == nil || variable == nil {
			continue // --help itself
		}
		f := flag{variable: variable[1]}
		if fallback := flagFallback.FindStringSubmatch(entry); fallback != nil {
			f.fallback = fallback[1]
		}
		all[name[1]] = f
	}
	return all
}

func TestEveryFlagAndVariableIsInTheTable(t *testing.T) {
	known := flags(t)
	if len(known) < 15 {
		t.Fatalf("only %d flags were found in --help", len(known))
	}
	documented := make(map[string]flag)
	for _, r := range read(t, configuration).table(t, "Settings") {
		name, ok := strings.CutPrefix(bare(r["flag"]), "--")
		if !ok {
			continue
		}
		f := flag{variable: bare(r["variable"])}
		if strings.HasPrefix(r["default"], "`") {
			f.fallback = bare(r["default"])
		}
		documented[name] = f
	}
	if diff := cmp.Diff(known, documented, cmp.AllowUnexported(flag{})); diff != "" {
		t.Errorf("flags (-in --help +in %s):\n%s", configuration, diff)
	}
}

// stranger is a key that nobody knows: what is said about it lists those that are known.
const stranger = `
stranger: 1
clients: {stranger: 1}
control: {stranger: 1, rates: {stranger: 1}, tls: {stranger: 1}, auth: {stranger: 1, identities: [{stranger: 1, rates: {stranger: 1}, allow: {stranger: 1}}], jwt: {stranger: 1, claims: {stranger: 1}}}}
ops: {stranger: 1}
nats: {stranger: 1, tls: {stranger: 1}, users: [{stranger: 1, allow_responses: {stranger: 1}}]}
cluster: {stranger: 1, tls: {stranger: 1}}
drain: {stranger: 1}
lease: {stranger: 1}
log: {stranger: 1}
memory: {stranger: 1}
namespaces: [{stranger: 1, limits: {stranger: 1}, rates: {stranger: 1}}]
listen: [{stranger: 1, tls: {stranger: 1}}]
endpoints: [{stranger: 1, admission: {stranger: 1, backend: {stranger: 1}, jwt: {stranger: 1, claims: {stranger: 1}}}, compression: {stranger: 1}, heartbeat: {stranger: 1}, limits: {stranger: 1}, rates: {stranger: 1}}]
`

// fileKeys asks the broker for every key of the file: "nats.tls.ca", "listen[].address", "endpoints[].path".
func fileKeys(t *testing.T) (all []string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "stranger.yaml", stranger)
	out, code := broker(t, dir, "config check --config=stranger.yaml")
	if code != 2 {
		t.Fatalf("%d:\n%s", code, out)
	}
	known := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)stranger.yaml:\d+: (\S*?)\.?stranger: unknown key: known here are (.*)$`).FindAllStringSubmatch(out, -1) {
		place := strings.ReplaceAll(m[1], "[0]", "[]")
		for name := range strings.SplitSeq(m[2], ", ") {
			known[strings.TrimPrefix(place+"."+name, ".")] = true
		}
	}
	for key := range known {
		part := func(other string) bool { return strings.HasPrefix(other, key+".") }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(known)), part) {
			all = append(all, key)
		}
	}
	slices.Sort(all)
	return all
}

// documentedKeys are the keys of both tables, with their rows.
func documentedKeys(t *testing.T) map[string]row {
	t.Helper()
	all := make(map[string]row)
	d := read(t, configuration)
	for _, r := range d.table(t, "Settings") {
		if key := bare(r["key"]); key != "–" {
			all[key] = r
		}
	}
	for _, r := range d.table(t, "Endpoints") {
		all["endpoints[]."+bare(r["key"])] = r
	}
	for _, r := range d.table(t, "Namespaces") {
		all["namespaces[]."+bare(r["key"])] = r
	}
	for _, r := range d.table(t, "Tokens") {
		for _, place := range []string{"endpoints[].admission.jwt.", "control.auth.jwt."} {
			all[place+bare(r["key"])] = r
		}
	}
	return all
}

// withAll is a file in which the settings of the tables of tokens and of namespaces are in force.
const withAll = `
namespaces: [{name: default}]
control: {auth: {jwt: {algorithms: [HS256], secret: 0123456789abcdef0123456789abcdef}}}
endpoints: [{admission: {mode: jwt, jwt: {algorithms: [HS256], secret: 0123456789abcdef0123456789abcdef}}}]
`

// shownSettings are what the broker shows that was told nothing, and what it shows of tokens and namespaces where they are
// asked for.
func shownSettings(t *testing.T) map[string]string {
	t.Helper()
	dir, all := t.TempDir(), make(map[string]string)
	write(t, dir, "all.yaml", withAll)
	for _, arguments := range []string{"config show", "config show --config=all.yaml"} {
		shown, code := broker(t, dir, arguments)
		if code != 0 {
			t.Fatal(shown)
		}
		shown = regexp.MustCompile(`# (message_size: \S+),.*`).ReplaceAllString(shown, "$1") // see Config.Show
		var tree map[string]any
		if err := yaml.Unmarshal([]byte(shown), &tree); err != nil {
			t.Fatal(err)
		}
		now := make(map[string]string)
		flatten(now, "", tree)
		for key, value := range now {
			if strings.Contains(key, ".jwt.") || strings.HasPrefix(key, "namespaces[]") || arguments == "config show" {
				all[key] = value
			}
		}
	}
	delete(all, "namespaces[].name") // they were told
	for _, place := range []string{"endpoints[].admission.jwt.", "control.auth.jwt."} {
		delete(all, place+"secret")
		delete(all, place+"algorithms")
	}
	return all
}

func TestEveryKeyIsInTheTable(t *testing.T) {
	documented := slices.Sorted(maps.Keys(documentedKeys(t)))
	if diff := cmp.Diff(fileKeys(t), documented); diff != "" {
		t.Errorf("keys (-that the broker knows +in %s):\n%s", configuration, diff)
	}
}

// TestDefaultsAreThoseThatTheBrokerShows compares the tables with what a broker that was told nothing shows.
func TestDefaultsAreThoseThatTheBrokerShows(t *testing.T) {
	actual := shownSettings(t)
	for key, r := range documentedKeys(t) {
		said := r["default"]
		value, there := actual[key]
		switch {
		case said == "none" && (!there || value == ""):
		case key == "endpoints":
		case key == "listen":
			if value != "["+bare(said)+"]" {
				t.Errorf("%s: the default is %s, the document has %s", key, value, said)
			}
		case !there || value != bare(said):
			t.Errorf("%s: the default is %q, the document has %s", key, value, said)
		}
		delete(actual, key)
	}
	if len(actual) > 0 {
		t.Errorf("the document lacks %v", actual)
	}
}

func flatten(into map[string]string, key string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, value := range v {
			flatten(into, strings.TrimPrefix(key+"."+name, "."), value)
		}
	case []any:
		if len(v) > 0 {
			if part, ok := v[0].(map[string]any); ok {
				flatten(into, key+"[]", part)
				return
			}
		}
		words := make([]string, len(v))
		for i, word := range v {
			words[i] = fmt.Sprint(word)
		}
		into[key] = "[" + strings.Join(words, ", ") + "]"
	default:
		into[key] = fmt.Sprint(v)
	}
}

// documentedRange is "64KiB to 4GiB" in the column of values.
var documentedRange = regexp.MustCompile(`(?:^|, or )(\d+\w*) to (\d+\w*)`)

// TestRangesAreThoseThatTheBrokerEnforces sets every setting that has a range to its ends, which the broker
// takes, and beyond its upper end, which it refuses with the same range.
func TestRangesAreThoseThatTheBrokerEnforces(t *testing.T) {
	dir, n := t.TempDir(), 0
	for key, r := range documentedKeys(t) {
		ends := documentedRange.FindStringSubmatch(r["values"])
		if ends == nil || strings.HasPrefix(key, "nats.users[]") { // an entry is nothing without its other keys
			continue
		}
		n++
		for end, value := range ends[1:] {
			file := fileWith(key, value)
			if key == "lease.renew" && end == 1 { // the table says so: at most a third of the lease
				file = "lease: {duration: 1h, renew: 20m}\n"
			}
			write(t, dir, "end.yaml", file)
			if out, code := broker(t, dir, "config check --config=end.yaml"); code != 0 {
				t.Errorf("%s: %s, end %d of its range, is refused: %s", key, value, end, out)
			}
		}
		write(t, dir, "beyond.yaml", fileWith(key, ends[2]+"0")) // "24h0" and the like are no values at all
		if last := ends[2]; strings.ContainsAny(last, "hB") {
			write(t, dir, "beyond.yaml", fileWith(key, "1"+last))
		}
		if out, code := broker(t, dir, "config check --config=beyond.yaml"); code != 2 || !strings.Contains(out, ends[1]+" to "+ends[2]) {
			t.Errorf("%s: beyond %s it says: %s", key, ends[2], out)
		}
	}
	if n < 12 {
		t.Errorf("only %d ranges were found", n)
	}
}

// fileWith is a file that sets one key: "endpoints[].limits.fragments" or "nats.outbox".
func fileWith(key, value string) string {
	if rest, ok := strings.CutPrefix(key, "endpoints[]."); ok {
		return "endpoints:\n- " + nested(rest, value) + "\n"
	}
	if rest, ok := strings.CutPrefix(key, "namespaces[]."); ok {
		return "namespaces:\n- name: default\n  " + nested(rest, value) + "\n"
	}
	return nested(key, value) + "\n"
}

func nested(key, value string) string {
	first, rest, deeper := strings.Cut(key, ".")
	if !deeper {
		return first + ": " + value
	}
	return first + ": {" + nested(rest, value) + "}"
}

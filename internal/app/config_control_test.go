package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/rpc"
)

// secretToken is one that no output may have.
const secretToken = "geheim-0123456789"

const allowAll = "allow: {verbs: [read, send, close, admin], namespaces: [\"*\"]}"

// identityFile is a configuration file with one identity, whose keys stand in its second line.
func identityFile(keys string) string { return "control: {auth: {identities: [\n{" + keys + "}]}}\n" }

func TestControlRefusals(t *testing.T) {
	const at = "h.yaml:2: control.auth.identities[0]"
	for name, c := range map[string]struct{ file, want string }{
		"nobody":           {"control: {auth: {identities: []}}\n", `h.yaml:1: control.auth.identities: empty: want at least one, or no such key`},
		"no name":          {identityFile("token: " + secretToken + ", " + allowAll), at + `.name: "" is not a name: want 1 to 64 of A-Z, a-z, 0-9, _, . and -`},
		"nothing to show":  {identityFile("name: a, " + allowAll), at + `: nothing to know it by: want token, token_file, token_sha256 or subject`},
		"two tokens":       {identityFile("name: a, token: " + secretToken + ", token_file: h.yaml, " + allowAll), at + `: more than one of token, token_file and token_sha256: want one`},
		"short token":      {identityFile("name: a, token: geheim, " + allowAll), at + `.token: a token of 6 characters is too short: want at least 16, such as those of "openssl rand -hex 32"`},
		"masked token":     {identityFile("name: a, token: \"***\", " + allowAll), at + `.token: "***" is what config show prints in the place of a token: want the token`},
		"a token's form":   {identityFile("name: a, token: \"geheim geheim geheim\", " + allowAll), at + `.token: a token has characters that no header carries: want A-Z, a-z, 0-9 and ._~+/-, and "=" at its end`},
		"no such file":     {identityFile("name: a, token_file: none, " + allowAll), at + `.token_file: "none" cannot be read: no such file or directory`},
		"a file's token":   {identityFile("name: a, token_file: h.yaml, " + allowAll), at + `.token_file: "h.yaml": a token has characters that no header carries: want A-Z, a-z, 0-9 and ._~+/-, and "=" at its end`},
		"no hash":          {identityFile("name: a, token_sha256: abc, " + allowAll), at + `.token_sha256: "abc" is not a SHA-256: want 64 hexadecimal digits, such as those of "printf %s TOKEN | sha256sum"`},
		"subject alone":    {identityFile("name: a, subject: CN=a, " + allowAll), at + `.subject: "CN=a" is of a client certificate, and none is asked for: want control.tls.client_ca as well`},
		"no permission":    {identityFile("name: a, token: " + secretToken + ", allow: {namespaces: [chat]}"), at + `.allow.verbs: empty: want at least one of read, send, close or admin`},
		"unknown verb":     {identityFile("name: a, token: " + secretToken + ", allow: {verbs: [write], namespaces: [chat]}"), at + `.allow.verbs[0]: "write" is unknown: want read, send, close or admin`},
		"no namespace":     {identityFile("name: a, token: " + secretToken + ", allow: {verbs: [read]}"), at + `.allow.namespaces: empty: want at least one, or "*" for all`},
		"namespace's form": {identityFile("name: a, token: " + secretToken + ", allow: {verbs: [read], namespaces: [\"chat*\"]}"), at + `.allow.namespaces[0]: "chat*" is not a namespace: want 1 to 32 of a-z, 0-9, _ and -, or "*" for all`},
		"no group":         {identityFile("name: a, token: " + secretToken + ", allow: {verbs: [read], namespaces: [chat], groups: []}"), at + `.allow.groups: empty: want at least one, or no such key for all groups`},
		"group's form":     {identityFile("name: a, token: " + secretToken + ", allow: {verbs: [read], namespaces: [chat], groups: [\"*room\"]}"), at + `.allow.groups[0]: "*room" is no group: want a name, the beginning of one and "*", or "*" for all`},
		"name twice": {
			identityFile("name: a, token: " + secretToken + ", " + allowAll + "},\n{name: a, token: another-" + secretToken + ", " + allowAll),
			`h.yaml:3: control.auth.identities[1].name: "a" is that of identities[0]: want one of its own`,
		},
		"token twice": {
			identityFile("name: a, token: " + secretToken + ", " + allowAll + "},\n{name: b, token: " + secretToken + ", " + allowAll),
			`h.yaml:3: control.auth.identities[1].token: the token is also that of identities[0]: want one of its own`,
		},
		"plain text": {
			"control: {listen: \":7400\", auth: {identities: [{name: a, token: " + secretToken + ", " + allowAll + "}]}}\n",
			`h.yaml:1: control.listen: ":7400" can be reached from other machines, and tokens would travel there in plain text: want control.tls, a loopback address such as 127.0.0.1, or --insecure-control`,
		},
		"CA alone":         {"control: {tls: {client_ca: h.yaml}}\n", `h.yaml:1: control.tls.client_ca: "h.yaml" is for TLS, and there is none: want control.tls.cert and control.tls.key as well`},
		"cert without key": {"control: {tls: {cert: h.yaml}}\n", `h.yaml:1: control.tls: cert "h.yaml", key "": want both`},
		"no such cert":     {"control: {tls: {cert: a.pem, key: b.pem}}\n", `h.yaml:1: control.tls: open a.pem: no such file or directory`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadText(t, c.file)
			if err == nil || err.Error() != c.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("a token in %v", err)
			}
		})
	}
}

// TestControlAddress: who may listen beyond loopback without the switch.
func TestControlAddress(t *testing.T) {
	cert, key := writeCertificate(t)
	open := "listen: \"0.0.0.0:7400\""
	tls := "tls: {cert: " + cert + ", key: " + key + "}"
	ca := "tls: {cert: " + cert + ", key: " + key + ", client_ca: " + cert + "}"
	auth := "auth: {identities: [{name: a, token: " + secretToken + ", " + allowAll + "}]}"
	for _, c := range []struct {
		control string
		good    bool
	}{
		{open, false},
		{open + ", " + tls, false}, // anybody could call
		{open + ", " + auth, false},
		{open + ", " + tls + ", " + auth, true},
		{open + ", " + ca, true},
		{open + ", " + ca + ", " + auth, true},
		{auth, true},
		{tls, true},
	} {
		if _, err := loadText(t, "control: {"+c.control+"}\n"); (err == nil) != c.good {
			t.Errorf("%s: %v", c.control, err)
		}
	}
	var with Sources
	with.Flags.Control.Insecure, with.Given = true, []string{"insecure-control"}
	with.File = filepath.Join(t.TempDir(), "h.yaml")
	if err := os.WriteFile(with.File, []byte("control: {"+open+", "+auth+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(with); err != nil {
		t.Errorf("with the switch: %v", err)
	}
	with.Flags.Demo, with.Given = true, []string{"insecure-control", "demo"}
	if _, err := Load(with); err == nil || !strings.HasPrefix(err.Error(), "--demo: the demo's backend has no credentials") {
		t.Errorf("the demo: %v", err)
	}
}

func TestTokensAreMasked(t *testing.T) {
	c, err := loadText(t, identityFile("name: a, token: "+secretToken+", "+allowAll))
	if err != nil {
		t.Fatal(err)
	}
	shown := c.Show()
	if strings.Contains(shown, "geheim") || !strings.Contains(shown, "token: \"***\"") {
		t.Errorf("shown:\n%s", shown)
	}
	if c.Control.Auth.Identities[0].Token != secretToken {
		t.Error("the configuration itself was masked")
	}
}

// TestTokenFilesAreReadAgain looks at them a second later, which here takes none.
func TestTokenFilesAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("the-first-token-of-all\n")
	cfg := Control{Auth: ControlAuth{Identities: []Identity{{Name: "a", TokenFile: file, Allow: Allow{Verbs: rpc.Verbs, Namespaces: []string{"*"}}}}}}
	var log strings.Builder
	ids, err := newIdentities(cfg, nil, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first := ids.get()
	later := func() *rpc.Identities {
		ids.files.start = ids.files.start.Add(-2 * time.Hour)
		ids.files.looked.Store(0)
		return ids.get()
	}
	if later() != first {
		t.Error("read although nothing changed")
	}
	write("the-first-token-of-all\r\nthe-second-token-of-all\r\n")
	second := later()
	if second == first {
		t.Error("not read again")
	}
	write("short\n")
	if later() != second || !strings.Contains(log.String(), "the old tokens stay") || strings.Contains(log.String(), "token-of-all") {
		t.Errorf("a bad file: the log has\n%s", log.String())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if later() != second {
		t.Error("no file: the tokens are gone")
	}
}

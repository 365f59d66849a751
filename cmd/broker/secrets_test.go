package main_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// marker is part of every secret here, so that one search finds each of them.
const marker = "geheim0123456789"

// said gathers what a broker says, and to whom.
type said map[string]string

func (s said) mustNotHave(t *testing.T, secret string) {
	t.Helper()
	for where, text := range s {
		if at := strings.Index(text, secret); at >= 0 {
			t.Errorf("a secret in %s: …%s…", where, text[max(0, at-100):min(len(text), at+100)])
		}
		if text == "" {
			t.Errorf("%s is empty", where)
		}
	}
}

// Nothing that the broker prints, publishes or answers has a secret: those of its settings, and those that clients and
// callers show. At debug level, also of starts that fail.
func TestThreatTokenTheftByLog(t *testing.T) {
	passwords := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(passwords, []byte(marker+"-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := brokertest.Config(t, `
log: {level: debug}
nats:
  users:
    - {name: plain, password: `+marker+`-user, roles: [operator], namespaces: ["*"]}
    - {name: file, password_file: `+passwords+`, roles: [listener], namespaces: ["*"]}
control:
  auth:
    identities:
      - {name: plain, token: `+marker+`-token, allow: {verbs: [read, send, close, admin], namespaces: ["*"]}}
      - {name: file, token_file: `+passwords+`, allow: {verbs: [read], namespaces: ["*"]}}
cluster: {secret: `+marker+`-cluster}
endpoints: [{path: "/", subprotocols: ["*"]}]
`)
	b := brokertest.Start(t, config, "--drain-timeout=100ms")
	url := strings.Replace(b.NATS, "nats://", "nats://plain:"+marker+"-user@", 1)
	events := bustest.Record(t, url, "holdfast.>")
	header := http.Header{"Authorization": {"Bearer " + marker + "-client"}, "Cookie": {"session=" + marker + "-cookie"}, "Sec-Websocket-Protocol": {"chat, bearer." + marker + "-protocol"}}
	wstest.Dial(t, b.URL("/?token="+marker+"-query&access_token="+marker+"-access"), header).Send(wstest.Text("hi"))
	_, foreign := wstest.TryDial(t, b.URL("/?token="+marker+"-refused"), http.Header{"Origin": {"https://foreign.example"}, "Authorization": {"Bearer " + marker}})
	_, _ = wstest.TryDial(t, b.URL("/nowhere?token="+marker+"-nowhere"), header)
	s := said{"events": "", "refused handshake": foreign.Status}
	for _, m := range events.Wait(2) {
		s["events"] += m.Subject + string(m.Data) + strings.Join(m.Header["Holdfast-User"], "")
	}
	client := holdfastv1.NewConnectionServiceClient(b.GRPC())
	list, err := client.List(bearer(t, marker+"-token"), &holdfastv1.ListRequest{})
	if err != nil || len(list.GetConnections()) != 1 {
		t.Fatal(list, err)
	}
	s["List"] = prototext.Format(list)
	_, err = client.List(bearer(t, marker+"-wrong"), &holdfastv1.ListRequest{})
	s["a refused call"] = err.Error()
	_, s["metrics"] = get(t, b.Ops+"/metrics")
	_, s["version"] = get(t, b.Ops+"/version")
	b.Stop()
	s["the log"] = b.Stderr()
	for what, args := range map[string][]string{
		"config show":           {"config", "show", config},
		"config show, external": {"config", "show", "--nats-url=nats://u:" + marker + "@127.0.0.1:1"},
		"config show, password": {"config", "show", "--nats-url=nats://127.0.0.1:1", "--nats-user=u", "--nats-password=" + marker},
		"config show, token":    {"config", "show", "--nats-url=nats://127.0.0.1:1", "--nats-token=" + marker},
		"config check":          {"config", "check", config, "--nats-token=" + marker, "--cluster-secret-file=" + passwords},
		"no NATS":               brokertest.Args(t, "--log-level=debug", "--nats-url=nats://u:"+marker+"@127.0.0.1:1"),
		"no NATS, token":        brokertest.Args(t, "--log-level=debug", "--nats-url=nats://127.0.0.1:1", "--nats-token="+marker),
		"cluster status":        {"cluster", "status", "--nats=nats://u:" + marker + "@127.0.0.1:1", "--cluster-secret=" + marker},
	} {
		s[what] = output(t, args...)
	}
	s.mustNotHave(t, marker)
}

func bearer(t *testing.T, token string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
}

// output is what a broker says that ends by itself.
func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), brokertest.Binary(t), args...).CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatal(err)
	}
	return string(out)
}

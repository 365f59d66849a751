package doctest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// metric is a family as /metrics serves it.
type metric struct{ Kind, Labels string }

func scrape(t *testing.T, b *brokertest.Broker) string {
	t.Helper()
	_, body := get(t, b.Ops+"/metrics")
	return body
}

var (
	family = regexp.MustCompile(`(?m)^# TYPE (holdfast_\w+) (\w+)$`)
	label  = regexp.MustCompile(`(\w+)="`)
)

func ownMetrics(t *testing.T, b *brokertest.Broker) map[string]metric {
	t.Helper()
	text, all := scrape(t, b), make(map[string]metric)
	for _, m := range family.FindAllStringSubmatch(text, -1) {
		line := regexp.MustCompile(`(?m)^` + m[1] + `(\{.*\})? `).FindString(text)
		var labels []string
		for _, l := range label.FindAllStringSubmatch(line, -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		all[m[1]] = metric{m[2], strings.Join(labels, " ")}
	}
	return all
}

// sample is the value of a metric without labels.
func sample(t *testing.T, b *brokertest.Broker, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` (.*)$`).FindStringSubmatch(scrape(t, b))
	if m == nil {
		t.Fatalf("no metric %s", name)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// crowded has an endpoint that is soon full.
const crowded = `
endpoints:
  - path: /
  - path: /full
    limits: {connections: 1}
  - path: /one-each
    limits: {connections_per_ip: 1}
  - path: /spoken
    subprotocols: [ours]
    subprotocol_required: true
  - path: /unattended
    namespace: unattended
    admission: {mode: backend}
  - path: /senseless
    namespace: senseless
    admission: {mode: backend}
  - path: /guarded
    admission: {mode: jwt, jwt: {algorithms: [HS256], secret: 0123456789abcdef0123456789abcdef}}
`

// fetching has keys at a URL, and callers who have to say who they are.
const fetching = `
control: {auth: {jwt: {algorithms: [ES256], jwks_url: %q}}}
`

// keySet is the public key of RFC 7517 A.1.
const keySet = `{"keys": [{"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
	"y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`

// stimulated is a broker that serves a sample of every metric, also of those whose labels appear only when
// something has happened.
func stimulated(t *testing.T) *brokertest.Broker {
	t.Helper()
	files := withCertificate(t)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(keySet)) }))
	t.Cleanup(issuer.Close)
	b := brokertest.Start(t, brokertest.Config(t, crowded+fmt.Sprintf(fetching, issuer.URL)),
		"--listen=127.0.0.1:0?cert="+filepath.Join(files, "tls.crt")+"&key="+filepath.Join(files, "tls.key"))
	write(t, files, "tls.crt", "no certificate")
	eventually(t, "changed files are looked at", func() bool {
		_ = wstest.Dial(t, b.Listen[1]+"/", nil).Close()
		return strings.Contains(scrape(t, b), "holdfast_tls_reloads_total{")
	})
	wstest.Dial(t, b.URL("/full"), nil)
	refused(t, b.URL("/full"))
	refused(t, b.URL("/unattended"))
	peer := wstest.Dial(t, b.URL("/"), nil)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer no.good.token")
	if _, err := control(b).Count(ctx, &holdfastv1.CountRequest{}); err == nil {
		t.Fatal("nobody had to say who they are")
	}
	refused(t, b.URL("/nothing"))
	refused(t, b.URL("/guarded"))
	eventually(t, "the keys are fetched", func() bool { return strings.Contains(scrape(t, b), "holdfast_token_keys_age_seconds{") })
	peer.Send(wstest.Frame{Opcode: 3})
	peer.ExpectClose(wire.ProtocolError)
	_ = peer.Close()
	nc := bustest.Dial(t, b.NATS)
	verdict(t, nc, &nats.Msg{Subject: "holdfast-in.default.reply." + b.Node + ".nobody.t"})
	eventually(t, "the fault is counted", func() bool { return strings.Contains(scrape(t, b), "holdfast_protocol_faults_total{") })
	return b
}

// refused is a handshake that is not accepted.
func refused(t *testing.T, url string) {
	t.Helper()
	_, answer := wstest.TryDial(t, url, nil)
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols {
		t.Errorf("%s is accepted", url)
	}
}

func TestMetricsAreThoseOfTheTable(t *testing.T) {
	b := stimulated(t)
	documented := make(map[string]metric)
	for _, r := range read(t, operating).table(t, "Metrics") {
		labels := words(r["labels"])
		slices.Sort(labels)
		documented[bare(r["metric"])] = metric{r["type"], strings.Join(labels, " ")}
		if r["how to read it"] == "" {
			t.Errorf("%s: how is it read?", r["metric"])
		}
	}
	if diff := gocmp.Diff(ownMetrics(t, b), documented); diff != "" {
		t.Errorf("metrics (-served +documented):\n%s", diff)
	}
}

// reasonInSource is where the broker names a reason for which there was no room.
var reasonInSource = regexp.MustCompile(`(?:newEnough|enough\.add)\("(\w+)"`)

// TestReasonsForNoRoomAreThoseOfTheTable: they appear in /metrics only when they have happened.
func TestReasonsForNoRoomAreThoseOfTheTable(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "internal/app/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reasonInSource.FindAllStringSubmatch(string(text), -1) {
			named = append(named, m[1])
		}
	}
	var documented []string
	for _, r := range read(t, operating).table(t, "Metrics") {
		if bare(r["metric"]) == "holdfast_connections_refused_total" {
			documented = words(r["how to read it"])
		}
	}
	slices.Sort(named)
	slices.Sort(documented)
	if diff := gocmp.Diff(named, documented); diff != "" {
		t.Errorf("reasons (-in the source +documented):\n%s", diff)
	}
	for _, r := range read(t, "docs/security.md").table(t, "Limits") {
		for _, name := range words(r["metric"]) {
			if !strings.HasPrefix(name, "holdfast_") && !slices.Contains(append(named, "connection", "ip", "user", "namespace"), name) {
				t.Errorf("%s of %s: there is no %s", r["what"], r["of"], name)
			}
		}
	}
}

package main_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// flooded is a limit that several connections share, who floods, and who must not notice.
type flooded struct {
	config string
	floods []dialer
	quiet  dialer
}

type dialer struct {
	path   string
	header http.Header
}

func as(t *testing.T, user string) http.Header {
	return http.Header{"Authorization": {"Bearer " + issue(t, map[string]any{"sub": user})}}
}

func from(address string) http.Header { return http.Header{"X-Forwarded-For": {address}} }

// perSecond is what those who flood may send together.
const perSecond = 50

var (
	sharedByTenants = `
namespaces: [{name: loud, rates: {messages: 50}}]
endpoints: [{path: /a, namespace: loud}, {path: /b, namespace: loud}, {path: /quiet, namespace: quiet}]
`
	sharedByUsers = `
namespaces: [{name: loud, rates: {messages_per_user: 50}}]
endpoints:
  - {path: /a, namespace: loud, admission: &token {mode: jwt, jwt: {algorithms: [HS256], secret: ` + tokenSecret + `}}}
  - {path: /b, namespace: loud, admission: *token}
  - {path: /quiet, namespace: loud, admission: *token}
`
	sharedByAddresses = `
clients: {messages_per_ip: 50, trusted_proxies: [127.0.0.1]}
endpoints: [{path: /a, namespace: loud}, {path: /b, namespace: loud}, {path: /quiet, namespace: loud}]
`
)

// TestThreatFloodOfMany: connections that are each within their own rates flood together. They get what their namespace,
// user or address may have, none is closed, and whoever is another one is served as ever.
func TestThreatFloodOfMany(t *testing.T) {
	ann := as(t, "ann")
	for limit, c := range map[string]flooded{
		"namespace": {sharedByTenants, []dialer{{"/a", nil}, {"/b", nil}}, dialer{"/quiet", nil}},
		"user":      {sharedByUsers, []dialer{{"/a", ann}, {"/b", ann}}, dialer{"/quiet", as(t, "bob")}},
		"ip":        {sharedByAddresses, []dialer{{"/a", from("192.0.2.1")}, {"/b", from("192.0.2.1")}}, dialer{"/quiet", from("192.0.2.2")}},
	} {
		t.Run(limit, func(t *testing.T) { withEachDriver(t, func(t *testing.T) { floodTogether(t, limit, c) }) })
	}
}

func floodTogether(t *testing.T, limit string, c flooded) {
	b := brokertest.Start(t, brokertest.Config(t, c.config))
	closed := bustest.Record(t, b.NATS, "holdfast.*.close.*")
	quiet := wstest.Dial(t, b.URL(c.quiet.path), c.quiet.header)
	frames := bytes.Repeat(wstest.Text("x").Append(nil), 1000)
	begin := time.Now()
	for _, f := range c.floods {
		p := wstest.Dial(t, b.URL(f.path), f.header)
		go func() {
			for err := error(nil); err == nil; _, err = p.Write(frames) {
			}
		}()
	}
	for i := 0; counted(t, b, fmt.Sprintf("holdfast_connections_over_rate_total{limit=%q}", limit)) < 4; i++ {
		text := strconv.Itoa(i)
		quiet.Send(wstest.Ping(text))
		quiet.Expect(wire.Pong, text)
		if time.Since(begin) > brokertest.Patience {
			t.Fatal("nobody is held")
		}
	}
	came := counted(t, b, `holdfast_namespace_messages_received_total{namespace="loud"}`)
	allowed := perSecond * (1 + time.Since(begin).Seconds())
	if came < perSecond || came > allowed+float64(len(c.floods)) {
		t.Errorf("%g messages, want %d at once and not above %g", came, perSecond, allowed)
	}
	if n := len(closed.Messages()); n != 0 {
		t.Errorf("%d were closed", n)
	}
	if n := counted(t, b, `holdfast_connections_over_rate_total{limit="connection"}`); n != 0 {
		t.Errorf("%g times over a rate of their own", n)
	}
}

// counted is the value of a series.
func counted(t *testing.T, b *brokertest.Broker, series string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(metric(t, b, series), 64)
	if err != nil {
		t.Fatalf("%s: %v", series, err)
	}
	return n
}

// TestTenantsKeepTheirConnections: a namespace or a user that has all its connections takes nobody else's.
func TestTenantsKeepTheirConnections(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, `
namespaces:
  - {name: small, limits: {connections: 2}}
  - {name: hasty, limits: {new_connections: 1}}
  - {name: people, limits: {connections_per_user: 2}}
  - {name: crowds, limits: {new_connections_per_user: 1}}
endpoints:
  - {path: /small, namespace: small}
  - {path: /small/too, namespace: small}
  - {path: /hasty, namespace: hasty}
  - {path: /people, namespace: people, admission: &token {mode: jwt, jwt: {algorithms: [HS256], secret: `+tokenSecret+`}}}
  - {path: /people/too, namespace: people, admission: *token}
  - {path: /crowds, namespace: crowds, admission: *token}
  - {path: /others, namespace: others}
`))
	closed := bustest.Record(t, b.NATS, "holdfast.*.close.*")
	ann, bob := as(t, "ann"), as(t, "bob")
	first := wstest.Dial(t, b.URL("/small"), nil)
	wstest.Dial(t, b.URL("/small/too"), nil)
	refused(t, b, "/small", 503, "5", "namespace_full")
	hasty := untilHasty(t, b, "/hasty", nil, 503, "namespace_rate")
	first.Send(wstest.Close(1000, ""))
	closed.Wait(1)
	wstest.Dial(t, b.URL("/small/too"), nil)

	mine := wstest.Dial(t, b.URL("/people"), ann)
	wstest.Dial(t, b.URL("/people/too"), ann)
	refusedAs(t, b, "/people", ann, 429, "5", "user_full")
	wstest.Dial(t, b.URL("/people"), bob)
	mine.Reset()
	closed.Wait(2)
	wstest.Dial(t, b.URL("/people/too"), ann)
	crowds := untilHasty(t, b, "/crowds", ann, 429, "user_rate")
	wstest.Dial(t, b.URL("/crowds"), bob)
	wstest.Dial(t, b.URL("/others"), nil)
	for namespace, want := range map[string]int{"small": 2, "hasty": hasty, "people": 3, "crowds": crowds + 1, "others": 1} {
		series := fmt.Sprintf("holdfast_namespace_connections{namespace=%q}", namespace)
		// A handshake is answered before the connection counts.
		eventually(t, fmt.Sprintf("%d connections of %s", want, namespace), func() bool { return metric(t, b, series) == strconv.Itoa(want) })
	}
}

// untilHasty connects where one new connection a second may be, until one comes too soon after another. It answers how
// many there are: one, unless the machine stood still.
func untilHasty(t *testing.T, b *brokertest.Broker, path string, header http.Header, status int, reason string) (connected int) {
	t.Helper()
	for {
		_, resp := wstest.TryDial(t, b.URL(path), header)
		if resp.StatusCode != http.StatusSwitchingProtocols {
			wantRefused(t, b, path, resp, status, "1", reason)
			return connected
		}
		connected++
	}
}

// TestUpdateMovesToAnotherUser: a connection draws on what its user has, from when a backend says who that is.
func TestUpdateMovesToAnotherUser(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, `
namespaces: [{name: default, rates: {messages_per_user: 1}}]
`))
	open := bustest.Record(t, b.NATS, "holdfast.default.open.*")
	messages := bustest.Record(t, b.NATS, "holdfast.default.message.*")
	p := wstest.Dial(t, b.URL("/"), nil)
	id := subjectID(open.Wait(1)[0].Subject)
	many := make([]wstest.Frame, 20)
	for i := range many {
		many[i] = wstest.Text("x")
	}
	p.Send(many...)
	messages.Wait(20)
	if n := counted(t, b, `holdfast_connections_over_rate_total{limit="user"}`); n != 0 {
		t.Errorf("nobody was held %g times", n)
	}
	user := "ann"
	if _, err := holdfastv1.NewConnectionServiceClient(b.GRPC()).Update(t.Context(), &holdfastv1.UpdateRequest{ConnectionId: id, User: &user}); err != nil {
		t.Fatal(err)
	}
	p.Send(wstest.Text("y"), wstest.Text("y"))
	messages.Wait(22)
	if n := counted(t, b, `holdfast_connections_over_rate_total{limit="user"}`); n == 0 {
		t.Error("ann was never held")
	}
}

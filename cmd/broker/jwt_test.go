package main_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// tokenSecret signs the tokens of these tests.
const tokenSecret = "a-secret-for-tests-of-32-bytes!!"

// issue makes a token of these claims, good for an hour unless they say otherwise; nil leaves one out.
func issue(t *testing.T, claims map[string]any) string {
	t.Helper()
	all := jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// everyPlace is an endpoint that looks for a token everywhere.
const everyPlace = `
log: {level: debug}
endpoints:
  - path: /
    origins: ["*"]
    subprotocols: [chat]
    event_attributes: [tenant]
    admission:
      mode: jwt
      jwt:
        algorithms: [HS256]
        secret: ` + tokenSecret + `
        leeway: 0s
        from: [authorization, subprotocol, "cookie:session", "query:ticket"]
        claims: {user: sub, attributes: {tenant: org.id, admin: admin}, groups: rooms}
`

// places is how a token travels in each of them.
func places(token string) map[string]struct {
	path   string
	header http.Header
} {
	return map[string]struct {
		path   string
		header http.Header
	}{
		"authorization": {"/", http.Header{"Authorization": {"bearer " + token}}},
		"subprotocol":   {"/", http.Header{"Sec-Websocket-Protocol": {"chat, bearer." + token}}},
		"cookie":        {"/", http.Header{"Cookie": {"theme=dark; session=" + token}}},
		"query":         {"/?page=2&ticket=" + token + "&last=1", nil},
	}
}

// TestTokensAdmit: a good token is found in every place, its claims are in the open event, and it is nowhere else.
func TestTokensAdmit(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, everyPlace))
	events := bustest.Record(t, b.NATS, "holdfast.>")
	token := issue(t, map[string]any{"org": map[string]any{"id": 7}, "admin": true, "rooms": []string{"room:b", "room:a"}})
	n := 0
	for place, at := range places(token) {
		_, answer := wstest.TryDial(t, b.URL(at.path), at.header)
		if answer.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("%s: %s", place, answer.Status)
			continue
		}
		n++
		if got := answer.Header.Get("Sec-WebSocket-Protocol"); place == "subprotocol" && got != "chat" {
			t.Errorf("the subprotocol is %q", got)
		}
		var open struct {
			User       string            `json:"user"`
			Attributes map[string]string `json:"attributes"`
			Groups     []string          `json:"groups"`
			ExpireTime string            `json:"expire_time"`
			URL        string            `json:"url"`
		}
		if err := json.Unmarshal(events.Wait(n)[n-1].Data, &open); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(open.User, open.Attributes, open.Groups, open.ExpireTime != "")
		if want := "annmap[admin:true tenant:7] [room:a room:b] true"; got != want {
			t.Errorf("%s: the open event has %s, want %s", place, got, want)
		}
		if place == "query" && open.URL != "/?page=2&last=1" {
			t.Errorf("the URL is %s", open.URL)
		}
	}
}

// TestTokensRefused: what a client is told, what is counted, and that no word of the token is in the log.
func TestTokensRefused(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, everyPlace))
	hour := func(n int) int64 { return time.Now().Add(time.Duration(n) * time.Hour).Unix() }
	unsigned := func() string {
		token, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "ann", "exp": hour(1)}).SignedString(jwt.UnsafeAllowNoneSignatureType)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := issue(t, nil)
	for name, c := range map[string]struct{ token, text, reason string }{
		"nothing":           {"", "a token is needed", "missing"},
		"a word":            {"word", "the token is not accepted", "malformed"},
		"unsigned":          {unsigned(), "the token is not accepted", "algorithm"},
		"tampered":          {good[:len(good)-8] + "AAAAAAAA", "the token is not accepted", "signature"},
		"expired":           {issue(t, map[string]any{"exp": hour(-1)}), "the token has expired", "expired"},
		"early":             {issue(t, map[string]any{"nbf": hour(1)}), "the token is not valid yet", "not_yet_valid"},
		"without an end":    {issue(t, map[string]any{"exp": nil}), "the token is not accepted", "claim"},
		"nobody's":          {issue(t, map[string]any{"sub": nil}), "the token is not accepted", "claim"},
		"for somebody else": {issue(t, map[string]any{"aud": "billing"}), "the token is not accepted", "audience"},
		"a group's name":    {issue(t, map[string]any{"rooms": "a>b"}), "the token is not accepted", "claim"},
		"a user's newline":  {issue(t, map[string]any{"sub": "a\nb"}), "the token is not accepted", "claim"},
		"9 KiB of claims":   {issue(t, map[string]any{"admin": strings.Repeat("a", 9<<10)}), "the token is not accepted", "claim"},
		"48 KiB":            {issue(t, map[string]any{"pad": strings.Repeat("a", 36<<10)}), "the token is not accepted", "malformed"},
	} {
		series := `holdfast_admission_refused_total{reason="` + c.reason + `"}`
		before := metric(t, b, series)
		header := http.Header{"Authorization": {"Bearer " + c.token}}
		challenge := `Bearer error="invalid_token"`
		if c.token == "" {
			header, challenge = nil, "Bearer"
		}
		_, answer := wstest.TryDial(t, b.URL("/"), header)
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized || string(body) != c.text+"\n" || answer.Header.Get("WWW-Authenticate") != challenge {
			t.Errorf("%s: %s, %q, %q", name, answer.Status, body, answer.Header.Get("WWW-Authenticate"))
		}
		if metric(t, b, series) == before {
			t.Errorf("%s: %s was not counted", name, c.reason)
		}
		if len(c.token) > 60 && strings.Contains(b.Stderr(), c.token[len(c.token)-40:]) {
			t.Errorf("%s: the token is in the log", name)
		}
	}
	b.AwaitLog("reason=expired")
	b.AwaitLog("level=DEBUG")
	_, answer := wstest.TryDial(t, b.URL("/"), http.Header{"Authorization": {"Bearer " + good, "Bearer " + good}})
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("two tokens: %s", answer.Status)
	}
}

// TestTokenEndsTheConnection: its exp closes the connection, unless a backend extends that.
func TestTokenEndsTheConnection(t *testing.T) {
	t.Parallel() // it waits most of the time
	b := brokertest.Start(t, brokertest.Config(t, everyPlace))
	events := bustest.Record(t, b.NATS, "holdfast.>")
	short := func() http.Header {
		soon := float64(time.Now().Add(5*time.Second).UnixMilli()) / 1000
		return http.Header{"Authorization": {"Bearer " + issue(t, map[string]any{"exp": soon})}}
	}
	extended := wstest.Dial(t, b.URL("/"), short())
	id := subjectID(events.Wait(1)[0].Subject)
	client := holdfastv1.NewConnectionServiceClient(b.GRPC())
	_, err := client.Update(t.Context(), &holdfastv1.UpdateRequest{ConnectionId: id, ExpireTime: timestamppb.New(time.Now().Add(time.Hour))})
	if err != nil {
		t.Fatal(err)
	}
	ended := wstest.Dial(t, b.URL("/"), short()) // which is later than the end of the first
	ended.ExpectClose(4401)
	ended.Send(wstest.Close(4401, ""))
	all := events.Wait(3)
	if closed := string(all[2].Data); !strings.Contains(closed, `"cause":"EXPIRED"`) || strings.Contains(closed, id) {
		t.Errorf("the close event is %s", closed)
	}
	extended.Send(wstest.Ping("still here"))
	extended.Expect(10, "still here")
}

// subjectID is the connection that an event is about.
func subjectID(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// TestTokensAreNeverShown: tokens in every place, good and bad, with the log at debug; then every output is searched.
func TestTokensAreNeverShown(t *testing.T) {
	config := brokertest.Config(t, everyPlace+`    keep_headers: [User-Agent, Origin]
control:
  auth:
    identities: [{name: all, token: a-token-of-the-control-api, allow: {verbs: [read, send, close], namespaces: ["*"]}}]
    jwt: {algorithms: [HS256], secret: `+tokenSecret+`}
`)
	b := brokertest.Start(t, config, "--drain-timeout=100ms")
	events := bustest.Record(t, b.NATS, "holdfast.>")
	good := issue(t, map[string]any{"rooms": "hall"})
	bad := issue(t, map[string]any{"exp": 1})
	var shown strings.Builder
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer a-token-of-the-control-api")
	client := holdfastv1.NewConnectionServiceClient(b.GRPC())
	watch, err := client.Watch(ctx, &holdfastv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, at := range places(good) {
		peer := wstest.Dial(t, b.URL(at.path), at.header)
		n++
		id := subjectID(events.Wait(n)[n-1].Subject)
		c, err := client.Get(ctx, &holdfastv1.GetRequest{ConnectionId: id})
		if err != nil {
			t.Fatal(err)
		}
		seen, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		shown.WriteString(c.String() + seen.String())
		peer.Send(wstest.Text("hello"))
		n++
		events.Wait(n)
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range places(bad) {
		_, answer := wstest.TryDial(t, b.URL(at.path), at.header)
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		shown.WriteString(string(body) + fmt.Sprint(answer.Header))
	}
	for _, token := range []string{good, bad, issue(t, nil)} { // as callers
		_, err := client.Count(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token), &holdfastv1.CountRequest{})
		fmt.Fprint(&shown, err)
	}
	_, metrics := get(t, b.Ops+"/metrics")
	shown.WriteString(metrics)
	shows, err := exec.Command(brokertest.Binary(t), "config", "show", config).Output()
	if err != nil {
		t.Fatal(err)
	}
	configured := string(shows)
	shown.WriteString(configured)
	b.Stop()
	shown.WriteString(b.Stderr())
	for _, m := range events.Wait(n) {
		shown.WriteString(m.Subject + fmt.Sprint(m.Header) + string(m.Data))
	}
	for what, secret := range map[string]string{
		"a good token's signature": lastPart(good), "a bad token's signature": lastPart(bad), "claims": strings.Split(good, ".")[1],
		"the secret": tokenSecret, "the control token": "a-token-of-the-control-api",
	} {
		if i := strings.Index(shown.String(), secret); i >= 0 {
			t.Errorf("%s is shown: …%s", what, shown.String()[max(0, i-200):i])
		}
	}
	if !strings.Contains(configured, `secret: "***"`) || !strings.Contains(b.Stderr(), "level=DEBUG") {
		t.Errorf("the test has not looked at what it should:\n%s", configured)
	}
}

func lastPart(token string) string { return token[strings.LastIndexByte(token, '.')+1:] }

// TestCallersByToken: the claims of a token say what its bearer may do, and a stream ends with it.
func TestCallersByToken(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, `
control:
  auth:
    jwt: {algorithms: [HS256], secret: `+tokenSecret+`, issuer: https://id.example, audience: [holdfast], leeway: 0s}
`))
	caller := func(claims map[string]any) context.Context {
		all := map[string]any{"iss": "https://id.example", "aud": "holdfast"}
		maps.Copy(all, claims)
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+issue(t, all))
	}
	client := holdfastv1.NewConnectionServiceClient(b.GRPC())
	reader := map[string]any{"verbs": []string{"read"}, "namespaces": []string{"*"}}
	for name, c := range map[string]struct {
		claims map[string]any
		want   string // of the error; empty: none
	}{
		"a reader":         {map[string]any{"holdfast": reader}, ""},
		"a flat claim":     {map[string]any{"holdfast.verbs": "openid read", "holdfast.namespaces": "default"}, ""},
		"no permission":    {nil, "it lacks the verb read"},
		"another verb":     {map[string]any{"holdfast": map[string]any{"verbs": []string{"send"}, "namespaces": []string{"*"}}}, "it lacks the verb read"},
		"another audience": {map[string]any{"holdfast": reader, "aud": "billing"}, "the bearer token is not known"},
		"expired":          {map[string]any{"holdfast": reader, "exp": 1}, "the bearer token has expired"},
		"nobody":           {map[string]any{"holdfast": reader, "sub": nil}, "the bearer token is not known"},
		"a number":         {map[string]any{"holdfast": map[string]any{"verbs": 7}}, "the bearer token is not known"},
	} {
		_, err := client.Count(caller(c.claims), &holdfastv1.CountRequest{})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if n := metric(t, b, `holdfast_control_tokens_refused_total{reason="claim"}`); n != "2" {
		t.Errorf("%s tokens were counted for their claims", n)
	}
	soon := float64(time.Now().Add(2*time.Second).UnixMilli()) / 1000
	watch, err := client.Watch(caller(map[string]any{"holdfast": reader, "exp": soon}), &holdfastv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = watch.Recv()
	}
	if !strings.Contains(err.Error(), "the bearer token has expired") {
		t.Errorf("the watch ends with %v", err)
	}
}

// TestKeyFilesAreFollowed: a secret that is replaced ends the old one's tokens, without a restart.
func TestKeyFilesAreFollowed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(file, []byte(strings.Repeat("another-secret-", 3)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := brokertest.Start(t, brokertest.Config(t, `
endpoints: [{path: /, admission: {mode: jwt, jwt: {algorithms: [HS256], secret_file: `+file+`}}}]
`))
	status := func() int {
		_, answer := wstest.TryDial(t, b.URL("/"), http.Header{"Authorization": {"Bearer " + issue(t, nil)}})
		return answer.StatusCode
	}
	if got := status(); got != http.StatusUnauthorized {
		t.Fatalf("with another secret: %d", got)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("another-secret-", 3)+"\n"+tokenSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(brokertest.Patience)
	for status() != http.StatusSwitchingProtocols { // files are looked at once a second
		if time.Now().After(deadline) {
			t.Fatal("the new secret never came into force")
		}
	}
}

// TestBrowserWithAToken: a page gives its token in the list of subprotocols, the only place that it can write. It has
// to offer another one, which the server chooses: browsers end a connection for which none of theirs was chosen.
func TestBrowserWithAToken(t *testing.T) {
	browser := openBrowser(t)
	need(t, "HOLDFAST_REQUIRE_BROWSER", browser != nil, "no browser")
	b := brokertest.Start(t, brokertest.Config(t, everyPlace))
	page := foreignPage(t)
	good, bad := issue(t, nil), issue(t, map[string]any{"exp": 1})
	for _, c := range []struct{ name, code, want string }{
		{"a token", dials(b.URL("/"), "chat", "bearer."+good), "open chat"},
		{"the token first", dials(b.URL("/"), "bearer."+good, "chat"), "open chat"},
		{"an expired one", dials(b.URL("/"), "chat", "bearer."+bad), "closed 1006"},
		{"none", dials(b.URL("/"), "chat"), "closed 1006"},
		{"nothing but the token", dials(b.URL("/"), "bearer."+good), "closed 1006"},
		{"in the URL", dials(b.URL("/?ticket=" + good)), "open "},
	} {
		if got := browser.at(t, page, c.code); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// keysAt serves a JWK Set, or fails while it has none.
type keysAt struct {
	*httptest.Server
	mu   sync.Mutex
	keys []map[string]string
}

func newKeysAt(t *testing.T) *keysAt {
	t.Helper()
	k := &keysAt{}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.keys == nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": k.keys})
	}))
	t.Cleanup(k.Close)
	return k
}

// add makes a key, and answers a maker of tokens that are signed with it.
func (k *keysAt) add(t *testing.T, id string) (issue func() string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	k.keys = append(k.keys, map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": id, "x": base64.RawURLEncoding.EncodeToString(public)})
	k.mu.Unlock()
	return func() string {
		token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()})
		token.Header["kid"] = id
		text, err := token.SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

// replace sets all keys, and answers what they were; nil: the server fails.
func (k *keysAt) replace(keys []map[string]string) (before []map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, k.keys = k.keys, keys
	return before
}

// TestCallersBeforeTheKeys: while the keys were never fetched a call is told that, and not that its token is bad.
func TestCallersBeforeTheKeys(t *testing.T) {
	keys := newKeysAt(t)
	token := keys.add(t, "first")()
	there := keys.replace(nil)
	b := brokertest.Start(t, brokertest.Config(t, `
control: {auth: {jwt: {algorithms: [EdDSA], jwks_url: "`+keys.URL+`/keys"}}}
`))
	client := holdfastv1.NewConnectionServiceClient(b.GRPC())
	call := func() error {
		_, err := client.Count(bearer(t, token), &holdfastv1.CountRequest{})
		return err
	}
	err := call()
	if code, reason := status.Code(err), reasonIn(status.Convert(err)); code != codes.Unavailable || reason != "KEYS_UNAVAILABLE" {
		t.Errorf("without keys: %v, %s", err, reason)
	}
	keys.replace(there)
	awaitBroker(t, b, "a judgement", func() bool { return status.Code(call()) == codes.PermissionDenied }) // of a good token that allows nothing
}

// TestKeysAtAURL: the broker starts without them and says 503, lets in who has a token once they are there, fetches a new key
// when a token names it, and goes on with what it has when the URL is away.
func TestKeysAtAURL(t *testing.T) {
	keys := newKeysAt(t)
	token := keys.add(t, "first")()
	there := keys.replace(nil)
	b := brokertest.Start(t, brokertest.Config(t, `
endpoints: [{path: /, admission: {mode: jwt, jwt: {algorithms: [EdDSA], jwks_url: "`+keys.URL+`/keys?secret=hush"}}}]
`))
	dial := func(token string) *http.Response {
		_, answer := wstest.TryDial(t, b.URL("/"), http.Header{"Authorization": {"Bearer " + token}})
		_ = answer.Body.Close()
		return answer
	}
	awaitBroker(t, b, "failure", func() bool { return metric(t, b, `holdfast_token_keys_failing{url="`+keys.URL+`/keys"}`) == "1" })
	if answer := dial(token); answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("without keys: %s", answer.Status)
	}
	if n := metric(t, b, `holdfast_admission_refused_total{reason="keys_unavailable"}`); n != "1" {
		t.Errorf("keys_unavailable is counted %s times", n)
	}
	keys.replace(there)
	awaitBroker(t, b, "admission with the keys", func() bool { return dial(token).StatusCode == http.StatusSwitchingProtocols })
	next := keys.add(t, "next")() // asked for at once, or as soon as that is allowed again
	awaitBroker(t, b, "admission with a new key", func() bool { return dial(next).StatusCode == http.StatusSwitchingProtocols })
	keys.Close()
	if answer := dial(token); answer.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("while the URL is away: %s", answer.Status)
	}
	b.AwaitLog("nobody is let in")
	if strings.Contains(b.Stderr(), "hush") || strings.Count(b.Stderr(), "nobody is let in") != 1 {
		t.Errorf("the log:\n%s", b.Stderr())
	}
}

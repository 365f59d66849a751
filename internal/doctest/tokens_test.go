package doctest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	tokens "github.com/holdfast-broker/holdfast/internal/jwt"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// admission is the page about who may connect.
const admission = "docs/admission.md"

// launch starts a broker in a directory, with the holdfast.yaml there.
func launch(t *testing.T, dir string) *brokertest.Broker {
	t.Helper()
	brokertest.Binary(t) // is built here
	t.Chdir(dir)         // the file names files
	b := brokertest.Launch(t, append(brokertest.Args(t), "--config=holdfast.yaml")...)
	if !b.Ready.Ready {
		t.Fatal(b.Stderr())
	}
	return b
}

// signed is a token that is good for an hour.
func signed(t *testing.T, method jwt.SigningMethod, key any, claims map[string]any) string {
	t.Helper()
	all := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "iss": "https://id.example.org"}
	maps.Copy(all, claims)
	token, err := jwt.NewWithClaims(method, all).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// admissionByToken starts the broker of the file, and types the lines of the page with a token of its secret.
func admissionByToken(t *testing.T, s snippet) {
	const secret = "0123456789abcdef0123456789abcdef"
	page := read(t, admission).one(t, admission+"#By token/2").text
	p := console(t)
	dir := t.TempDir()
	write(t, dir, "token.secret", secret+"\n")
	write(t, dir, "holdfast.yaml", s.text)
	b := launch(t, dir)
	token := signed(t, jwt.SigningMethodHS256, []byte(secret), map[string]any{
		"sub": "ann", "aud": "chat", "org": map[string]any{"id": "acme"}, "rooms": []string{"hall"},
	})
	p.typed(`token = "` + token + `"`)
	for line := range strings.SplitSeq(strings.TrimSpace(here(b, page)), "\n") {
		p.typed(line)
	}
	p.await("connected, speaking chat")
	list, err := control(b).List(t.Context(), &holdfastv1.ListRequest{Filter: &holdfastv1.Filter{User: "ann", Group: "hall", Attributes: map[string]string{"tenant": "acme"}}})
	if err != nil || len(list.Connections) != 1 {
		t.Errorf("listed %v, %v", list, err)
	}
}

// callersWithTokens starts the broker of the file, and calls it with the claims of the document.
func callersWithTokens(t *testing.T, s snippet) {
	var claims map[string]any
	if err := json.Unmarshal([]byte(read(t, "docs/security.md").one(t, "docs/security.md#Callers with tokens/2").text), &claims); err != nil {
		t.Fatal(err)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "issuer.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	write(t, dir, "holdfast.yaml", s.text)
	b := launch(t, dir)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+signed(t, jwt.SigningMethodES256, private, claims))
	if _, err := control(b).Count(ctx, &holdfastv1.CountRequest{Filter: &holdfastv1.Filter{Namespace: "chat"}}); err != nil {
		t.Error(err)
	}
	if _, err := control(b).Count(ctx, &holdfastv1.CountRequest{Filter: &holdfastv1.Filter{Namespace: "other"}}); err == nil || !strings.Contains(err.Error(), "chat-worker-7") {
		t.Errorf("another namespace: %v", err)
	}
}

// TestReasonsOfTokensAreInTheTable compares the page with the reasons that there are.
func TestReasonsOfTokensAreInTheTable(t *testing.T) {
	var documented, known []string
	for _, r := range read(t, admission).table(t, "Why a token is refused") {
		documented = append(documented, bare(r["reason"]))
	}
	for _, r := range tokens.Reasons {
		known = append(known, string(r))
	}
	slices.Sort(documented)
	slices.Sort(known)
	if diff := gocmp.Diff(known, documented); diff != "" {
		t.Errorf("reasons (-known +documented):\n%s", diff)
	}
}

// TestSecretsThatTheDocumentMakesAreTaken runs the maker that the page names.
func TestSecretsThatTheDocumentMakesAreTaken(t *testing.T) {
	out := bash(t, "", "openssl rand -hex 32").end()
	if key := tokens.NewSecret(strings.TrimSpace(out)); !key.Fits("HS256") {
		t.Errorf("%q is no secret for HS256", out)
	}
}

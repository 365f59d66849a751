package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lib "github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/holdfast-broker/holdfast/internal/jwt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// signer is who issues tokens.
type signer struct {
	private any
	public  crypto.PublicKey // nil: private is a secret
}

// The secret is long enough for every algorithm.
var aSecret = strings.Repeat("0123456789abcdef", 4)

// signers has one for each kind of key; the name says what it fits.
var signers = sync.OnceValue(func() map[string]signer {
	all := map[string]signer{"HS": {private: []byte(aSecret)}}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	all["RS"] = signer{key, &key.PublicKey}
	for name, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		key, wrong := ecdsa.GenerateKey(curve, rand.Reader)
		all[name], err = signer{key, &key.PublicKey}, errors.Join(err, wrong)
	}
	public, private, wrong := ed25519.GenerateKey(rand.Reader)
	all["EdDSA"] = signer{private, public}
	if err := errors.Join(err, wrong); err != nil {
		panic(err)
	}
	return all
})

// signerFor answers the one that an algorithm takes.
func signerFor(algorithm string) (name string) {
	switch algorithm[:2] {
	case "HS":
		return "HS"
	case "RS", "PS":
		return "RS"
	}
	return algorithm
}

// key is what verifies tokens of a signer.
func (s signer) key(t *testing.T) jwt.Key {
	t.Helper()
	if s.public == nil {
		return jwt.NewSecret(string(s.private.([]byte)))
	}
	keys, err := jwt.ParseKeys([]byte(pemOf(t, s.public)))
	if err != nil {
		t.Fatal(err)
	}
	return keys[0]
}

func pemOf(t *testing.T, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// claims of a good token, with changes; nil leaves one out.
func claims(changes map[string]any) lib.MapClaims {
	c := lib.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign makes a token; header adds to its header.
func (s signer) sign(t *testing.T, algorithm string, c lib.Claims, header map[string]any) string {
	t.Helper()
	token := lib.NewWithClaims(lib.GetSigningMethod(algorithm), c)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(s.private)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// verifier accepts tokens with those keys; change may be nil.
func verifier(change func(*jwt.Config), keys ...jwt.Key) *jwt.Verifier {
	set := jwt.NewSet(keys...)
	c := jwt.Config{Algorithms: jwt.Algorithms, Keys: func() *jwt.Set { return set }, Required: []string{"exp"}}
	if change != nil {
		change(&c)
	}
	return jwt.NewVerifier(c)
}

// reasonOf is why a token is refused; empty: it is not.
func reasonOf(t *testing.T, err error) jwt.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	r, ok := errors.AsType[*jwt.Refusal](err)
	if !ok || !slices.Contains(jwt.Reasons, r.Reason) || r.Text == "" {
		t.Fatalf("not a refusal that can be counted: %#v", err)
	}
	return r.Reason
}

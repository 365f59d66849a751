package jwt_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/jwt"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is a public key as RFC 7518 6 writes it, with changes; nil leaves one out.
func (s signer) jwk(id string, changes map[string]any) map[string]any {
	k := map[string]any{"kid": id, "use": "sig"}
	switch public := s.public.(type) {
	case *rsa.PublicKey:
		k["kty"], k["n"], k["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		size := (public.Params().BitSize + 7) / 8
		raw, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		k["kty"], k["crv"], k["x"], k["y"] = "EC", public.Params().Name, b64(raw[1:1+size]), b64(raw[1+size:])
	case ed25519.PublicKey:
		k["kty"], k["crv"], k["x"] = "OKP", "Ed25519", b64(public)
	}
	for name, v := range changes {
		if k[name] = v; v == nil {
			delete(k, name)
		}
	}
	return k
}

func jwks(keys ...map[string]any) string {
	if keys == nil {
		keys = []map[string]any{}
	}
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestKeysOfEveryForm verifies a token of each kind of key with what was read from PEM and from a JWK Set.
func TestKeysOfEveryForm(t *testing.T) {
	for _, algorithm := range jwt.Algorithms[3:] {
		s := signers()[signerFor(algorithm)]
		for form, text := range map[string]string{
			"PEM": "a comment, as openssl writes them\n" + pemOf(t, s.public), "JWK Set": jwks(s.jwk("a", nil)),
			"JWK with its algorithm": jwks(s.jwk("a", map[string]any{"alg": algorithm, "use": nil, "key_ops": []string{"verify"}})),
		} {
			keys, err := jwt.ParseKeys([]byte(text))
			if err != nil || len(keys) != 1 {
				t.Errorf("%s in %s: %d keys, %v", algorithm, form, len(keys), err)
				continue
			}
			if _, err := verifier(nil, keys...).Verify(t.Context(), s.sign(t, algorithm, claims(nil), nil)); err != nil {
				t.Errorf("%s in %s: %v", algorithm, form, err)
			}
		}
	}
}

// TestKeyIDsChoose: a key with an ID serves its own tokens, and those that name none.
func TestKeyIDsChoose(t *testing.T) {
	s := signers()["EdDSA"]
	keys, err := jwt.ParseKeys([]byte(jwks(signers()["ES256"].jwk("a", nil), s.jwk("b", nil))))
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(nil, keys...)
	for id, want := range map[string]jwt.Reason{"b": "", "a": jwt.UnknownKey, "B": jwt.UnknownKey, "": ""} {
		header := map[string]any{"kid": id}
		if id == "" {
			header = nil
		}
		_, err := v.Verify(t.Context(), s.sign(t, "EdDSA", claims(nil), header))
		if reason := reasonOf(t, err); reason != want {
			t.Errorf("kid %q: %v, want %q", id, err, want)
		}
	}
}

// TestKeyBoundToAnAlgorithm serves no other one of its kind.
func TestKeyBoundToAnAlgorithm(t *testing.T) {
	s := signers()["RS"]
	keys, err := jwt.ParseKeys([]byte(jwks(s.jwk("", map[string]any{"alg": "PS256"}))))
	if err != nil {
		t.Fatal(err)
	}
	for algorithm, want := range map[string]jwt.Reason{"PS256": "", "RS256": jwt.UnknownKey, "PS512": jwt.UnknownKey} {
		_, err := verifier(nil, keys...).Verify(t.Context(), s.sign(t, algorithm, claims(nil), nil))
		if reason := reasonOf(t, err); reason != want {
			t.Errorf("%s: %v, want %q", algorithm, err, want)
		}
	}
}

// TestUnusableKeysAreLeftOut of a set that has others.
func TestUnusableKeysAreLeftOut(t *testing.T) {
	s, many := signers()["ES256"], []map[string]any{{"kty": "oct", "k": b64([]byte(aSecret))}, {"kty": "XYZ"}}
	many = append(many, s.jwk("enc", map[string]any{"use": "enc"}), s.jwk("good", nil))
	keys, err := jwt.ParseKeys([]byte(jwks(many...)))
	if err != nil || len(keys) != 1 || jwt.NewSet(keys...).Serves("HS256") {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

// TestKeysThatAreRefused: each with a word that says why.
func TestKeysThatAreRefused(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signers()["RS"].private)
	if err != nil {
		t.Fatal(err)
	}
	es, rs, ed := signers()["ES256"], signers()["RS"], signers()["EdDSA"]
	weak := signer{public: &small.PublicKey}
	for name, test := range map[string]struct{ text, want string }{
		"nothing":              {"", "no key is in it"},
		"not PEM":              {"hello", "no key is in it"},
		"a private key":        {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), "key 1: is private"},
		"a weak RSA key":       {pemOf(t, &small.PublicKey), "1024 bits: want 2048 to 8192"},
		"another curve":        {pemOf(t, &p224.PublicKey), "want P-256, P-384 or P-521"},
		"another block":        {"-----BEGIN DH PARAMETERS-----\n-----END DH PARAMETERS-----\n", "want PUBLIC KEY"},
		"a broken block":       {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "key 1: "},
		"the second is broken": {pemOf(t, es.public) + "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "key 2: "},
		"65 blocks":            {strings.Repeat(pemOf(t, es.public), 65), "65 keys"},
		"not JSON":             {"{", "no JSON"},
		"no keys":              {"{}", "no usable key"},
		"an empty set":         {jwks(), "no usable key"},
		"65 keys":              {jwks(make([]map[string]any, 65)...), "65 keys"},
		"a secret":             {jwks(map[string]any{"kty": "oct", "k": b64([]byte(aSecret))}), `"oct"`},
		"a private JWK":        {jwks(es.jwk("a", map[string]any{"d": "AAAA"})), "is private"},
		"for encryption":       {jwks(es.jwk("a", map[string]any{"use": "enc"})), "not for signatures"},
		"to sign":              {jwks(es.jwk("a", map[string]any{"key_ops": []string{"sign"}})), "not for signatures"},
		"of another algorithm": {jwks(es.jwk("a", map[string]any{"alg": "ES384"})), "its own algorithm"},
		"for HMAC":             {jwks(rs.jwk("a", map[string]any{"alg": "HS256"})), "its own algorithm"},
		"a point elsewhere":    {jwks(es.jwk("a", map[string]any{"y": b64(make([]byte, 32))})), "no point"},
		"a short coordinate":   {jwks(es.jwk("a", map[string]any{"y": b64(make([]byte, 31))})), "no point"},
		"a curve of its own":   {jwks(es.jwk("a", map[string]any{"crv": "secp256k1"})), "secp256k1"},
		"no modulus":           {jwks(rs.jwk("a", map[string]any{"n": nil})), "parameter n"},
		"a weak modulus":       {jwks(weak.jwk("a", nil)), "1024 bits"},
		"a huge exponent":      {jwks(rs.jwk("a", map[string]any{"e": b64(make([]byte, 9))})), "32 bits"},
		"exponent 1":           {jwks(rs.jwk("a", map[string]any{"e": "AQ"})), "exponent 1"},
		"X25519":               {jwks(ed.jwk("a", map[string]any{"crv": "X25519"})), "no Ed25519"},
		"a short Ed25519 key":  {jwks(ed.jwk("a", map[string]any{"x": "AAAA"})), "no Ed25519"},
		"an ID of 300 bytes":   {jwks(ed.jwk(strings.Repeat("a", 300), nil)), "ID"},
	} {
		if keys, err := jwt.ParseKeys([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %d keys, %v; want %q", name, len(keys), err, test.want)
		}
	}
}

package jwt_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	lib "github.com/golang-jwt/jwt/v5"

	"github.com/holdfast-broker/holdfast/internal/jwt"
)

// TestAlgorithms signs with every algorithm, and verifies with every kind of key: only its own serves it.
func TestAlgorithms(t *testing.T) {
	for _, algorithm := range jwt.Algorithms {
		own := signerFor(algorithm)
		token := signers()[own].sign(t, algorithm, claims(nil), nil)
		for name, s := range signers() {
			_, err := verifier(nil, s.key(t)).Verify(t.Context(), token)
			if reason := reasonOf(t, err); name == own && err != nil || name != own && reason != jwt.UnknownKey {
				t.Errorf("%s with the key %s: %v", algorithm, name, err)
			}
		}
		others := slices.DeleteFunc(slices.Clone(jwt.Algorithms), func(a string) bool { return a == algorithm })
		_, err := verifier(func(c *jwt.Config) { c.Algorithms = others }, signers()[own].key(t)).Verify(t.Context(), token)
		if reason := reasonOf(t, err); reason != jwt.Algorithm {
			t.Errorf("%s, which is not listed: %v", algorithm, err)
		}
	}
}

// TestForgedTokens: what attackers try. The verifier has a public RSA key, and a secret where that is said.
func TestForgedTokens(t *testing.T) {
	good := signers()["RS"]
	rsaKey := good.public.(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	honest := good.sign(t, "RS256", claims(nil), nil)
	parts := strings.Split(honest, ".")
	none := func(alg any) string { return encode(map[string]any{"alg": alg, "typ": "JWT"}) + "." + parts[1] + "." }
	asSecret := func(key []byte) string {
		return signer{private: key}.sign(t, "HS256", claims(nil), nil)
	}
	stranger := signers()["ES256"]
	for name, test := range map[string]struct {
		token string
		want  jwt.Reason
	}{
		"nothing":                            {"", jwt.Malformed},
		"a word":                             {"token", jwt.Malformed},
		"none":                               {none("none"), jwt.Algorithm},
		"None":                               {none("None"), jwt.Algorithm},
		"NONE":                               {none("NONE"), jwt.Algorithm},
		"none with a signature":              {none("none") + parts[2], jwt.Algorithm},
		"no algorithm":                       {none(nil), jwt.Algorithm},
		"an algorithm that is no text":       {none([]string{"RS256"}), jwt.Algorithm},
		"an algorithm in lower case":         {none("rs256") + parts[2], jwt.Algorithm},
		"unsigned":                           {parts[0] + "." + parts[1] + ".", jwt.Signature},
		"without its signature's part":       {parts[0] + "." + parts[1], jwt.Malformed},
		"other claims":                       {parts[0] + "." + encode(claims(map[string]any{"sub": "root"})) + "." + parts[2], jwt.Signature},
		"another header":                     {encode(map[string]any{"alg": "RS256", "typ": "jwt"}) + "." + parts[1] + "." + parts[2], jwt.Signature},
		"another algorithm":                  {encode(map[string]any{"alg": "PS256"}) + "." + parts[1] + "." + parts[2], jwt.Signature},
		"the public key's PEM as secret":     {asSecret([]byte(pemOf(t, rsaKey))), jwt.Signature},
		"the public key's DER as secret":     {asSecret(der), jwt.Signature},
		"the public key's modulus as secret": {asSecret(rsaKey.N.Bytes()), jwt.Signature},
		"an empty secret":                    {asSecret(nil), jwt.Signature},
		"a stranger's key":                   {stranger.sign(t, "ES256", claims(nil), nil), jwt.UnknownKey},
		"a stranger's key in the header": {stranger.sign(t, "ES256", claims(nil), map[string]any{
			"jwk": map[string]any{"kty": "EC", "crv": "P-256"}, "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert", "x5c": []string{"AAAA"},
		}), jwt.UnknownKey},
		"a key ID that is a path":       {good.sign(t, "RS256", claims(nil), map[string]any{"kid": strings.Repeat("../", 200) + "dev/null"}), jwt.Malformed},
		"a key ID that is no text":      {good.sign(t, "RS256", claims(nil), map[string]any{"kid": 1}), jwt.Malformed},
		"an extension, RFC 7515 4.1.11": {good.sign(t, "RS256", claims(nil), map[string]any{"crit": []string{"b64"}, "b64": false}), jwt.Malformed},
		"64 KiB":                        {good.sign(t, "RS256", claims(map[string]any{"pad": strings.Repeat("a", 48<<10)}), nil), jwt.Malformed},
		"encrypted, RFC 7516":           {parts[0] + ".a.b.c.d", jwt.Malformed},
		"JSON instead":                  {`{"payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, jwt.Malformed},
		"a token within a token":        {nested(t, good, honest), jwt.Malformed},
		"claims that are a list":        {good.signRaw(t, "[]"), jwt.Malformed},
		"claims that are null":          {good.signRaw(t, "null"), jwt.Claim},
		"padding":                       {parts[0] + "." + parts[1] + "." + parts[2] + "==", jwt.Malformed},
		"blanks around it":              {" " + honest, jwt.Malformed},
		"standard base64":               {parts[0] + "." + parts[1] + "." + "+/" + parts[2][2:], jwt.Malformed},
		"10,000 lists in each other":    {parts[0] + "." + encodeRaw(strings.Repeat("[", 10000)) + "." + parts[2], jwt.Malformed},
	} {
		_, err := verifier(nil, good.key(t), jwt.NewSecret(aSecret)).Verify(t.Context(), test.token)
		if reason := reasonOf(t, err); reason != test.want {
			t.Errorf("%s: %v (%s), want %s", name, err, reason, test.want)
		}
		if err != nil && len(test.token) > 40 && strings.Contains(err.Error(), test.token[:40]) {
			t.Errorf("%s: the error repeats the token: %v", name, err)
		}
	}
	if _, err := verifier(nil, good.key(t)).Verify(t.Context(), honest); err != nil {
		t.Errorf("the honest one: %v", err)
	}
}

func encodeRaw(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// signRaw signs a payload that need not be claims.
func (s signer) signRaw(t *testing.T, payload string) string {
	t.Helper()
	text := encode(map[string]any{"alg": "RS256"}) + "." + encodeRaw(payload)
	sig, err := lib.SigningMethodRS256.Sign(text, s.private)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// nested is RFC 7519 5.2: the payload is a token.
func nested(t *testing.T, s signer, inner string) string {
	t.Helper()
	return s.signRaw(t, inner)
}

// TestShortSecretIsNoKey: RFC 7518 3.2.
func TestShortSecretIsNoKey(t *testing.T) {
	for algorithm, size := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		if jwt.SecretSize(algorithm) != size {
			t.Errorf("%s wants %d bytes", algorithm, jwt.SecretSize(algorithm))
		}
		if jwt.NewSecret(strings.Repeat("a", size-1)).Fits(algorithm) || !jwt.NewSecret(strings.Repeat("a", size)).Fits(algorithm) {
			t.Errorf("%s: the edge is not at %d bytes", algorithm, size)
		}
	}
	if jwt.NewSecret(aSecret).Fits("none") || jwt.SecretSize("none") != 0 {
		t.Error("a secret is for none")
	}
}

func TestClaimsAreChecked(t *testing.T) {
	s := signers()["HS"]
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	strict := func(c *jwt.Config) {
		c.Issuer, c.Audience, c.Required = "https://id.example", []string{"chat", "talk"}, []string{"exp", "org.id"}
	}
	ours := map[string]any{"iss": "https://id.example", "aud": "chat", "org": map[string]any{"id": 7}}
	with := func(changes map[string]any) map[string]any {
		all := maps.Clone(ours)
		maps.Copy(all, changes)
		return all
	}
	lenient := func(c *jwt.Config) { c.Leeway = time.Minute }
	for name, test := range map[string]struct {
		claims map[string]any
		config func(*jwt.Config)
		want   jwt.Reason
	}{
		"good":                         {nil, nil, ""},
		"no exp":                       {map[string]any{"exp": nil}, nil, jwt.Claim},
		"no exp, and none is wanted":   {map[string]any{"exp": nil}, func(c *jwt.Config) { c.Required = nil }, ""},
		"expired":                      {map[string]any{"exp": in(-30 * time.Second)}, nil, jwt.Expired},
		"expired within the leeway":    {map[string]any{"exp": in(-30 * time.Second)}, lenient, ""},
		"expired beyond the leeway":    {map[string]any{"exp": in(-90 * time.Second)}, lenient, jwt.Expired},
		"exp of 1970":                  {map[string]any{"exp": 0}, nil, jwt.Expired},
		"exp that is text":             {map[string]any{"exp": "9999999999"}, nil, jwt.Claim},
		"exp beyond all calendars":     {map[string]any{"exp": 253402300800}, nil, jwt.Claim},
		"nbf in the future":            {map[string]any{"nbf": in(30 * time.Second)}, nil, jwt.NotYetValid},
		"nbf within the leeway":        {map[string]any{"nbf": in(30 * time.Second)}, lenient, ""},
		"nbf that is a list":           {map[string]any{"nbf": []int{1}}, nil, jwt.Claim},
		"iat in the future":            {map[string]any{"iat": in(30 * time.Second)}, nil, jwt.NotYetValid},
		"iat within the leeway":        {map[string]any{"iat": in(30 * time.Second)}, lenient, ""},
		"an audience, and none is set": {map[string]any{"aud": "billing"}, nil, jwt.Audience},
		"ours":                         {ours, strict, ""},
		"one audience of several":      {with(map[string]any{"aud": []string{"billing", "talk"}}), strict, ""},
		"another audience":             {with(map[string]any{"aud": []string{"billing", "chat2"}}), strict, jwt.Audience},
		"no audience":                  {with(map[string]any{"aud": nil}), strict, jwt.Claim},
		"an audience that is numbers":  {with(map[string]any{"aud": []int{1}}), strict, jwt.Claim},
		"another issuer":               {with(map[string]any{"iss": "https://id.example.evil"}), strict, jwt.Issuer},
		"no issuer":                    {with(map[string]any{"iss": nil}), strict, jwt.Claim},
		"an issuer that is a number":   {with(map[string]any{"iss": 1}), strict, jwt.Claim},
		"a claim that is missing":      {with(map[string]any{"org": map[string]any{}}), strict, jwt.Claim},
		"a claim that is null":         {with(map[string]any{"org": map[string]any{"id": nil}}), strict, jwt.Claim},
	} {
		token := s.sign(t, "HS256", claims(test.claims), nil)
		_, err := verifier(test.config, s.key(t)).Verify(t.Context(), token)
		if reason := reasonOf(t, err); reason != test.want {
			t.Errorf("%s: %v (%s), want %q", name, err, reason, test.want)
		}
	}
	huge := `{"sub":"ann","exp":1e300}`
	text := encode(map[string]any{"alg": "HS256"}) + "." + encodeRaw(huge)
	sig, _ := lib.SigningMethodHS256.Sign(text, []byte(aSecret))
	if _, err := verifier(nil, s.key(t)).Verify(t.Context(), text+"."+base64.RawURLEncoding.EncodeToString(sig)); err == nil {
		t.Error("an exp of 1e300 is accepted")
	}
}

// TestExpiresIncludesTheLeeway: otherwise a token that is accepted could end its connection at once.
func TestExpiresIncludesTheLeeway(t *testing.T) {
	s := signers()["HS"]
	exp := time.Now().Add(-10 * time.Second).Truncate(time.Second)
	token := s.sign(t, "HS256", claims(map[string]any{"exp": exp.Unix()}), nil)
	c, err := verifier(func(c *jwt.Config) { c.Leeway = time.Minute }, s.key(t)).Verify(t.Context(), token)
	if err != nil || !c.Expires.Equal(exp.Add(time.Minute)) {
		t.Errorf("expires %v, %v; want %v", c.Expires, err, exp.Add(time.Minute))
	}
}

// TestTextAndList read claims as a mapping asks for them.
func TestTextAndList(t *testing.T) {
	s := signers()["HS"]
	token := s.sign(t, "HS256", claims(map[string]any{
		"n": 12345678901234567, "b": true, "o": map[string]any{"a": []int{1}, "x.y": "<&>"}, "nil": nil,
		"https://id.example/roles": []string{"one", "two"}, "scope": "read  write", "mixed": []any{"a", 1},
	}), nil)
	c, err := verifier(nil, s.key(t)).Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"sub": "ann", "n": "12345678901234567", "b": "true", "o": `{"a":[1],"x.y":"<&>"}`, "o.a": "[1]", "o.x.y": "<&>",
		"nil": "-", "nothing": "-", "o.nothing": "-", "sub.x": "-", "": "-", "o.": "-",
	} {
		text, ok := c.Text(name)
		if !ok {
			text = "-"
		}
		if text != want {
			t.Errorf("%s is %q, want %q", name, text, want)
		}
	}
	for name, want := range map[string]string{"https://id.example/roles": "one two", "scope": "read write", "nothing": "", "mixed": "!", "n": "!", "o": "!"} {
		words, err := c.List(name)
		got := strings.Join(words, " ")
		if err != nil {
			if reasonOf(t, err) != jwt.Claim {
				t.Errorf("%s: %v", name, err)
			}
			got = "!"
		}
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

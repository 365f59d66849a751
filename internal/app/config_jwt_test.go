package app

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// secret32 is long enough for HS256, and no output may have it.
const secret32 = "geheim-geheim-geheim-geheim-gehe"

// guarded is a file with one endpoint, whose settings of tokens stand in its second line.
func guarded(settings string) string {
	return "endpoints: [{admission: {mode: jwt, jwt: {\n" + settings + "}}}]\n"
}

func TestTokenRefusals(t *testing.T) {
	const at = "h.yaml:2: endpoints[0].admission.jwt"
	const hs, rs = "algorithms: [HS256], secret: " + secret32, "algorithms: [RS256], "
	cert, _ := writeCertificate(t) // has an ECDSA key
	for name, c := range map[string]struct{ file, want string }{
		"mode":               {"endpoints: [{admission: {mode: maybe}}]\n", `h.yaml:1: endpoints[0].admission.mode: "maybe" is unknown: want none, jwt or backend`},
		"no settings":        {"endpoints: [{admission: {mode: jwt}}]\n", `h.yaml:1: endpoints[0].admission.jwt: missing: want at least algorithms and a key`},
		"another mode":       {"endpoints: [{admission: {jwt: {algorithms: [HS256]}}}]\n", `h.yaml:1: endpoints[0].admission.jwt: it is for mode jwt, and the mode is none`},
		"no algorithm":       {guarded("leeway: 1s"), `endpoints[0].admission.jwt.algorithms: empty: want at least one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA`},
		"none":               {guarded("algorithms: [none]"), at + `.algorithms[0]: "none" is unknown: want HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA`},
		"no secret":          {guarded("algorithms: [HS256]"), `HS256 wants a secret: want secret or secret_file as well`},
		"two secrets":        {guarded(hs + ", secret_file: h.yaml"), `both secret and secret_file: want one`},
		"a short secret":     {guarded("algorithms: [HS256, HS512], secret: " + secret32), at + `.secret: a secret of 32 bytes is too short for HS512: want at least 64, such as those of "openssl rand -hex 64"`},
		"a masked secret":    {guarded(`algorithms: [HS256], secret: "***"`), at + `.secret: "***" is what config show prints in the place of a secret: want the secret`},
		"no such file":       {guarded("algorithms: [HS256], secret_file: nothing"), at + `.secret_file: "nothing" cannot be read: no such file or directory`},
		"a short line":       {guarded("algorithms: [HS512], secret_file: h.yaml"), `is too short for HS512`},
		"a secret for RSA":   {guarded(rs + "keys_file: " + cert + ", secret: " + secret32), `a secret, and no algorithm that uses it: want HS256, HS384 or HS512 among algorithms, or no secret`},
		"no keys":            {guarded("algorithms: [RS256]"), `RS256 wants public keys: want keys_file or jwks_url as well`},
		"keys for HMAC":      {guarded(hs + ", keys_file: " + cert), `public keys, and no algorithm that uses them: want one such as RS256, ES256 or EdDSA among algorithms, or no keys_file and no jwks_url`},
		"a key that differs": {guarded(rs + "keys_file: " + cert), at + `.keys_file: "` + cert + `" has no key for RS256: want one, or the algorithm not among algorithms`},
		"no key in it":       {guarded(rs + "keys_file: h.yaml"), at + `.keys_file: "h.yaml": no key is in it: want PEM blocks with public keys or certificates, or a JWK Set`},
		"plain http":         {guarded(rs + "jwks_url: http://id.example/keys"), at + `.jwks_url: "http://id.example/keys" is plain http, where others can replace the keys: want https, or a loopback address`},
		"no URL":             {guarded(rs + "jwks_url: id.example/keys"), at + `.jwks_url: "id.example/keys" is not a URL: want one such as https://id.example.org/.well-known/jwks.json`},
		"a password":         {guarded(rs + "jwks_url: https://ann:geheim@id.example/keys"), at + `.jwks_url: it holds a user: want a URL that needs none`},
		"a CA without a URL": {guarded(hs + ", jwks_ca: " + cert), at + `.jwks_ca: "` + cert + `" is for jwks_url, and there is none: want jwks_url as well`},
		"no certificate":     {guarded(rs + "jwks_url: https://id.example/keys, jwks_ca: h.yaml"), at + `.jwks_ca: "h.yaml" holds no certificate: want PEM`},
		"a refresh alone":    {guarded(hs + ", jwks_refresh: 1m"), at + `.jwks_refresh: 1m is for jwks_url, and there is none: want jwks_url as well`},
		"a hasty refresh":    {guarded(rs + "jwks_url: https://id.example/keys, jwks_refresh: 1ms"), at + `.jwks_refresh: 1ms is out of range: want 1s to 24h`},
		"leeway":             {guarded(hs + ", leeway: 1h"), at + `.leeway: 1h is out of range: want 0s to 10m`},
		"an empty claim":     {guarded(hs + `, required: [""]`), at + `.required[0]: empty: want the name of a claim`},
		"an empty audience":  {guarded(hs + `, audience: [""]`), at + `.audience[0]: empty: want an audience`},
		"a place":            {guarded(hs + `, from: [header]`), at + `.from[0]: "header" is not a place for a token: want authorization, subprotocol, cookie:NAME or query:NAME`},
		"a cookie's name":    {guarded(hs + `, from: ["cookie:a b"]`), at + `.from[0]: "cookie:a b" is not a place for a token: want authorization, subprotocol, cookie:NAME or query:NAME`},
		"no place":           {guarded(hs + `, from: []`), at + `.from: empty: want at least one of authorization, subprotocol, cookie:NAME and query:NAME`},
		"an attribute":       {guarded(hs + `, claims: {attributes: {tenant: ""}}`), at + `.claims.attributes.tenant: empty: want the name of a claim`},
		"attributes":         {guarded(hs + `, claims: {attributes: [a]}`), at + `.claims.attributes: a list: want a mapping`},
		"callers":            {"control: {auth: {jwt: {" + hs + ", claims: {verbs: \"\"}}}}\n", `h.yaml:1: control.auth.jwt.claims.verbs: empty: want the claim with what the caller may do, such as holdfast.verbs`},
		"callers abroad":     {"control: {listen: \":7400\", auth: {jwt: {" + hs + "}}}\n", `tokens would travel there in plain text`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadText(t, c.file)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("got:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
}

// TestShownTokensAreReadAgain: what config show prints of them is accepted, but for the secret, which it does not print.
func TestShownTokensAreReadAgain(t *testing.T) {
	c, err := loadText(t, "control: {auth: {jwt: {algorithms: [HS256], secret: "+secret32+"}}}\n"+
		guarded("algorithms: [HS256], secret: "+secret32+`, claims: {attributes: {tenant: org.id, "a b": "x,y"}}`))
	if err != nil {
		t.Fatal(err)
	}
	shown := c.Show()
	if strings.Contains(shown, "geheim") || strings.Count(shown, `secret: "***"`) != 2 {
		t.Errorf("shown:\n%s", shown)
	}
	again, err := loadText(t, strings.ReplaceAll(shown, `"***"`, secret32))
	if diff := cmp.Diff(c, again, ignoreOrigins); err != nil || diff != "" {
		t.Errorf("%v, read again:\n%s", err, diff)
	}
}

// TestKeysThatCannotBeUsedLeaveTheOld looks at the files a second later, which here takes none.
func TestKeysThatCannotBeUsedLeaveTheOld(t *testing.T) {
	file := t.TempDir() + "/secrets"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret32 + "\n")
	k, err := newKeyring(JWT{Algorithms: []string{"HS256"}, SecretFile: file}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first := k.get()
	later := func() int {
		k.files.looked.Store(-int64(lookAgain))
		return k.get().Len()
	}
	write("short\n")
	if n := later(); n != 1 || k.get() != first {
		t.Errorf("%d keys from a file that cannot be used", n)
	}
	write(secret32 + "\r\n" + secret32 + "2\n")
	if n := later(); n != 2 {
		t.Errorf("%d keys, want 2", n)
	}
}

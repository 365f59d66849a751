package app

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/jwt"
)

// JWT says which JSON Web Tokens are good.
type JWT struct {
	Algorithms []string `yaml:"algorithms"` // of jwt.Algorithms
	// Secret, or SecretFile with a secret in each line, is for the algorithms that begin with HS.
	Secret     string `yaml:"secret,omitempty" secret:""`
	SecretFile string `yaml:"secret_file,omitempty"`
	// KeysFile and JWKSURL have public keys, for the others: PEM or a JWK Set.
	KeysFile    string   `yaml:"keys_file,omitempty"`
	JWKSURL     string   `yaml:"jwks_url,omitempty"`
	JWKSCA      string   `yaml:"jwks_ca,omitempty"`      // PEM; empty: the system's
	JWKSRefresh Duration `yaml:"jwks_refresh,omitempty"` // while no token has an unknown key
	Issuer      string   `yaml:"issuer,omitempty"`       // empty: any
	Audience    []string `yaml:"audience"`               // empty: tokens that name none
	Leeway      Duration `yaml:"leeway"`
	Required    []string `yaml:"required"` // claims
}

func defaultJWT() JWT {
	return JWT{Algorithms: []string{}, Audience: []string{}, Leeway: 10 * Second, Required: []string{"exp"}}
}

// secrets are those of the configuration and of its file. An error says nothing of them but their length.
func (j JWT) secrets() ([]string, error) {
	if j.SecretFile == "" {
		if j.Secret == "" {
			return nil, nil
		}
		return []string{j.Secret}, j.checkSecret(j.Secret)
	}
	text, err := os.ReadFile(j.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", j.SecretFile, reason(err))
	}
	var secrets []string
	for line := range bytes.FieldsFuncSeq(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if err := j.checkSecret(string(line)); err != nil {
			return nil, fmt.Errorf("%q: %w", j.SecretFile, err)
		}
		secrets = append(secrets, string(line))
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%q is empty: want a secret in it", j.SecretFile)
	}
	return secrets, nil
}

// checkSecret refuses a secret that is shorter than the hash it is used with (RFC 7518 3.2).
func (j JWT) checkSecret(secret string) error {
	if secret == mask {
		return fmt.Errorf("%q is what config show prints in the place of a secret: want the secret", mask)
	}
	for _, name := range j.Algorithms {
		if size := jwt.SecretSize(name); len(secret) < size {
			return fmt.Errorf("a secret of %d bytes is too short for %s: want at least %d, such as those of \"openssl rand -hex %d\"",
				len(secret), name, size, size)
		}
	}
	return nil
}

func (j JWT) publicKeys() ([]jwt.Key, error) {
	if j.KeysFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(j.KeysFile)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", j.KeysFile, reason(err))
	}
	keys, err := jwt.ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", j.KeysFile, err)
	}
	return keys, nil
}

// keys are those at hand, from the configuration and its files.
func (j JWT) keys() (*jwt.Set, error) {
	secrets, err := j.secrets()
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	keys, err := j.publicKeys()
	if err != nil {
		return nil, fmt.Errorf("keys_file: %w", err)
	}
	for _, s := range secrets {
		keys = append(keys, jwt.NewSecret(s))
	}
	return jwt.NewSet(keys...), nil
}

// jwt checks which tokens are good. What it says of secrets is at most their length.
func (v *checker) jwt(key string, j JWT) {
	if len(j.Algorithms) == 0 {
		v.refuse(key+".algorithms", "empty: want at least one of %s", alternatives(jwt.Algorithms))
	}
	v.each(key+".algorithms", j.Algorithms, func(at, name string) { v.oneOf(at, name, jwt.Algorithms...) })
	v.jwtSources(key, j)
	v.jwtSecrets(key, j)
	v.jwtKeys(key, j)
	v.jwksURL(key, j)
	within(v, key+".leeway", j.Leeway, 0, 10*Minute)
	v.each(key+".audience", j.Audience, func(at, name string) { v.notEmpty(at, name, "an audience") })
	v.each(key+".required", j.Required, func(at, name string) { v.notEmpty(at, name, "the name of a claim") })
}

func (v *checker) notEmpty(key, value, what string) {
	if value == "" {
		v.refuse(key, "empty: want %s", what)
	}
}

func isSecretAlgorithm(name string) bool { return jwt.SecretSize(name) > 0 }

// jwtSources refuses algorithms that nothing serves, and keys that serve no algorithm.
func (v *checker) jwtSources(key string, j JWT) {
	known := slices.DeleteFunc(slices.Clone(j.Algorithms), func(name string) bool { return !slices.Contains(jwt.Algorithms, name) })
	secret := slices.IndexFunc(known, isSecretAlgorithm)
	public := slices.IndexFunc(known, func(name string) bool { return !isSecretAlgorithm(name) })
	switch hasSecret := j.Secret != "" || j.SecretFile != ""; {
	case j.Secret != "" && j.SecretFile != "":
		v.refuse(key, "both secret and secret_file: want one")
	case secret >= 0 && !hasSecret:
		v.refuse(key, "%s wants a secret: want secret or secret_file as well", known[secret])
	case secret < 0 && hasSecret:
		v.refuse(key, "a secret, and no algorithm that uses it: want HS256, HS384 or HS512 among algorithms, or no secret")
	}
	switch hasKeys := j.KeysFile != "" || j.JWKSURL != ""; {
	case public >= 0 && !hasKeys:
		v.refuse(key, "%s wants public keys: want keys_file or jwks_url as well", known[public])
	case public < 0 && hasKeys:
		v.refuse(key, "public keys, and no algorithm that uses them: want one such as RS256, ES256 or EdDSA among algorithms, or no keys_file and no jwks_url")
	}
}

func (v *checker) jwtSecrets(key string, j JWT) {
	if _, err := j.secrets(); err != nil {
		name := ".secret"
		if j.SecretFile != "" {
			name = ".secret_file"
		}
		v.refuse(key+name, "%s", err)
	}
}

func (v *checker) jwtKeys(key string, j JWT) {
	keys, err := j.publicKeys()
	if err != nil {
		v.refuse(key+".keys_file", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	if j.KeysFile == "" || j.JWKSURL != "" {
		return
	}
	set := jwt.NewSet(keys...)
	for _, name := range j.Algorithms {
		if slices.Contains(jwt.Algorithms, name) && !isSecretAlgorithm(name) && !set.Serves(name) {
			v.refuse(key+".keys_file", "%q has no key for %s: want one, or the algorithm not among algorithms", j.KeysFile, name)
		}
	}
}

func (v *checker) jwksURL(key string, j JWT) {
	if j.JWKSURL == "" {
		if j.JWKSCA != "" {
			v.refuse(key+".jwks_ca", "%q is for jwks_url, and there is none: want jwks_url as well", j.JWKSCA)
		}
		if j.JWKSRefresh != 0 {
			v.refuse(key+".jwks_refresh", "%s is for jwks_url, and there is none: want jwks_url as well", j.JWKSRefresh)
		}
		return
	}
	if err := checkJWKSURL(j.JWKSURL); err != nil {
		v.refuse(key+".jwks_url", "%s", err)
	}
	if j.JWKSRefresh != 0 {
		within(v, key+".jwks_refresh", j.JWKSRefresh, Second, 24*Hour)
	}
	if _, err := j.jwksTLS(); err != nil {
		v.refuse(key+".jwks_ca", "%s", err)
	}
}

// checkJWKSURL refuses a URL whose keys others could replace on their way.
func checkJWKSURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%q is not a URL: want one such as https://id.example.org/.well-known/jwks.json", maskURL(raw))
	case u.User != nil:
		return errors.New("it holds a user: want a URL that needs none")
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		return fmt.Errorf("%q is plain http, where others can replace the keys: want https, or a loopback address", raw)
	}
	return nil
}

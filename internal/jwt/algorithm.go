package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
)

// algorithm is what a signature is made with (RFC 7518 3.1, RFC 8037 3.1).
type algorithm struct {
	name   string
	secret int            // bytes that a secret must have (RFC 7518 3.2); 0: it has none
	rsa    bool           // it wants an RSA key
	curve  elliptic.Curve // that an ECDSA key must be on; nil: it wants none
}

// Algorithms are those that can be accepted. "none" is not among them.
var Algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

var algorithms = map[string]algorithm{
	"HS256": {name: "HS256", secret: 32},
	"HS384": {name: "HS384", secret: 48},
	"HS512": {name: "HS512", secret: 64},
	"RS256": {name: "RS256", rsa: true},
	"RS384": {name: "RS384", rsa: true},
	"RS512": {name: "RS512", rsa: true},
	"PS256": {name: "PS256", rsa: true},
	"PS384": {name: "PS384", rsa: true},
	"PS512": {name: "PS512", rsa: true},
	"ES256": {name: "ES256", curve: elliptic.P256()},
	"ES384": {name: "ES384", curve: elliptic.P384()},
	"ES512": {name: "ES512", curve: elliptic.P521()},
	"EdDSA": {name: "EdDSA"},
}

// SecretSize is how many bytes a secret for that algorithm must have (RFC 7518 3.2); 0: it uses none.
func SecretSize(name string) int { return algorithms[name].secret }

// takes reports whether a key is of the kind that the algorithm wants. It is what makes it impossible that a public
// key is taken for a secret.
func (a algorithm) takes(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case secret:
		return a.secret > 0 && len(k) >= a.secret
	case *rsa.PublicKey:
		return a.rsa
	case *ecdsa.PublicKey:
		return a.curve != nil && k.Curve == a.curve
	case ed25519.PublicKey:
		return a.name == "EdDSA"
	}
	return false
}

package jwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of keys.
const (
	maxKeys  = 64  // in a set: a token without a key ID is tried with each
	maxKeyID = 256 // bytes
	minRSA   = 2048
	maxRSA   = 8192 // bits; a larger one would cost more than a handshake may
)

// Key is what a signature is verified with.
type Key struct {
	id        string // empty: tried for tokens with any ID
	algorithm string // empty: any that fits
	material  crypto.PublicKey
}

// secret is the material of a key that also signs. It is a type of its own so that nothing else is taken for it.
type secret []byte

// NewSecret makes a key of a secret.
func NewSecret(text string) Key { return Key{material: secret(text)} }

// Fits reports whether the key can verify signatures of an algorithm.
func (k Key) Fits(name string) bool {
	return algorithms[name].takes(k.material) && (k.algorithm == "" || k.algorithm == name)
}

// forParser is the material as the parser wants it.
func (k Key) forParser() jwt.VerificationKey {
	if s, ok := k.material.(secret); ok {
		return []byte(s)
	}
	return k.material
}

// Set are keys. It does not change.
type Set struct{ keys []Key }

// NewSet makes a set.
func NewSet(keys ...Key) *Set { return &Set{slices.Clone(keys)} }

// Len is the number of keys.
func (s *Set) Len() int { return len(s.keys) }

// Serves reports whether a key of the set fits an algorithm.
func (s *Set) Serves(name string) bool {
	return slices.ContainsFunc(s.keys, func(k Key) bool { return k.Fits(name) })
}

// find appends the keys that can have signed a token with that key ID, which is empty if it names none.
func (s *Set) find(found []jwt.VerificationKey, id string, a algorithm) []jwt.VerificationKey {
	for _, k := range s.keys {
		if (id == "" || k.id == "" || k.id == id) && k.Fits(a.name) {
			found = append(found, k.forParser())
		}
	}
	return found
}

// ParseKeys reads public keys: a JWK Set (RFC 7517 5), or PEM blocks with public keys or certificates. All keys of PEM
// must be usable, and one of a JWK Set.
func ParseKeys(text []byte) ([]Key, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return parseSet(text)
	}
	var keys []Key
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		material, err := parseBlock(block)
		if err == nil {
			err = usable(material)
		}
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", len(keys)+1, err)
		}
		keys = append(keys, Key{material: material})
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("no key is in it: want PEM blocks with public keys or certificates, or a JWK Set")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("%d keys are in it: want at most %d", len(keys), maxKeys)
	}
	return keys, nil
}

func parseBlock(b *pem.Block) (crypto.PublicKey, error) {
	switch b.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(b.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(b.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("is private, and only whoever signs should have it: want its public key, which \"openssl pkey -pubout\" prints")
	}
	return nil, fmt.Errorf("is a PEM block %q: want PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE", b.Type)
}

// usable refuses keys that no algorithm takes, or that are weak.
func usable(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("is an RSA key of %d bits: want %d to %d", bits, minRSA, maxRSA)
		}
		if k.E < 3 || k.E%2 == 0 {
			return fmt.Errorf("is an RSA key with the exponent %d: want an odd one above 1", k.E)
		}
		return nil
	case *ecdsa.PublicKey:
		for _, a := range algorithms {
			if a.takes(k) {
				return nil
			}
		}
		return fmt.Errorf("is on the curve %s: want P-256, P-384 or P-521", k.Curve.Params().Name)
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("is of the kind %T: want RSA, ECDSA or Ed25519", key)
}

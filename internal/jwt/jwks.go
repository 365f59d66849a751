package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// jwk is a JSON Web Key (RFC 7517 4). Fields that are not here are of no interest: above all x5u and x5c.
type jwk struct {
	Kind       string   `json:"kty"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	ID         string   `json:"kid"`
	Curve      string   `json:"crv"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	D          string   `json:"d"` // there in private keys alone
}

// parseSet reads a JWK Set. Keys that are for something else, or of a kind that is not known, are left out (RFC 7517 5).
func parseSet(text []byte) ([]Key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("it is no JSON")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys are in it: want at most %d", len(set.Keys), maxKeys)
	}
	var keys []Key
	var unusable []error
	for i, raw := range set.Keys {
		key, err := parseJWK(raw)
		if err != nil {
			unusable = append(unusable, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.Join(append(unusable, errors.New("no usable key is in it: want RSA, EC or OKP keys for signatures under \"keys\""))...)
	}
	return keys, nil
}

func parseJWK(raw []byte) (Key, error) {
	var k jwk
	if err := json.Unmarshal(raw, &k); err != nil {
		return Key{}, errors.New("is no JSON Web Key")
	}
	switch {
	case k.Use != "" && k.Use != "sig", len(k.Operations) > 0 && !slices.Contains(k.Operations, "verify"):
		return Key{}, errors.New("is not for signatures")
	case k.D != "":
		return Key{}, errors.New("is private, and only whoever signs should have it")
	case len(k.ID) > maxKeyID:
		return Key{}, fmt.Errorf("has an ID of more than %d bytes", maxKeyID)
	}
	material, err := k.material()
	if err != nil {
		return Key{}, err
	}
	if err := usable(material); err != nil {
		return Key{}, err
	}
	key := Key{id: k.ID, algorithm: k.Algorithm, material: material}
	if k.Algorithm != "" && !key.Fits(k.Algorithm) {
		return Key{}, fmt.Errorf("is not for its own algorithm %q", k.Algorithm)
	}
	return key, nil
}

// material makes a public key of the parameters of RFC 7518 6 and RFC 8037 2. A secret ("oct") is none: whoever can
// read a set of keys could sign with it.
func (k *jwk) material() (crypto.PublicKey, error) {
	switch k.Kind {
	case "RSA":
		return k.rsa()
	case "EC":
		return k.ecdsa()
	case "OKP":
		x, err := parameter("x", k.X)
		if err != nil {
			return nil, err
		}
		if k.Curve != "Ed25519" || len(x) != ed25519.PublicKeySize {
			return nil, errors.New("is no Ed25519 key")
		}
		return ed25519.PublicKey(x), nil
	}
	return nil, fmt.Errorf("is of the kind %q: want RSA, EC or OKP", k.Kind)
}

func (k *jwk) rsa() (crypto.PublicKey, error) {
	n, err := parameter("n", k.N)
	if err != nil {
		return nil, err
	}
	e, err := parameter("e", k.E)
	if err != nil {
		return nil, err
	}
	const exponent = 4 // bytes that an int holds everywhere
	if len(e) > exponent {
		return nil, errors.New("has an exponent of more than 32 bits")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
}

func (k *jwk) ecdsa() (crypto.PublicKey, error) {
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	curve, ok := curves[k.Curve]
	if !ok {
		return nil, fmt.Errorf("is on the curve %q: want P-256, P-384 or P-521", k.Curve)
	}
	x, err := parameter("x", k.X)
	if err != nil {
		return nil, err
	}
	y, err := parameter("y", k.Y)
	if err != nil {
		return nil, err
	}
	// SEC 1 2.3.3, which refuses a point that is not on the curve.
	key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, errors.New("is no point of its curve")
	}
	return key, nil
}

func parameter(name, text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("has no parameter %s in base64url", name)
	}
	return b, nil
}

// Package jwt verifies JSON Web Tokens (RFC 7519) that are signed (RFC 7515). Which algorithms are accepted is said
// beforehand, each key serves only the algorithms of its kind, and nothing in a token's header says where a key is to
// be found: a token can choose among the keys that the operator named, and no more.
package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxToken is how many bytes a token may have.
const MaxToken = 16 << 10

// Reason is why a token is refused, as a stable name for metrics.
type Reason string

// The reasons.
const (
	Missing     Reason = "missing"     // there is none
	Malformed   Reason = "malformed"   // it is no signed token, or too long
	Algorithm   Reason = "algorithm"   // it is signed in a way that is not accepted
	UnknownKey  Reason = "unknown_key" // no key could have signed it
	Signature   Reason = "signature"   // no key has signed it
	Expired     Reason = "expired"
	NotYetValid Reason = "not_yet_valid" // nbf or iat is in the future
	Issuer      Reason = "issuer"
	Audience    Reason = "audience"
	Claim       Reason = "claim"            // a claim is missing, or is not what it must be
	Unavailable Reason = "keys_unavailable" // the keys were never fetched: nothing is said about the token
)

// Reasons are all of them.
var Reasons = []Reason{
	Missing, Malformed, Algorithm, UnknownKey, Signature, Expired, NotYetValid, Issuer, Audience, Claim, Unavailable,
}

// Refusal is the error of a token that is not accepted. Its text is for the operator, and repeats nothing of the token
// but names of claims and the key ID.
type Refusal struct {
	Reason Reason
	Text   string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Text }

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{reason, fmt.Sprintf(format, args...)}
}

// Config says which tokens are accepted.
type Config struct {
	// Algorithms are of Algorithms; at least one.
	Algorithms []string
	// Keys answers the keys at hand. It is asked for each token, so that it can follow files. Nil: there are none.
	Keys func() *Set
	// Remote has further keys; nil: there are none.
	Remote *Remote
	// Issuer that tokens must name; empty: any.
	Issuer string
	// Audience: of those a token must name one. Empty: the token must name none, for it would be meant for
	// somebody else (RFC 7519 4.1.3).
	Audience []string
	// Leeway for clocks that differ, in the times of a token.
	Leeway time.Duration
	// Required are names of claims that a token must have, besides those that other settings ask for.
	Required []string
}

// Verifier verifies tokens. It can be used by many goroutines.
type Verifier struct {
	cfg    Config
	parser *jwt.Parser
}

// NewVerifier makes a verifier.
func NewVerifier(c Config) *Verifier {
	options := []jwt.ParserOption{
		jwt.WithJSONNumber(), jwt.WithStrictDecoding(), jwt.WithIssuedAt(), jwt.WithLeeway(c.Leeway),
	}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if len(c.Audience) > 0 {
		options = append(options, jwt.WithAudience(c.Audience...))
	}
	return &Verifier{cfg: c, parser: jwt.NewParser(options...)}
}

// Verify answers the claims of a token that is accepted. Any error is a *Refusal. It waits while keys are fetched for
// the first time, or because the token names one that is not known, and no longer than ctx.
func (v *Verifier) Verify(ctx context.Context, token string) (*Claims, error) {
	if len(token) > MaxToken {
		return nil, refuse(Malformed, "the token has more than %d bytes", MaxToken)
	}
	var partial bool // there may be keys that are not known yet
	parsed, err := v.parser.Parse(token, func(t *jwt.Token) (found any, err error) {
		found, partial, err = v.keysFor(ctx, t)
		return found, err
	})
	if err != nil {
		r := refusalOf(err)
		if r.Reason == Signature && partial {
			return nil, errUnavailable
		}
		return nil, r
	}
	return v.claims(parsed.Claims.(jwt.MapClaims))
}

// claims checks what the parser does not.
func (v *Verifier) claims(all jwt.MapClaims) (*Claims, error) {
	c := &Claims{all: all}
	if _, meant := all["aud"]; meant && len(v.cfg.Audience) == 0 {
		return nil, refuse(Audience, "the token names an audience, and no audience is set here")
	}
	for _, name := range v.cfg.Required {
		if !c.Has(name) {
			return nil, refuse(Claim, "claim %s is missing", name)
		}
	}
	if exp, ok := all["exp"].(json.Number); ok {
		seconds, err := exp.Float64()
		if err != nil || seconds < 0 || seconds > maxTime {
			return nil, refuse(Claim, "claim exp is not a time")
		}
		whole, part := math.Modf(seconds)
		c.Expires = time.Unix(int64(whole), int64(part*float64(time.Second))).Add(v.cfg.Leeway)
	}
	return c, nil
}

// maxTime is the end of the year 9999, in seconds since 1970: what protobuf and RFC 3339 can say.
const maxTime = 253402300799

// The errors of a key search.
var (
	errUnavailable = refuse(Unavailable, "the keys could not be fetched yet")
	errAlgorithm   = refuse(Algorithm, "the token is signed with an algorithm that is not accepted")
	errCritical    = refuse(Malformed, "the token asks for an extension that is not known (RFC 7515 4.1.11)")
	errKeyID       = refuse(Malformed, "the token's key ID is not a text of at most %d bytes", maxKeyID)
)

// keysFor answers the keys that can have signed a token. partial: there may be more.
func (v *Verifier) keysFor(ctx context.Context, t *jwt.Token) (found any, partial bool, err error) {
	name := t.Method.Alg()
	if !slices.Contains(v.cfg.Algorithms, name) {
		return nil, false, errAlgorithm
	}
	if _, critical := t.Header["crit"]; critical {
		return nil, false, errCritical
	}
	id, isText := t.Header["kid"].(string)
	if _, there := t.Header["kid"]; there && !isText || len(id) > maxKeyID {
		return nil, false, errKeyID
	}
	use := algorithms[name]
	var keys []jwt.VerificationKey
	if v.cfg.Keys != nil {
		keys = v.cfg.Keys().find(keys, id, use)
	}
	if v.cfg.Remote != nil && use.secret == 0 { // a secret is never fetched
		var known bool
		if keys, known = v.cfg.Remote.find(ctx, keys, id, use); !known {
			if len(keys) == 0 {
				return nil, true, errUnavailable
			}
			partial = true
		}
	}
	if len(keys) == 0 {
		return nil, partial, refuse(UnknownKey, "no key with the ID %q fits %s", id, name)
	}
	return jwt.VerificationKeySet{Keys: keys}, partial, nil
}

// refusalOf says in our words why the parser refused a token.
func refusalOf(err error) *Refusal {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r
	}
	for _, known := range refusals {
		if errors.Is(err, known.err) {
			return known.refusal
		}
	}
	return refuse(Malformed, "the token is not a signed JSON Web Token")
}

// refusals are in the order in which they count: who is refused for a signature is told nothing of the claims.
var refusals = []struct {
	err     error
	refusal *Refusal
}{
	{jwt.ErrTokenMalformed, refuse(Malformed, "the token is not a signed JSON Web Token")},
	{jwt.ErrTokenUnverifiable, errAlgorithm},
	{jwt.ErrTokenSignatureInvalid, refuse(Signature, "the token's signature is not that of a known key")},
	{jwt.ErrTokenExpired, refuse(Expired, "the token has expired")},
	{jwt.ErrTokenNotValidYet, refuse(NotYetValid, "claim nbf is in the future")},
	{jwt.ErrTokenUsedBeforeIssued, refuse(NotYetValid, "claim iat is in the future")},
	{jwt.ErrTokenInvalidIssuer, refuse(Issuer, "claim iss is not the issuer")},
	{jwt.ErrTokenInvalidAudience, refuse(Audience, "claim aud has none of the audience")},
	{jwt.ErrTokenRequiredClaimMissing, refuse(Claim, "claim iss or aud is missing")},
	{jwt.ErrInvalidType, refuse(Claim, "claim exp, nbf, iat, iss or aud is not of its type")},
	{jwt.ErrTokenInvalidClaims, refuse(Claim, "a claim is not valid")},
}

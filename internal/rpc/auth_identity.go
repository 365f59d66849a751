package rpc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// TokenHash is all that is kept of a token.
type TokenHash [sha256.Size]byte

// HashToken makes one.
func HashToken(token string) TokenHash { return sha256.Sum256([]byte(token)) }

// Identity is somebody who may call.
type Identity struct {
	Name    string
	Tokens  []TokenHash // any of them
	Subject string      // of a client certificate, as in RFC 2253; empty: none
	// Verbs are of Verbs, Namespaces are names or "*", Groups are names or the beginning of one and "*". What is not
	// in them is not allowed.
	Verbs, Namespaces, Groups []string
	// Rates bound what it asks for; nil: Config.Rates.
	Rates *Rates
}

// Judge says who bears a token that belongs to no identity, and until when: streams end then. The zero time: never.
type Judge func(ctx context.Context, token string) (who *Identity, expires time.Time, refused error)

// Errors of a Judge, besides others: what the caller is told of them.
var (
	// ErrTokenExpired is of a token that was good.
	ErrTokenExpired = unauthenticated("the bearer token has expired")
	// ErrNoKeys is of a token that cannot be judged at present.
	ErrNoKeys = &hub.Error{Reason: hub.KeysUnavailable, Text: "the broker could not fetch the keys for bearer tokens yet"}
)

// Identities are all who may call. They do not change.
type Identities struct {
	tokens      []tokenOwner
	subjects    map[string]*caller
	certificate bool // any certificate of the CA will do
	judge       Judge
}

type tokenOwner struct {
	hash  TokenHash
	owner *caller
}

// NewIdentities knows those, whoever judge knows, and nobody else. judge may be nil.
func NewIdentities(all []Identity, judge Judge) *Identities {
	ids := &Identities{subjects: make(map[string]*caller), judge: judge}
	for _, i := range all {
		c := i.caller()
		for _, hash := range i.Tokens {
			ids.tokens = append(ids.tokens, tokenOwner{hash, c})
		}
		if i.Subject != "" {
			ids.subjects[i.Subject] = c
		}
	}
	return ids
}

func (i *Identity) caller() *caller {
	c := &caller{name: i.Name, counted: i.Name, namespaces: i.Namespaces, groups: i.Groups, rates: i.Rates}
	for _, name := range i.Verbs {
		c.verbs |= verbOf(name)
	}
	c.wire = encodeCaller(c)
	return c
}

// AnyCertificate are all who have a certificate of the CA that the port's TLS verifies against: they may do everything.
func AnyCertificate() *Identities { return &Identities{certificate: true} }

// Refusals of callers who are not known. None repeats what it was shown.
var (
	errNoCredentials = unauthenticated("no credentials: want metadata \"authorization: Bearer TOKEN\" or a client certificate")
	errNoBearer      = unauthenticated("metadata \"authorization\" is not one \"Bearer TOKEN\"")
	errToken         = unauthenticated("the bearer token is not known")
	errSubject       = unauthenticated("the client certificate belongs to no identity")
	errExpiredCert   = unauthenticated("the client certificate has expired")
)

func unauthenticated(text string) *hub.Error {
	return &hub.Error{Reason: hub.Unauthenticated, Text: text}
}

// identify finds who calls. A token counts more than a certificate: a proxy can have one for all its clients.
func (ids *Identities) identify(ctx context.Context) (*caller, error) {
	if shown := metadata.ValueFromIncomingContext(ctx, "authorization"); len(shown) > 0 {
		return ids.byToken(ctx, shown)
	}
	if cert := certificateOf(ctx); cert != nil {
		return ids.bySubject(cert)
	}
	return nil, errNoCredentials
}

func (ids *Identities) byToken(ctx context.Context, shown []string) (*caller, error) {
	scheme, token, _ := strings.Cut(shown[0], " ")
	if len(shown) > 1 || !strings.EqualFold(scheme, "bearer") || token == "" {
		return nil, errNoBearer
	}
	hash := HashToken(token)
	var found *caller
	for i := range ids.tokens { // all of them, so that the time tells nothing
		if t := &ids.tokens[i]; subtle.ConstantTimeCompare(t.hash[:], hash[:]) == 1 {
			found = t.owner
		}
	}
	if found == nil && ids.judge != nil {
		return ids.judged(ctx, token)
	}
	if found == nil {
		return nil, errToken
	}
	return found, nil
}

// judged finds who bears a token that says so itself. Why it is not good is told only where that helps an honest caller.
func (ids *Identities) judged(ctx context.Context, token string) (*caller, error) {
	who, expires, err := ids.judge(ctx, token)
	switch {
	case errors.Is(err, ErrTokenExpired), errors.Is(err, ErrNoKeys):
		return nil, err
	case err != nil:
		return nil, errToken
	}
	c := who.caller()
	c.counted, c.expires = anyToken, expires
	return c, nil
}

// certificateOf is the certificate that the client has shown and TLS has verified; nil: none.
func certificateOf(ctx context.Context) *x509.Certificate {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil
	}
	return info.State.VerifiedChains[0][0]
}

func (ids *Identities) bySubject(cert *x509.Certificate) (*caller, error) {
	if time.Now().After(cert.NotAfter) { // it was valid when the connection began, which may be days ago
		return nil, errExpiredCert
	}
	subject := cert.Subject.String()
	if ids.certificate {
		c := &caller{name: subject, counted: anyCertificate, verbs: verbRead | verbSend | verbClose | verbAdmin, namespaces: []string{anything}, groups: []string{anything}}
		c.wire = encodeCaller(c)
		return c, nil
	}
	if c := ids.subjects[subject]; c != nil {
		return c, nil
	}
	return nil, errSubject
}

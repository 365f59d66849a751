package admission

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/jwt"
)

// JWT lets in whoever shows a good JSON Web Token. Its claims say who that is, and its end is the connection's.
type JWT struct {
	Verifier *jwt.Verifier
	// From are the places of the token: the first that has one counts.
	From []Place
	// User, Attributes and Groups are the names of claims; Attributes by the names of the attributes. Empty: none. The
	// claim of the user must be in the token.
	User       string
	Attributes map[string]string
	Groups     string
	Logger     *slog.Logger // takes why a token is refused, on the level debug
}

// Refusals before the token is looked at.
var (
	errMissing = &jwt.Refusal{Reason: jwt.Missing, Text: "there is no token"}
	errSeveral = &jwt.Refusal{Reason: jwt.Malformed, Text: "there is more than one token in the same place"}
)

// Admit implements Admitter.
func (j *JWT) Admit(ctx context.Context, r *Request) (*Grant, *Refusal) {
	who, err := j.identify(ctx, r.HTTP)
	if err == nil {
		return &Grant{Identity: who}, nil
	}
	refusal, ok := errors.AsType[*jwt.Refusal](err)
	if !ok {
		refusal = &jwt.Refusal{Reason: jwt.Claim, Text: err.Error()}
	}
	j.Logger.Debug("a client's token is refused", "endpoint", r.Endpoint.Path, "remote", r.Facts.RemoteAddress,
		"reason", string(refusal.Reason), "why", refusal.Text)
	return nil, answer(refusal.Reason)
}

func (j *JWT) identify(ctx context.Context, r *http.Request) (*hub.Identity, error) {
	token, err := j.token(r)
	if err != nil {
		return nil, err
	}
	claims, err := j.Verifier.Verify(ctx, token)
	if err != nil {
		return nil, err
	}
	return j.identity(claims)
}

func (j *JWT) token(r *http.Request) (string, error) {
	for _, p := range j.From {
		switch found := p.tokens(r); {
		case len(found) > 1:
			return "", errSeveral
		case len(found) == 1 && found[0] != "":
			return found[0], nil
		}
	}
	return "", errMissing
}

// identity maps the claims.
func (j *JWT) identity(claims *jwt.Claims) (*hub.Identity, error) {
	var user string
	if j.User != "" {
		if user, _ = claims.Text(j.User); user == "" {
			return nil, &jwt.Refusal{Reason: jwt.Claim, Text: "claim " + j.User + " is missing, which names the user"}
		}
	}
	attributes := make(map[string]string)
	for name, claim := range j.Attributes {
		if text, ok := claims.Text(claim); ok {
			attributes[name] = text
		}
	}
	var groups []string
	if j.Groups != "" {
		var err error
		if groups, err = claims.List(j.Groups); err != nil {
			return nil, err
		}
	}
	return hub.NewIdentity(user, attributes, groups, claims.Expires)
}

// answer is what a client is told. It helps an honest one, and says nothing of the keys and claims that others would
// have to forge.
func answer(reason jwt.Reason) *Refusal {
	r := &Refusal{Reason: string(reason), Status: http.StatusUnauthorized}
	text, challenge := "the token is not accepted", `Bearer error="invalid_token"` // RFC 6750 3.1
	switch reason {
	case jwt.Missing:
		text, challenge = "a token is needed", "Bearer"
	case jwt.Expired:
		text = "the token has expired"
	case jwt.NotYetValid:
		text = "the token is not valid yet"
	case jwt.Unavailable:
		r.Status, r.Header = http.StatusServiceUnavailable, [][2]string{{"Retry-After", "5"}}
		r.Body = []byte("tokens cannot be judged at present\n")
		return r
	}
	r.Header, r.Body = [][2]string{{"WWW-Authenticate", challenge}}, []byte(text+"\n")
	return r
}

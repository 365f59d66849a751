package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/jwt"
	"github.com/holdfast-broker/holdfast/internal/rpc"
)

// callerTokens judges the tokens of callers that say themselves what their bearer may do.
type callerTokens struct {
	verifier *jwt.Verifier
	claims   CallerClaims
	refused  *counters
	logger   *slog.Logger
}

// judge is an rpc.Judge.
func (c *callerTokens) judge(ctx context.Context, token string) (*rpc.Identity, time.Time, error) {
	claims, err := c.verifier.Verify(ctx, token)
	if err == nil {
		var who *rpc.Identity
		if who, err = c.claims.identity(claims); err == nil {
			return who, claims.Expires, nil
		}
	}
	return nil, time.Time{}, c.refuse(err)
}

// refuse counts, tells the log, and answers what rpc makes of it.
func (c *callerTokens) refuse(err error) error {
	refusal, ok := errors.AsType[*jwt.Refusal](err)
	if !ok {
		return err
	}
	c.refused.add(string(refusal.Reason))
	c.logger.Debug("a caller's token is refused", "reason", string(refusal.Reason), "why", refusal.Text)
	switch refusal.Reason {
	case jwt.Expired:
		return rpc.ErrTokenExpired
	case jwt.Unavailable:
		return rpc.ErrNoKeys
	}
	return err
}

// identity is who a token says that its bearer is. Verbs that are none are left out, so that the claim can be one that
// has other words, too; what remains can only be less.
func (c CallerClaims) identity(claims *jwt.Claims) (*rpc.Identity, error) {
	name, ok := claims.Text(c.Name)
	if !ok || name == "" || hub.ValidateUser(c.Name, name) != nil {
		return nil, &jwt.Refusal{Reason: jwt.Claim, Text: "claim " + c.Name + " is no name: want 1 to 256 bytes without control characters"}
	}
	verbs, err := claims.List(c.Verbs)
	if err != nil {
		return nil, err
	}
	namespaces, err := claims.List(c.Namespaces)
	if err != nil {
		return nil, err
	}
	groups := []string{"*"}
	if c.Groups != "" && claims.Has(c.Groups) {
		if groups, err = claims.List(c.Groups); err != nil {
			return nil, err
		}
	}
	return &rpc.Identity{Name: name, Verbs: verbs, Namespaces: namespaces, Groups: groups}, nil
}

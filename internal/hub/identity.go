package hub

import (
	"slices"
	"strings"
	"time"
)

// maxGroup is how long the name of a group may be, in bytes.
const maxGroup = 128

// ValidGroup reports whether s is the name of a group: [A-Za-z0-9_=:@-]{1,128}.
func ValidGroup(s string) bool {
	return len(s) >= 1 && len(s) <= maxGroup && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_=:@-", r)
	})
}

// InvalidGroupName is the refusal of what ValidGroup is false for.
func InvalidGroupName(field, group string) error {
	return Invalid(InvalidGroup, field, group, "[A-Za-z0-9_=:@-]{1,128}")
}

// Identity is who a client is and what it belongs to, as far as that is known before its connection
// opens. Its open event has all of it.
type Identity struct {
	user       string
	attributes []Attribute // sorted by name
	groups     []string    // sorted, each once
	expireTime time.Time
}

// NewIdentity checks what Update and Join would: the user, the attributes, and the groups, whose names it
// refuses as well. expireTime is when the connection will be closed as expired; zero: never. Errors name
// the fields user, attributes and groups.
func NewIdentity(user string, attributes map[string]string, groups []string, expireTime time.Time) (*Identity, error) {
	if err := ValidateUser("user", user); err != nil {
		return nil, err
	}
	sorted, err := mergeAttributes(nil, "attributes", Update{Set: attributes})
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if !ValidGroup(g) {
			return nil, InvalidGroupName("groups", g)
		}
	}
	joined := slices.Clone(groups)
	slices.Sort(joined)
	joined = slices.Compact(joined)
	if len(joined) > MaxGroups {
		return nil, ErrTooManyGroups
	}
	return &Identity{strings.Clone(user), sorted, joined, expireTime}, nil
}

// User is the user, or empty.
func (i *Identity) User() string {
	if i == nil {
		return ""
	}
	return i.user
}

// adoptLocked makes an identity the connection's, before its open event.
func (c *Conn) adoptLocked(i *Identity) {
	if i == nil {
		return
	}
	x := c.changeExtrasLocked()
	x.attributes = i.attributes
	x.carried = pick(i.attributes, c.endpoint.EventAttributes)
	c.setUserLocked(i.user)
	for _, g := range i.groups {
		c.joinLocked(g)
	}
	if !i.expireTime.IsZero() {
		c.expireAtLocked(i.expireTime)
	}
}

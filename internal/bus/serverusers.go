package bus

import (
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// ServerUser may connect to the embedded server, and do there what its roles need.
type ServerUser struct {
	// Name is one token of a subject.
	Name string
	// Password or its bcrypt hash, or else NKey, the public key: then no secret travels.
	Password, NKey string
	// Roles are one or more of those below.
	Roles []string
	// Namespaces are names, or "*" for all.
	Namespaces []string
	// MaxResponses and ResponseTTL bound what OnlyAnswers says. 0: what NATS does, one within two minutes.
	MaxResponses int
	ResponseTTL  time.Duration
}

// The roles: what parties of the NATS contract need, and no more.
const (
	RoleListener  = "listener"  // hears events
	RoleAnswerer  = "answerer"  // hears events, and answers each message of a client
	RoleReplier   = "replier"   // hears events, and sends to any client
	RolePublisher = "publisher" // publishes to groups
	RoleAdmission = "admission" // says who may connect
	RoleOperator  = "operator"  // hears everything, and keeps streams
)

// Roles are all of them.
var Roles = []string{RoleListener, RoleAnswerer, RoleReplier, RolePublisher, RoleAdmission, RoleOperator}

// ReservedUsers is how the names of our own users begin.
const ReservedUsers = "holdfast-"

const ownUser = ReservedUsers + "broker"

// OnlyAnswers reports whether a role may publish what answers a message or request, and only that.
func OnlyAnswers(role string) bool { return role == RoleAnswerer || role == RoleAdmission }

// ValidNKey reports whether a text is the public key of a user.
func ValidNKey(key string) bool { return nkeys.IsValidPublicUserKey(key) }

// applyUsers lets nobody in but these and the broker itself, whose credentials it returns.
func applyUsers(opts *server.Options, users []ServerUser) (own Auth, err error) {
	// Without this block a server with a system account lets everybody into the other one who shows no user.
	if err := opts.ProcessConfigString("authorization {}"); err != nil {
		return own, fmt.Errorf("embedded nats: %w", err)
	}
	own = Auth{User: ownUser, Password: rand.Text()}
	opts.Users = append(opts.Users, &server.User{Username: own.User, Password: own.Password})
	for _, u := range users {
		if u.NKey != "" {
			opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{Nkey: u.NKey, Permissions: u.permissions()})
			continue
		}
		opts.Users = append(opts.Users, &server.User{Username: u.Name, Password: u.Password, Permissions: u.permissions()})
	}
	return own, nil
}

// permissions are those of all roles together.
func (u ServerUser) permissions() *server.Permissions {
	p := &server.Permissions{Publish: &server.SubjectPermission{}, Subscribe: &server.SubjectPermission{}}
	for _, role := range u.Roles {
		for _, namespace := range u.Namespaces {
			grant(p, role, namespace)
		}
		if OnlyAnswers(role) {
			p.Response = &server.ResponsePermission{MaxMsgs: u.MaxResponses, Expires: u.ResponseTTL}
		}
	}
	if len(p.Subscribe.Allow) > 0 {
		// Answers to what it asks itself. Not those to others: they may be of another namespace.
		p.Subscribe.Allow = append(p.Subscribe.Allow, "_INBOX."+u.Name+".>")
	}
	for _, one := range []*server.SubjectPermission{p.Publish, p.Subscribe} {
		slices.Sort(one.Allow)
		if one.Allow = slices.Compact(one.Allow); len(one.Allow) == 0 {
			one.Deny = []string{">"} // an empty list would allow everything
		}
	}
	return p
}

// grant adds what a role needs in a namespace.
func grant(p *server.Permissions, role, namespace string) {
	events, inbound := DefaultEventPrefix+"."+namespace+".", DefaultInboundPrefix+"."+namespace+"."
	switch role {
	case RoleListener, RoleAnswerer:
		p.Subscribe.Allow = append(p.Subscribe.Allow, events+">")
	case RoleReplier:
		p.Subscribe.Allow = append(p.Subscribe.Allow, events+">")
		p.Publish.Allow = append(p.Publish.Allow, inbound+"reply.>")
	case RolePublisher:
		p.Publish.Allow = append(p.Publish.Allow, inbound+"group.*")
	case RoleAdmission:
		p.Subscribe.Allow = append(p.Subscribe.Allow, inbound+"handshake")
	case RoleOperator:
		p.Subscribe.Allow = append(p.Subscribe.Allow, ">")
		p.Publish.Allow = append(p.Publish.Allow, "$JS.API.>", "$JS.ACK.>")
		p.Publish.Deny = protectedStream
	}
}

// protectedStream is what would decide over life and death of nodes.
var protectedStream = []string{
	"$JS.API.STREAM.CREATE.HOLDFAST_LIFE", "$JS.API.STREAM.UPDATE.HOLDFAST_LIFE", "$JS.API.STREAM.DELETE.HOLDFAST_LIFE",
	"$JS.API.STREAM.PURGE.HOLDFAST_LIFE", "$JS.API.STREAM.RESTORE.HOLDFAST_LIFE", "$JS.API.STREAM.MSG.DELETE.HOLDFAST_LIFE",
}

package rpc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// verb is what a permission is given for.
type verb uint8

const (
	verbRead verb = 1 << iota
	verbSend
	verbClose
	verbAdmin
)

// Verbs are the names of what an identity can be allowed.
var Verbs = []string{"read", "send", "close", "admin"}

// verbOf is the verb of a name in Verbs; 0: there is no such name.
func verbOf(name string) verb {
	i := slices.Index(Verbs, name)
	if i < 0 {
		return 0
	}
	return 1 << i
}

func (v verb) String() string {
	for _, name := range Verbs {
		if verbOf(name) == v {
			return name
		}
	}
	return "none"
}

// verbs is the one place that says what a method needs. docs/security.md has the same table.
var verbs = map[string]verb{
	holdfastv1.ConnectionService_Get_FullMethodName:    verbRead,
	holdfastv1.ConnectionService_List_FullMethodName:   verbRead,
	holdfastv1.ConnectionService_Count_FullMethodName:  verbRead,
	holdfastv1.ConnectionService_Watch_FullMethodName:  verbRead,
	holdfastv1.GroupService_ListMembers_FullMethodName: verbRead,
	holdfastv1.GroupService_ListGroups_FullMethodName:  verbRead,
	holdfastv1.NodeService_ListNodes_FullMethodName:    verbRead,
	holdfastv1.NodeService_GetNode_FullMethodName:      verbRead,

	holdfastv1.ConnectionService_Send_FullMethodName:       verbSend,
	holdfastv1.ConnectionService_SendStream_FullMethodName: verbSend,
	holdfastv1.ConnectionService_SendMany_FullMethodName:   verbSend,
	holdfastv1.ConnectionService_Ping_FullMethodName:       verbSend,
	holdfastv1.ConnectionService_Pong_FullMethodName:       verbSend,
	holdfastv1.ConnectionService_Update_FullMethodName:     verbSend, // of an expiry also verbClose
	holdfastv1.GroupService_Publish_FullMethodName:         verbSend,
	holdfastv1.GroupService_AddMembers_FullMethodName:      verbSend,
	holdfastv1.GroupService_RemoveMembers_FullMethodName:   verbSend,

	// A client that is not read is as good as cut off, so Pause is no lesser power than Close.
	holdfastv1.ConnectionService_Close_FullMethodName:     verbClose,
	holdfastv1.ConnectionService_Terminate_FullMethodName: verbClose,
	holdfastv1.ConnectionService_Pause_FullMethodName:     verbClose,
	holdfastv1.ConnectionService_Resume_FullMethodName:    verbClose,
	holdfastv1.GroupService_Close_FullMethodName:          verbClose,

	holdfastv1.NodeService_DrainNode_FullMethodName: verbAdmin,
}

// anything is the pattern of a permission that has no bounds.
const anything = "*"

// caller is who called, and what they may do. Nil is somebody who did not have to say who they are, and may do
// everything.
type caller struct {
	name       string
	counted    string // the name, or as one of many; not told to other nodes
	verbs      verb
	namespaces []string // names, or anything
	groups     []string // names, or the beginning of one and "*"
	wire       []byte   // see encodeCaller
	rates      *Rates   // nil: Config.Rates. Not told to other nodes: a call is counted where it comes in

	expires time.Time // streams end then; zero: never. Not told to other nodes, whose part of a stream ends with ours
}

type callerKey struct{}

func withCaller(ctx context.Context, c *caller) context.Context {
	if c == nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

// callerBytes is what another node is told of the caller.
func callerBytes(ctx context.Context) []byte { return callerOf(ctx).bytes() }

func (c *caller) bytes() []byte {
	if c == nil {
		return nil
	}
	return c.wire
}

// denied is the refusal of a known caller, and what they lack.
type denied struct {
	refusal     *hub.Error
	what, value string
}

func (e *denied) Error() string { return e.refusal.Text }

func (e *denied) Unwrap() error { return e.refusal }

// maxNamed bounds what an error and the log repeat of a request that was not checked yet.
const maxNamed = 64

func named(s string) string {
	if len(s) > maxNamed {
		return strings.ToValidUTF8(s[:maxNamed], "") + "…"
	}
	return s
}

func (c *caller) denied(what, value string) error {
	value = named(value)
	return &denied{
		refusal: &hub.Error{Reason: hub.PermissionDenied, Text: "identity " + c.name + " may not do this: it lacks the " + what + " " + value},
		what:    what, value: value,
	}
}

// permit refuses a call whose verb the caller lacks, or whose request names a namespace or a group that they may not
// touch. Which connections they may touch is for lookup to say.
func (c *caller) permit(method string, req proto.Message) error {
	if c == nil {
		return nil
	}
	if err := c.mayDo(verbs[method]); err != nil {
		return err
	}
	switch r := req.(type) {
	case *holdfastv1.UpdateRequest:
		if r.GetExpireTime() != nil || r.GetClearExpireTime() { // it says when the connection is closed
			return c.mayDo(verbClose)
		}
	case *holdfastv1.ListRequest:
		return c.mayFilter(r.GetFilter().GetNamespace(), r.GetFilter().GetGroup())
	case *holdfastv1.CountRequest:
		return c.mayFilter(r.GetFilter().GetNamespace(), r.GetFilter().GetGroup())
	case *holdfastv1.WatchRequest:
		return c.mayFilter(r.GetNamespace(), "")
	default:
		return c.permitGroups(req)
	}
	return nil
}

// permitGroups is permit for GroupService.
func (c *caller) permitGroups(req proto.Message) error {
	switch r := req.(type) {
	case *holdfastv1.AddMembersRequest:
		return c.mayTouch(r.GetNamespace(), r.GetGroups()...)
	case *holdfastv1.RemoveMembersRequest:
		return c.mayTouch(r.GetNamespace(), r.GetGroups()...)
	case *holdfastv1.ListMembersRequest:
		return c.mayTouch(r.GetNamespace(), r.GetGroup())
	case *holdfastv1.ListGroupsRequest: // every group that begins so
		return c.mayTouch(r.GetNamespace(), r.GetPrefix()+anything)
	case *holdfastv1.PublishRequest:
		return c.mayTarget(r.GetTarget())
	case *holdfastv1.GroupServiceCloseRequest:
		return c.mayTarget(r.GetTarget())
	}
	return nil
}

func (c *caller) mayDo(v verb) error {
	if v == 0 || c.verbs&v == 0 {
		return c.denied("verb", v.String())
	}
	return nil
}

// mayFilter is for filters, which may leave both out: then they find what the caller may touch.
func (c *caller) mayFilter(namespace, group string) error {
	if namespace != "" && !c.hasNamespace(namespace) {
		return c.denied("namespace", namespace)
	}
	if group != "" && !c.hasGroup(group) {
		return c.denied("group", group)
	}
	return nil
}

func (c *caller) mayTouch(namespace string, groups ...string) error {
	if namespace == "" {
		namespace = defaultNamespace
	}
	if !c.hasNamespace(namespace) {
		return c.denied("namespace", namespace)
	}
	for _, g := range groups {
		if !c.hasGroup(g) {
			return c.denied("group", g)
		}
	}
	return nil
}

func (c *caller) mayTarget(t *holdfastv1.Target) error {
	switch to := t.GetTo().(type) {
	case *holdfastv1.Target_Group:
		return c.mayTouch(t.GetNamespace(), to.Group)
	case *holdfastv1.Target_Everyone: // who is in a group that the caller may not touch is in it, too
		return c.mayTouch(t.GetNamespace(), anything)
	}
	return c.mayTouch(t.GetNamespace())
}

func (c *caller) hasNamespace(namespace string) bool {
	return slices.Contains(c.namespaces, namespace) || slices.Contains(c.namespaces, anything)
}

// hasGroup is also for all groups with a beginning: "room:*" is within "room:*" and within "*".
func (c *caller) hasGroup(group string) bool {
	return slices.ContainsFunc(c.groups, func(pattern string) bool {
		beginning, open := strings.CutSuffix(pattern, anything)
		return pattern == group || open && strings.HasPrefix(group, beginning)
	})
}

// onlyNamespaces bounds a filter; nil: no bounds.
func (c *caller) onlyNamespaces() []string {
	if c == nil || slices.Contains(c.namespaces, anything) {
		return nil
	}
	return append([]string{}, c.namespaces...) // not nil: that would be no bounds
}

// errForeign is what a caller is told of a connection that they may not touch: word for word what they are told of one
// that does not exist.
var errForeign = &hub.Error{Reason: hub.ErrNotFound.Reason, Text: hub.ErrNotFound.Text}

// isForeign tells it from a connection that does not exist, for the log.
func isForeign(err error) bool {
	refusal, ok := errors.AsType[*hub.Error](err)
	return ok && refusal == errForeign
}

// lookup finds a connection of this node that the caller may touch. It waits for one that is being admitted.
func (s *service) lookup(ctx context.Context, id string) (*hub.Conn, error) {
	c, err := s.lookupFor(callerOf(ctx), id)
	if p, ok := pendingOf(err); ok {
		return s.awaitOpen(ctx, id, p)
	}
	return c, err
}

// lookupFor is lookup for those who must not wait: a connection that is being admitted is the error.
func (s *service) lookupFor(who *caller, id string) (*hub.Conn, error) {
	c, err := s.hub.Lookup(id)
	if who == nil {
		return c, err
	}
	p, pending := pendingOf(err)
	if err == nil && !who.hasNamespace(c.Endpoint().Namespace) || pending && !who.hasNamespace(p.Endpoint().Namespace) {
		return nil, errForeign
	}
	return c, err
}

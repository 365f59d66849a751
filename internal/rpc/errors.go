package rpc

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Domain is the `domain` of the google.rpc.ErrorInfo that every refusal carries.
const Domain = "holdfast"

// idLen and nodeLen are the lengths of a connection ID and of the node ID that it begins with.
const (
	idLen   = 27
	nodeLen = 10
)

// class is what the outside is told of a refusal: the gRPC code, and the fact.
type class struct {
	code   codes.Code
	reason holdfastv1.ErrorReason
}

// classes is the one place where a reason of the core gets its status code.
var classes = map[hub.Reason]class{
	hub.ConnectionNotFound:    {codes.NotFound, holdfastv1.ErrorReason_CONNECTION_NOT_FOUND},
	hub.ConnectionGone:        {codes.NotFound, holdfastv1.ErrorReason_CONNECTION_GONE},
	hub.ConnectionClosing:     {codes.FailedPrecondition, holdfastv1.ErrorReason_CONNECTION_CLOSING},
	hub.ConnectionPaused:      {codes.FailedPrecondition, holdfastv1.ErrorReason_CONNECTION_PAUSED},
	hub.MessageExpired:        {codes.FailedPrecondition, holdfastv1.ErrorReason_MESSAGE_EXPIRED},
	hub.SendQueueFull:         {codes.ResourceExhausted, holdfastv1.ErrorReason_SEND_QUEUE_FULL},
	hub.RateLimited:           {codes.ResourceExhausted, holdfastv1.ErrorReason_RATE_LIMITED},
	hub.WatchLagged:           {codes.ResourceExhausted, holdfastv1.ErrorReason_WATCH_LAGGED},
	hub.InvalidConnectionID:   {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_CONNECTION_ID},
	hub.InvalidCloseCode:      {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_CLOSE_CODE},
	hub.ReasonTooLong:         {codes.InvalidArgument, holdfastv1.ErrorReason_REASON_TOO_LONG},
	hub.ControlPayloadTooLong: {codes.InvalidArgument, holdfastv1.ErrorReason_CONTROL_PAYLOAD_TOO_LONG},
	hub.MessageTooLarge:       {codes.InvalidArgument, holdfastv1.ErrorReason_MESSAGE_TOO_LARGE},
	hub.InvalidGroup:          {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_GROUP},
	hub.InvalidNamespace:      {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_NAMESPACE},
	hub.InvalidPageToken:      {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_PAGE_TOKEN},
	hub.InvalidFragment:       {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_FRAGMENT},
	hub.InvalidMessage:        {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_MESSAGE},
	hub.InvalidConfirmation:   {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_CONFIRMATION},
	hub.InvalidDuration:       {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_DURATION},
	hub.InvalidRequestID:      {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_REQUEST_ID},
	hub.InvalidAttributes:     {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_ATTRIBUTES},
	hub.InvalidUser:           {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_USER},
	hub.InvalidFilter:         {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_FILTER},
	hub.InvalidExpireTime:     {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_EXPIRE_TIME},
	hub.InvalidBatch:          {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_BATCH},
	hub.SkippedAfterFailure:   {codes.Aborted, holdfastv1.ErrorReason_SKIPPED_AFTER_FAILURE},
	hub.NodeUnreachable:       {codes.Unavailable, holdfastv1.ErrorReason_NODE_UNREACHABLE},
	hub.BusUnavailable:        {codes.Unavailable, holdfastv1.ErrorReason_BUS_UNAVAILABLE},
	hub.NotConfirmed:          {codes.DeadlineExceeded, holdfastv1.ErrorReason_NOT_CONFIRMED},
	hub.NodeStopping:          {codes.Unavailable, holdfastv1.ErrorReason_NODE_STOPPING},
	hub.InternalError:         {codes.Internal, holdfastv1.ErrorReason_INTERNAL_ERROR},
	hub.InvalidTarget:         {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_TARGET},
	hub.InvalidNodeID:         {codes.InvalidArgument, holdfastv1.ErrorReason_INVALID_NODE_ID},
	hub.NodeNotFound:          {codes.NotFound, holdfastv1.ErrorReason_NODE_NOT_FOUND},
	hub.TooManyGroups:         {codes.ResourceExhausted, holdfastv1.ErrorReason_TOO_MANY_GROUPS},
	hub.Unauthenticated:       {codes.Unauthenticated, holdfastv1.ErrorReason_UNAUTHENTICATED},
	hub.PermissionDenied:      {codes.PermissionDenied, holdfastv1.ErrorReason_PERMISSION_DENIED},
	hub.KeysUnavailable:       {codes.Unavailable, holdfastv1.ErrorReason_KEYS_UNAVAILABLE},
}

var (
	errDeadline = &hub.Error{Reason: hub.NotConfirmed, Text: "the deadline of the call passed before the confirmation came"}
	errInternal = &hub.Error{Reason: hub.InternalError, Text: "internal error: see the broker's log"}
)

// refusalOf finds the refusal in an error. What is none is a defect of the broker, and its text is
// nobody else's business.
func refusalOf(err error) *hub.Error {
	if refusal, ok := errors.AsType[*hub.Error](err); ok {
		return refusal
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errDeadline
	}
	return errInternal
}

// told is what a failure inside an answer says of an error, which may be a status of another node.
func told(err error) (class, string) {
	if _, isRefusal := errors.AsType[*hub.Error](err); !isRefusal {
		if st, ok := status.FromError(err); ok {
			return class{st.Code(), reasonOf(st)}, st.Message()
		}
	}
	refusal := refusalOf(err)
	return classes[refusal.Reason], refusal.Text
}

// reasonOf is the reason in the details of a status; unspecified when it has none that we know.
func reasonOf(st *status.Status) holdfastv1.ErrorReason {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return holdfastv1.ErrorReason(holdfastv1.ErrorReason_value[info.GetReason()])
		}
	}
	return holdfastv1.ErrorReason_ERROR_REASON_UNSPECIFIED
}

// codeOf is the code of a failure that another node told.
func codeOf(n int32) codes.Code {
	if n <= int32(codes.OK) || n >= int32(codeCount) {
		return codes.Unknown
	}
	return codes.Code(n)
}

// aboutNode is a refusal that concerns a node rather than a connection.
type aboutNode struct {
	refusal *hub.Error
	node    hub.NodeID
}

func (e *aboutNode) Error() string { return e.refusal.Text }

func (e *aboutNode) Unwrap() error { return e.refusal }

// aboutConnection is an error of a call that names a connection where only the call knows.
type aboutConnection struct {
	err error
	id  string
}

func (e *aboutConnection) Error() string { return e.err.Error() }

func (e *aboutConnection) Unwrap() error { return e.err }

// isDefect reports whether an error is neither a refusal, nor a status, nor the end of the call.
func isDefect(err error) bool {
	if _, ok := status.FromError(err); ok { // also nil
		return false
	}
	return refusalOf(err) == errInternal && !errors.Is(err, errInternal) && !errors.Is(err, context.Canceled)
}

// statusOf turns what a method answered into what its caller is told. An error that has a status, of
// gRPC itself or of the node a call was forwarded to, stays as it is. id names the connection that the
// call was about; empty when it was about none.
func (s *service) statusOf(err error, id string) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) { // nobody is left to read a reason
		return status.FromContextError(err).Err()
	}
	refusal := refusalOf(err)
	cl := classes[refusal.Reason]
	st := status.New(cl.code, refusal.Text)
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Domain: Domain, Reason: cl.reason.String(), Metadata: s.metadata(err, refusal, id),
	}}
	if over, ok := errors.AsType[*limited](err); ok {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(over.after)})
	}
	detailed, detailErr := st.WithDetails(details...)
	if detailErr != nil { // unreachable while metadata is UTF-8; the code is worth more than the detail
		return st.Err()
	}
	return detailed.Err()
}

// metadata names what a program needs to act on a refusal, see error_reason.proto.
func (s *service) metadata(err error, refusal *hub.Error, id string) map[string]string {
	md := make(map[string]string)
	if about, ok := errors.AsType[*aboutNode](err); ok {
		md["node"] = string(about.node)
	}
	if about, ok := errors.AsType[*aboutConnection](err); ok {
		id = about.id
	}
	if lacks, ok := errors.AsType[*denied](err); ok {
		md[lacks.what] = lacks.value
	}
	if refusal.Field != "" {
		md["field"], md["value"], md["allowed"] = refusal.Field, refusal.Value, refusal.Allowed
	}
	if refusal.Reason == hub.InvalidConnectionID || len(id) != idLen {
		return utf8Only(md) // what was sent as an ID is no ID
	}
	md["connection_id"] = id
	switch refusal.Reason {
	case hub.ConnectionGone, hub.NodeUnreachable:
		md["node"] = id[:nodeLen]
	case hub.SendQueueFull:
		if c, err := s.hub.Lookup(id); err == nil {
			md["buffered_amount"] = strconv.FormatUint(c.Info().Buffered, 10)
		}
	}
	return utf8Only(md)
}

// utf8Only repairs values that were cut inside a code point: protobuf would refuse the whole detail.
func utf8Only(md map[string]string) map[string]string {
	for k, v := range md {
		md[k] = strings.ToValidUTF8(v, "")
	}
	return md
}

package rpc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-broker/holdfast/internal/hub"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Limits of a page of List.
const (
	DefaultPageSize = 100
	MaxPageSize     = 1000
	// maxPageBytes keeps a page below the 4 MiB that a stock gRPC client accepts; one connection is
	// at most some ten KiB.
	maxPageBytes = 3 << 20
)

// List answers one page of the connections that match.
func (s *service) List(_ context.Context, req *holdfastv1.ListRequest) (*holdfastv1.ListResponse, error) {
	filter, err := readFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	after, err := s.readPageToken(req.GetPageToken(), &filter)
	if err != nil {
		return nil, err
	}
	infos, more := s.hub.List(filter, after, pageSize(req.GetPageSize()))
	resp, size := &holdfastv1.ListResponse{}, 0
	for i := range infos {
		c := connectionOf(&infos[i])
		if size += proto.Size(c); size > maxPageBytes && i > 0 {
			more = true
			break
		}
		resp.Connections = append(resp.Connections, c)
	}
	if more {
		last := infos[len(resp.Connections)-1].ID
		resp.NextPageToken = pageToken(last, &filter)
	}
	return resp, nil
}

// Count answers how many connections match.
func (s *service) Count(_ context.Context, req *holdfastv1.CountRequest) (*holdfastv1.CountResponse, error) {
	filter, err := readFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	return &holdfastv1.CountResponse{Count: s.hub.Count(filter)}, nil
}

func pageSize(n uint32) int {
	if n == 0 {
		return DefaultPageSize
	}
	return int(min(n, MaxPageSize))
}

func readFilter(f *holdfastv1.Filter) (hub.Filter, error) {
	if err := validateNamespace("filter.namespace", f.GetNamespace()); err != nil {
		return hub.Filter{}, err
	}
	if err := hub.ValidateUser("filter.user", f.GetUser()); err != nil {
		return hub.Filter{}, err
	}
	if err := validateGroup("filter.group", f.GetGroup()); err != nil {
		return hub.Filter{}, err
	}
	if n := f.GetNode(); n != "" && !hub.ValidNodeID(n) {
		return hub.Filter{}, hub.Invalid(hub.InvalidFilter, "filter.node", n, "10 characters of a-z and 2-7")
	}
	return hub.Filter{
		Namespace: f.GetNamespace(), User: f.GetUser(), Group: f.GetGroup(),
		Node: hub.NodeID(f.GetNode()), Attributes: f.GetAttributes(),
	}, nil
}

// A page token is, in base64: a version, the hash of the filter, the ID of the last connection listed.
const (
	tokenVersion = 1
	hashLen      = 8
	tokenLen     = 1 + hashLen + idLen
)

func pageToken(last hub.ID, f *hub.Filter) string {
	b := append(make([]byte, 0, tokenLen), tokenVersion)
	b = append(b, filterHash(f)...)
	b = append(b, last.String()...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// readPageToken answers where the listing goes on; nil: at the first connection. A token of another
// node is refused: the connections it counted on have ended with that node.
func (s *service) readPageToken(token string, f *hub.Filter) (*hub.ID, error) {
	if token == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil && len(b) == tokenLen && b[0] == tokenVersion && string(b[1:1+hashLen]) == string(filterHash(f)) {
		if id, err := hub.ParseID(string(b[1+hashLen:])); err == nil && id.Node() == s.hub.Node() {
			return &id, nil
		}
	}
	return nil, hub.Invalid(hub.InvalidPageToken, "page_token", token, "next_page_token of a List with the same filter")
}

// filterHash is the same in every process, so that any node could read a token.
func filterHash(f *hub.Filter) []byte {
	h := sha256.New()
	part := func(s string) { // with its length, so that ("ab", "c") is not ("a", "bc")
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	part(f.Namespace)
	part(f.User)
	part(f.Group)
	part(string(f.Node))
	for _, name := range slices.Sorted(maps.Keys(f.Attributes)) {
		part(name)
		part(f.Attributes[name])
	}
	return h.Sum(nil)[:hashLen]
}

// readExpiry answers the time of an Update: nil when it changes nothing, the zero time for never.
func readExpiry(req *holdfastv1.UpdateRequest) (*time.Time, error) {
	at := req.GetExpireTime()
	switch {
	case at == nil && !req.GetClearExpireTime():
		return nil, nil
	case at == nil:
		return new(time.Time), nil
	case req.GetClearExpireTime():
		return nil, hub.Invalid(hub.InvalidExpireTime, "clear_expire_time", "true", "false, or no expire_time")
	}
	t := at.AsTime()
	if !at.IsValid() || t.IsZero() { // year 1, which the core would read as never
		return nil, hub.Invalid(hub.InvalidExpireTime, "expire_time", t.Format(time.RFC3339Nano), "a time in the future")
	}
	return &t, nil
}

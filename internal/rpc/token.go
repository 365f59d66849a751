package rpc

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

// A page token is, in base64: a version, the hash of what is listed, and the ID of the last connection, or
// the name of the last group, that was. Any node can read it. A token that names a node which has ended
// meanwhile goes on behind that node.
const (
	tokenVersion = 1
	hashLen      = 8
	tokenLen     = 1 + hashLen + idLen
)

func pageToken(last string, hash []byte) string {
	b := append(make([]byte, 0, tokenLen), tokenVersion)
	b = append(b, hash...)
	b = append(b, last...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// endOf is the last ID that a connection of that node could have.
func endOf(node hub.NodeID) string { return string(node) + "-" + strings.Repeat("7", idLen-nodeLen-1) }

// readPageToken answers where the listing goes on; nil: at the first connection.
func readPageToken(token string, hash []byte) (*hub.ID, error) {
	if token == "" {
		return nil, nil
	}
	last, ok := openToken(token, hash)
	if id, err := hub.ParseID(last); ok && err == nil {
		return &id, nil
	}
	return nil, invalidToken(token)
}

func openToken(token string, hash []byte) (last string, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= 1+hashLen || b[0] != tokenVersion || string(b[1:1+hashLen]) != string(hash) {
		return "", false
	}
	return string(b[1+hashLen:]), true
}

func invalidToken(token string) error {
	return hub.Invalid(hub.InvalidPageToken, "page_token", token, "next_page_token of a call that asked for the same")
}

// filterHash is the same in every process.
func filterHash(f *hub.Filter) []byte {
	parts := []string{f.Namespace, f.User, f.Group, string(f.Node)}
	for _, name := range slices.Sorted(maps.Keys(f.Attributes)) {
		parts = append(parts, name, f.Attributes[name])
	}
	return listHash(parts...)
}

// listHash is what a token remembers of the question.
func listHash(parts ...string) []byte {
	h := sha256.New()
	for _, s := range parts { // with its length, so that ("ab", "c") is not ("a", "bc")
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	return h.Sum(nil)[:hashLen]
}

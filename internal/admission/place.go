package admission

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/holdfast-broker/holdfast/internal/ws/wire"
)

// Place is where a handshake can carry a token.
type Place struct {
	kind placeKind
	name string // of the cookie or the parameter
}

type placeKind uint8

const (
	inAuthorization placeKind = iota
	inSubprotocol
	inCookie
	inQuery
)

// validName is what RFC 6265 allows as a cookie's name; parameters are held to the same.
var validName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")

// ParsePlace reads "authorization" (the field, with the scheme Bearer), "subprotocol" (an entry "bearer." and the token,
// which a page in a browser can send), "cookie:NAME" or "query:NAME".
func ParsePlace(text string) (Place, error) {
	switch text {
	case "authorization":
		return Place{kind: inAuthorization}, nil
	case "subprotocol":
		return Place{kind: inSubprotocol}, nil
	}
	kind, name, _ := strings.Cut(text, ":")
	if kinds := map[string]placeKind{"cookie": inCookie, "query": inQuery}; kinds[kind] != 0 && validName.MatchString(name) {
		return Place{kinds[kind], name}, nil
	}
	return Place{}, fmt.Errorf("%q is not a place for a token: want authorization, subprotocol, cookie:NAME or query:NAME", text)
}

// Parameter is the name of the query's parameter that has the token, or empty.
func (p Place) Parameter() string {
	if p.kind == inQuery {
		return p.name
	}
	return ""
}

// tokens answers what is in the place.
func (p Place) tokens(r *http.Request) (found []string) {
	switch p.kind {
	case inAuthorization:
		for _, field := range r.Header.Values("Authorization") {
			// RFC 9110 11.1: the scheme in any case. Another one is for somebody else.
			if scheme, token, ok := strings.Cut(field, " "); ok && strings.EqualFold(scheme, "Bearer") {
				found = append(found, strings.TrimLeft(token, " "))
			}
		}
	case inSubprotocol:
		offers, _ := wire.Subprotocols(r.Header) // refused before, if it is malformed
		for _, offer := range offers {
			if token, ok := strings.CutPrefix(offer, "bearer."); ok {
				found = append(found, token)
			}
		}
	case inCookie:
		for _, c := range r.CookiesNamed(p.name) {
			found = append(found, c.Value)
		}
	case inQuery:
		found = r.URL.Query()[p.name]
	}
	return found
}

package wire

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// AnySubprotocol, among the preferences of ChooseSubprotocol, stands for whatever the client offers first.
const AnySubprotocol = "*"

// Subprotocols returns what Sec-WebSocket-Protocol offers, in the client's order, from all its lines. Without the
// field there are no offers. An offer that is no token, is empty, or comes twice is refused (RFC 6455 4.1 rule 10).
// The refusal's text repeats no offer: some clients put a credential there.
func Subprotocols(header map[string][]string) (offers []string, refusal *Refusal) {
	values := header[headerProtocol]
	if len(values) == 0 {
		return nil, nil
	}
	offers, err := ParseTokenList(values)
	if err == nil {
		err = checkUnique(offers)
	}
	if err != nil {
		return nil, refuseRequest("Sec-WebSocket-Protocol: " + err.Error())
	}
	return offers, nil
}

// checkUnique takes a map although most lists have one element: a hostile list has 100,000.
func checkUnique(tokens []string) error {
	seen := make(map[string]int, len(tokens))
	for i, token := range tokens {
		if first, repeated := seen[token]; repeated {
			return errors.New(nth(i) + " repeats " + nth(first) + "; each must be unique")
		}
		seen[token] = i
	}
	return nil
}

// ChooseSubprotocol returns the first of the server's preferences that the client offers; AnySubprotocol among them
// takes the client's first offer. It returns "" and false when nothing suits: then the answer has no
// Sec-WebSocket-Protocol (RFC 6455 4.2.2 rule 5.5). Names are compared byte by byte.
func ChooseSubprotocol(preferences, offers []string) (chosen string, ok bool) {
	if len(offers) == 0 {
		return "", false
	}
	for _, preference := range preferences {
		if preference == AnySubprotocol {
			return offers[0], true
		}
		if slices.Contains(offers, preference) {
			return preference, true
		}
	}
	return "", false
}

// ParseTokenList reads a comma-separated list of tokens (RFC 9110 5.6.1 and 5.6.2) that may be split over several
// lines. It is strict: an empty element is an error, as is a list without elements. The error says which element is
// wrong, counting from 1, and repeats no more than one byte of it.
func ParseTokenList(values []string) ([]string, error) {
	var tokens []string
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			token := trimSpace(element)
			if token == "" {
				return nil, errors.New(nth(len(tokens)) + " is empty; each must be a token")
			}
			for i := range len(token) {
				if !isTokenByte(token[i]) {
					return nil, errors.New(nth(len(tokens)) + " contains " + quote(token[i:i+1]) + "; each must be a token")
				}
			}
			tokens = append(tokens, token)
		}
	}
	if len(tokens) == 0 {
		return nil, errors.New(nth(0) + " is missing")
	}
	return tokens, nil
}

// nth names an element by its index.
func nth(i int) string { return "element " + strconv.Itoa(i+1) }

// listContains reports whether a comma-separated list holds the token, in any case of letters. It passes over what is
// no token: Upgrade may name other protocols with versions (RFC 9110 7.8).
func listContains(values []string, lower string) bool {
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			if equalASCIIFold(trimSpace(element), lower) {
				return true
			}
		}
	}
	return false
}

// equalASCIIFold compares s with a string in lower case. strings.EqualFold folds Unicode: to it, the Kelvin sign is a k.
func equalASCIIFold(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		b := s[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != lower[i] {
			return false
		}
	}
	return true
}

// trimSpace cuts optional white space as HTTP knows it (RFC 9110 5.6.3).
func trimSpace(s string) string { return strings.Trim(s, " \t") }

// isTokenByte reports whether a token may contain b (RFC 9110 5.6.2). It is the same set as RFC 2616's, to which
// RFC 6455 refers.
func isTokenByte(b byte) bool { return tokenBytes[b] }

var tokenBytes = func() (set [256]bool) {
	const others = "!#$%&'*+-.^_`|~"
	for b := range set {
		c := byte(b)
		set[b] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(others, c) >= 0
	}
	return set
}()

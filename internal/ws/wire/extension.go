package wire

import (
	"errors"
	"strings"
)

// Extension is an element of Sec-WebSocket-Extensions (RFC 6455 9.1): one offer of a client, or what a server agreed to.
type Extension struct {
	Name   string
	Params []ExtensionParam // in their order; a name may come twice
}

// ExtensionParam is a parameter of an Extension.
type ExtensionParam struct {
	Name  string
	Value string // a token, also where it came quoted; empty: the parameter has no value
}

// Extensions returns what Sec-WebSocket-Extensions offers, in the client's order, from all its lines. Without the field
// there are no offers. It judges the grammar alone: whether an offer means something is up to the extension.
//
// The error says which element breaks the grammar, counting from 1. RFC 6455 9.1 fails the connection then; Holdfast goes
// on without extensions, as an endpoint does that knows none.
func Extensions(header map[string][]string) (offers []Extension, err error) {
	for _, value := range header[headerExtensions] {
		s := scanner{rest: value}
		for s.space(); s.rest != ""; s.space() {
			if s.take(',') {
				continue // an empty element; RFC 2616 2.1, which RFC 6455 2.1 takes its lists from, allows it
			}
			e, err := s.extension()
			if err != nil {
				return nil, errors.New(nth(len(offers)) + " " + err.Error())
			}
			offers = append(offers, e)
		}
	}
	if len(header[headerExtensions]) > 0 && len(offers) == 0 {
		return nil, errors.New(nth(0) + " is missing")
	}
	return offers, nil
}

// scanner reads a header field from its start.
type scanner struct{ rest string }

var (
	errNoToken   = errors.New("lacks a token")
	errUnquoted  = errors.New("has a quoted value without an end")
	errNotQuoted = errors.New("has a quoted value that is no token")
	errTrailing  = errors.New("goes on with neither \";\" nor \",\"")
)

// extension reads up to the comma behind an element, or to the end.
func (s *scanner) extension() (e Extension, err error) {
	if e.Name, err = s.token(); err != nil {
		return e, err
	}
	for s.space(); s.take(';'); s.space() {
		var p ExtensionParam
		s.space()
		if p.Name, err = s.token(); err != nil {
			return e, err
		}
		s.space()
		if s.take('=') {
			s.space() // RFC 2616 2.1 implies white space between any two words
			if p.Value, err = s.value(); err != nil {
				return e, err
			}
		}
		e.Params = append(e.Params, p)
	}
	if s.rest != "" && s.rest[0] != ',' {
		return e, errTrailing
	}
	return e, nil
}

// value reads a token or a quoted string. RFC 6455 9.1: "When using the quoted-string syntax variant, the value after
// quoted-string unescaping MUST conform to the 'token' ABNF."
func (s *scanner) value() (string, error) {
	if !s.take('"') {
		return s.token()
	}
	var plain strings.Builder
	for i := 0; i < len(s.rest); i++ {
		switch b := s.rest[i]; {
		case b == '"':
			s.rest = s.rest[i+1:]
			if plain.Len() == 0 {
				return "", errNotQuoted
			}
			return plain.String(), nil
		case b == '\\' && i+1 < len(s.rest): // the next byte stands for itself
			i++
			b = s.rest[i]
			fallthrough
		default:
			if !isTokenByte(b) {
				return "", errNotQuoted
			}
			plain.WriteByte(b)
		}
	}
	return "", errUnquoted
}

func (s *scanner) token() (string, error) {
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	if n == 0 {
		return "", errNoToken
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	return token, nil
}

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }

// take takes the next byte if it is b.
func (s *scanner) take(b byte) bool {
	if s.rest == "" || s.rest[0] != b {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

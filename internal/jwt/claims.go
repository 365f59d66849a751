package jwt

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Claims are what a token says, after it was accepted.
type Claims struct {
	// Expires is when the token is accepted no more, leeway included; zero: never.
	Expires time.Time

	all map[string]any
}

// lookup finds a claim by its name or, if none has it, by the names of objects and one in the innermost, joined by ".":
// issuers use names like "https://example.org/roles" as well as objects. nil: there is none.
func lookup(in map[string]any, name string) any {
	if value, ok := in[name]; ok {
		return value
	}
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		if inner, ok := in[name[:i]].(map[string]any); ok {
			if value := lookup(inner, name[i+1:]); value != nil {
				return value
			}
		}
	}
	return nil
}

// Has reports whether there is a claim that is not null.
func (c *Claims) Has(name string) bool { return lookup(c.all, name) != nil }

// Text is the text of a claim: a string as it is, anything else as JSON. ok is false if there is none.
func (c *Claims) Text(name string) (text string, ok bool) {
	value := lookup(c.all, name)
	switch v := value.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return "", false
	}
	return strings.TrimSuffix(b.String(), "\n"), true
}

// List is a claim with several words: a list of strings, or a string with blanks between them, as in RFC 8693 4.2. A
// claim that is missing has none. It fails with a *Refusal if the claim is something else.
func (c *Claims) List(name string) ([]string, error) {
	switch v := lookup(c.all, name).(type) {
	case nil:
		return nil, nil
	case string:
		return strings.Fields(v), nil
	case []any:
		words := make([]string, 0, len(v))
		for _, entry := range v {
			word, ok := entry.(string)
			if !ok {
				return nil, refuse(Claim, "claim %s is not a list of strings", name)
			}
			words = append(words, word)
		}
		return words, nil
	}
	return nil, refuse(Claim, "claim %s is neither a list of strings nor a string", name)
}

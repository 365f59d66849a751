package app

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// field is one of the configuration that holds a word.
type field struct {
	key    string // "nats.users[].password"
	secret bool
}

func wordsOf(t reflect.Type, prefix string) (all []field) {
	for _, f := range reflect.VisibleFields(t) {
		key, inner := prefix+yamlKey(f), f.Type
		if yamlKey(f) == "" {
			continue
		}
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
			key, inner = key+"[]", inner.Elem()
		}
		_, secret := f.Tag.Lookup("secret")
		switch inner.Kind() {
		case reflect.Struct:
			all = append(all, wordsOf(inner, key+".")...)
		case reflect.String:
			all = append(all, field{key, secret})
		}
	}
	return all
}

// looksSecret matches the keys of secrets. Files with them and their hashes end otherwise.
var looksSecret = regexp.MustCompile(`(^|[._])(password|token|secret|seed)$`)

// Whoever adds a secret to the configuration marks it, and so keeps it out of everything that is shown.
func TestEverySecretIsMarked(t *testing.T) {
	for _, f := range wordsOf(reflect.TypeFor[Config](), "") {
		if looksSecret.MatchString(f.key) != f.secret {
			t.Errorf("%s is marked as a secret: %t", f.key, f.secret)
		}
	}
}

// A secret without quotes may be a number for YAML, or an alias, or no YAML at all.
func TestThreatSecretOfAWrongKindIsNotShown(t *testing.T) {
	const digits = "4711471147114711"
	n := 0
	for _, f := range wordsOf(reflect.TypeFor[Config](), "") {
		if !f.secret {
			continue
		}
		n++
		for _, value := range []string{digits, "[" + digits + "]", "{a: " + digits + "}", "!!binary " + digits, "&a " + digits, "*" + digits, "\"" + digits} {
			_, err := loadText(t, nest(f.key, value))
			if err == nil || strings.Contains(err.Error(), digits) {
				t.Errorf("%s: %s: %v", f.key, value, err)
			}
		}
	}
	if n < 5 {
		t.Errorf("%d secrets were found", n)
	}
}

// nest is a file with that value of a key.
func nest(key, value string) string {
	first, rest, deeper := strings.Cut(key, ".")
	name, list := strings.CutSuffix(first, "[]")
	switch {
	case !deeper:
		return name + ": " + value
	case list:
		return name + ": [{" + nest(rest, value) + "}]"
	}
	return name + ": {" + nest(rest, value) + "}"
}

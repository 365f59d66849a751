package app

import (
	"fmt"
	"strings"
)

// origin is the place that a value came from: a line of the file, or else a flag or variable.
type origin struct {
	place  string // "holdfast.yaml:12", "--listen" or "HOLDFAST_LISTEN"
	inFile bool
}

// origins holds the place of each value that is not a default, by its key: "endpoints[0].path".
type origins map[string]origin

// of is the place of a value or, when that is a default, of what it is a part of.
func (o origins) of(key string) origin {
	for {
		if at, ok := o[key]; ok || key == "" {
			return at
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
}

// replace notes a new place for a value, and forgets those of its parts.
func (o origins) replace(key string, at origin) {
	for part := range o {
		if strings.HasPrefix(part, key+"[") || strings.HasPrefix(part, key+".") {
			delete(o, part)
		}
	}
	o[key] = at
}

// Problem makes an error about the value of a key, with the place that the value came from.
func (c Config) Problem(key, format string, args ...any) error {
	return problem(c.origins.of(key), key, format, args...)
}

func problem(at origin, key, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	switch {
	case at.place == "":
		return fmt.Errorf("%s: %s", key, text)
	case at.inFile && key != "":
		return fmt.Errorf("%s: %s: %s", at.place, key, text)
	}
	return fmt.Errorf("%s: %s", at.place, text) // a flag or a variable names its key
}

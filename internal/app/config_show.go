package app

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Show writes the effective configuration as a file that Load accepts, with the place of every value
// that is not a default. Secrets are masked.
func (c Config) Show() string {
	c.NATS.URL = maskURL(c.NATS.URL)
	if c.NATS.URL != "" {
		c.NATS.Listen = "" // beside a URL it is a contradiction
	}
	w := &fileWriter{config: c}
	for _, set := range settings() {
		if at, given := c.origins[set.key]; given && strings.HasPrefix(set.key, "--") {
			fmt.Fprintf(&w.out, "# %s: %v, which no file can say\n", at.place, reflect.ValueOf(c).FieldByIndex(set.index))
		}
	}
	w.fields(reflect.ValueOf(c), "", "")
	return w.out.String()
}

// fileWriter writes a Config by the tags of its fields.
type fileWriter struct {
	config Config
	out    strings.Builder
}

func (w *fileWriter) fields(v reflect.Value, key, indent string) {
	for _, f := range reflect.VisibleFields(v.Type()) {
		name := yamlKey(f)
		value := v.FieldByIndex(f.Index)
		if name == "" || value.IsZero() && strings.HasSuffix(f.Tag.Get("yaml"), ",omitempty") {
			continue
		}
		if _, secret := f.Tag.Lookup("secret"); secret && !value.IsZero() {
			value = reflect.ValueOf(mask)
		}
		w.field(value, name, join(key, name), indent)
	}
}

func (w *fileWriter) field(v reflect.Value, name, key, indent string) {
	_, set := w.config.origins[key]
	if text, ok := inline(v); ok {
		switch {
		case set:
			w.line("%s%s: %s  # %s", indent, name, text, w.config.origins[key].place)
		case name == "message_size": // said aloud, it would be a demand on the NATS server
			w.line("%s# %s: %s, or what NATS takes if that is less", indent, name, text)
		default:
			w.line("%s%s: %s", indent, name, text)
		}
		return
	}
	w.line("%s%s:", indent, name)
	if v.Kind() != reflect.Slice {
		w.fields(reflect.Indirect(v), key, indent+"  ")
		return
	}
	for i := range v.Len() {
		w.entry(v.Index(i), fmt.Sprintf("%s[%d]", key, i), indent+"  ")
	}
}

// entry writes an element of a list: its first line is where the dash goes.
func (w *fileWriter) entry(v reflect.Value, key, indent string) {
	start := w.out.Len()
	w.fields(v, key, indent+"  ")
	text := w.out.String()
	w.out.Reset()
	w.out.WriteString(text[:start] + indent + "- " + text[start+len(indent)+2:])
}

func (w *fileWriter) line(format string, args ...any) { fmt.Fprintf(&w.out, format+"\n", args...) }

// mask is what Show prints in the place of a secret. It is too short to be one.
const mask = "***"

// inline is a value that fits on the line of its key.
func inline(v reflect.Value) (text string, ok bool) {
	switch value := v.Interface().(type) {
	case encoding.TextMarshaler:
		return fmt.Sprint(value), true
	case []string:
		return flow(value), true
	case map[string]string:
		return table(value), true
	case []Listener:
		return flow(plainAddresses(value)), len(plainAddresses(value)) == len(value)
	case string:
		return quoted(value), true
	case bool, int:
		return fmt.Sprint(value), true
	}
	return "", false
}

func plainAddresses(all []Listener) (addresses []string) {
	for _, l := range all {
		if l == (Listener{Address: l.Address}) {
			addresses = append(addresses, l.Address)
		}
	}
	return addresses
}

func flow(words []string) string {
	words = slices.Clone(words)
	for i, word := range words {
		words[i] = quoted(word)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func table(words map[string]string) string {
	var entries []string
	for _, key := range slices.Sorted(maps.Keys(words)) {
		entries = append(entries, quoted(key)+": "+quoted(words[key]))
	}
	return "{" + strings.Join(entries, ", ") + "}"
}

// bareWord matches the words that mean the same with and without quotes, wherever they stand.
var bareWord = regexp.MustCompile(`^[A-Za-z./][A-Za-z0-9_./:-]*[A-Za-z0-9_/]$|^/$`)

func quoted(word string) string {
	if !bareWord.MatchString(word) || slices.Contains([]string{"true", "false", "null"}, strings.ToLower(word)) {
		return strconv.Quote(word)
	}
	return word
}

package app

import (
	"encoding"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Sources are what an operator said, the strongest first.
type Sources struct {
	// Flags holds the values of the flags whose names are in Given.
	Flags Config
	Given []string
	// Variable looks a variable up. Empty is as good as unset. Nil: there are none.
	Variable func(name string) (string, bool)
	// File is the configuration file; empty: none.
	File string
}

// Load puts the configuration together: defaults, the file, variables, flags. It returns all problems of
// the file and the variables joined, or else those of Validate.
func Load(s Sources) (Config, error) {
	c := Default()
	c.origins = origins{}
	problems := c.readFile(s.File)
	for _, set := range settings() {
		value, at, err := s.lookup(set)
		if err != nil {
			problems = append(problems, problem(at, set.key, "%s", err))
		}
		if !value.IsValid() {
			continue
		}
		reflect.ValueOf(&c).Elem().FieldByIndex(set.index).Set(value)
		c.origins.replace(set.key, at)
	}
	if len(problems) > 0 {
		return c, errors.Join(problems...)
	}
	return c, c.Validate()
}

// lookup finds what a flag or else a variable says. The value is invalid if neither does.
func (s Sources) lookup(set setting) (value reflect.Value, at origin, err error) {
	for _, name := range s.Given {
		if name == set.flag {
			return reflect.ValueOf(s.Flags).FieldByIndex(set.index), origin{place: "--" + name}, nil
		}
	}
	if s.Variable == nil {
		return value, at, nil
	}
	at = origin{place: set.variable()}
	text, _ := s.Variable(at.place)
	if text == "" {
		return value, at, nil
	}
	v := reflect.New(reflect.TypeFor[Config]().FieldByIndex(set.index).Type).Elem()
	if err := setText(v, text); err != nil {
		return value, at, err
	}
	return v, at, nil
}

// setting is a row of the table: a field that a flag and a variable can set.
type setting struct {
	flag  string
	key   string // as in the file, or "--" and the flag if the file cannot say it
	index []int
}

func (s setting) variable() string { return Variable(s.flag) }

// Variable is the name of the variable that does what a flag does.
func Variable(flag string) string {
	return "HOLDFAST_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// settings reads the table off the tags of Config.
func settings() []setting { return settingsOf(reflect.TypeFor[Config](), "", nil) }

func settingsOf(t reflect.Type, prefix string, index []int) (all []setting) {
	for _, f := range reflect.VisibleFields(t) {
		at := slices.Concat(index, f.Index)
		flag, key := f.Tag.Get("name"), prefix+yamlKey(f)
		if yamlKey(f) == "" {
			key = "--" + flag
		}
		if _, part := f.Tag.Lookup("embed"); part {
			all = append(all, settingsOf(f.Type, key+".", at)...)
		} else if flag != "" {
			all = append(all, setting{flag: flag, key: key, index: at})
		}
	}
	return all
}

// yamlKey is the key of a field in the file; empty: none.
func yamlKey(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if key == "-" {
		return ""
	}
	return key
}

// DefaultText is the default of a flag as one would write it; empty if there is none.
func DefaultText(flag string) string {
	for _, set := range settings() {
		if set.flag != flag {
			continue
		}
		switch v := reflect.ValueOf(Default()).FieldByIndex(set.index).Interface().(type) {
		case []Listener:
			return v[0].Address
		case []string:
			return strings.Join(v, ",")
		case bool:
			return ""
		default:
			return fmt.Sprint(v)
		}
	}
	return ""
}

// setText reads the text of a variable, or a word of the file.
func setText(v reflect.Value, text string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		v.SetInt(int64(n))
	case reflect.Slice:
		for part := range strings.SplitSeq(text, ",") {
			entry := reflect.New(v.Type().Elem()).Elem()
			if err := setText(entry, strings.TrimSpace(part)); err != nil {
				return err
			}
			v.Set(reflect.Append(v, entry))
		}
	default:
		return fmt.Errorf("%q cannot become a %s", text, v.Type())
	}
	return nil
}

// reason leaves out what we say ourselves: which file it was.
func reason(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// readFile reads the file into the configuration.
func (c *Config) readFile(name string) []error {
	if name == "" {
		return nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return []error{fmt.Errorf("%s: %w", name, reason(err))}
	}
	f := &fileReader{name: name, origins: c.origins}
	f.file(reflect.ValueOf(c).Elem(), text)
	return f.problems
}

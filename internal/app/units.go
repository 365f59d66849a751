package app

import (
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written with a unit: "64KiB", "1MiB".
type Size int64

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

var sizeUnits = []struct {
	suffix string
	factor Size
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

// UnmarshalText reads a size. A bare number is refused: its unit would be a guess.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 62)
		if err != nil || Size(n) > 1<<62/u.factor {
			break
		}
		*s = Size(n) * u.factor
		return nil
	}
	return fmt.Errorf("%q is not a size: want a whole number with a unit B, KiB, MiB or GiB, such as 1MiB", text)
}

// MarshalText writes the size in the largest unit that divides it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string {
	for _, u := range sizeUnits {
		if s >= u.factor && s%u.factor == 0 {
			return fmt.Sprintf("%d%s", s/u.factor, u.suffix)
		}
	}
	return fmt.Sprintf("%dB", s)
}

// Duration is a span of time, written with a unit: "30s", "10m".
type Duration time.Duration

// Units of Duration.
const (
	Millisecond = Duration(time.Millisecond)
	Second      = Duration(time.Second)
	Minute      = Duration(time.Minute)
	Hour        = Duration(time.Hour)
)

// UnmarshalText reads a duration as time.ParseDuration does; it must not be negative, and "0" has no
// unit.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 || strings.Trim(string(text), "+-0") == "" {
		return fmt.Errorf("%q is not a time: want a number with a unit ms, s, m or h, such as 30s", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Level is the least important kind of log line that is written.
type Level slog.Level

var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// UnmarshalText reads debug, info, warn or error.
func (l *Level) UnmarshalText(text []byte) error {
	level, ok := levels[string(text)]
	if !ok {
		return fmt.Errorf("%q is not a log level: want debug, info, warn or error", text)
	}
	*l = Level(level)
	return nil
}

// MarshalText writes the level.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func (l Level) String() string { return strings.ToLower(slog.Level(l).String()) }

// Level makes a slog.Leveler of it.
func (l Level) Level() slog.Level { return slog.Level(l) }

// FileMode is the mode of a Unix socket, written in octal: "0660".
type FileMode fs.FileMode

// UnmarshalText reads three octal digits, with or without a 0 before them.
func (m *FileMode) UnmarshalText(text []byte) error {
	digits, _ := strings.CutPrefix(string(text), "0")
	n, err := strconv.ParseUint(digits, 8, 32)
	if err != nil || len(digits) != 3 || n == 0 {
		return fmt.Errorf("%q is not a file mode: want octal digits such as 0660", text)
	}
	*m = FileMode(n)
	return nil
}

// MarshalText writes the mode.
func (m FileMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func (m FileMode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// UnmarshalText reads an address with its TLS files, mode and so on, if any, behind it as a URL would have them:
// ":8443?cert=FILE&key=FILE&client_ca=FILE", "unix:/path?mode=0660".
func (l *Listener) UnmarshalText(text []byte) error {
	address, more, found := strings.Cut(string(text), "?")
	*l = Listener{Address: address}
	if !found {
		return nil
	}
	var files TLS
	for part := range strings.SplitSeq(more, "&") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "cert":
			files.Cert = value
		case "key":
			files.Key = value
		case "client_ca":
			files.ClientCA = value
		case "mode":
			if err := l.Mode.UnmarshalText([]byte(value)); err != nil {
				return err
			}
		case "proxy_protocol":
			l.ProxyProtocol = value
		default:
			return fmt.Errorf("%q is not an address: want cert=FILE, key=FILE, client_ca=FILE, mode=MODE and proxy_protocol=POLICY behind \"?\", joined by \"&\"", text)
		}
	}
	if files != (TLS{}) {
		l.TLS = &files
	}
	return nil
}

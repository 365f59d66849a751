package bus

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// jsonObject writes one object in protobuf's JSON mapping: fields with their zero value are left out,
// 64-bit integers are strings. It is written by hand because the library puts random white space in its
// output on purpose, and consumers (and repeats of a close event) get the same bytes each time.
type jsonObject struct {
	dst   []byte
	comma bool
}

func beginObject(dst []byte) jsonObject { return jsonObject{dst: append(dst, '{')} }

func (o *jsonObject) end() []byte { return append(o.dst, '}') }

// name begins a field; names are our own and need no escaping.
func (o *jsonObject) name(n string) {
	if o.comma {
		o.dst = append(o.dst, ',')
	}
	o.comma = true
	o.dst = append(o.dst, '"')
	o.dst = append(o.dst, n...)
	o.dst = append(o.dst, '"', ':')
}

func (o *jsonObject) str(n, v string) {
	if v != "" {
		o.name(n)
		o.dst = appendString(o.dst, v)
	}
}

func (o *jsonObject) boolean(n string, v bool) {
	if v {
		o.name(n)
		o.dst = append(o.dst, "true"...)
	}
}

func (o *jsonObject) uint32(n string, v uint32) {
	if v != 0 {
		o.name(n)
		o.dst = strconv.AppendUint(o.dst, uint64(v), 10)
	}
}

func (o *jsonObject) uint64(n string, v uint64) {
	if v != 0 {
		o.name(n)
		o.dst = append(o.dst, '"')
		o.dst = strconv.AppendUint(o.dst, v, 10)
		o.dst = append(o.dst, '"')
	}
}

func (o *jsonObject) time(n string, t time.Time) {
	if t.IsZero() {
		return
	}
	o.name(n)
	o.dst = append(o.dst, '"')
	o.dst = t.UTC().AppendFormat(o.dst, "2006-01-02T15:04:05.000000000")
	o.dst = append(trimNanos(o.dst), 'Z', '"')
}

// duration writes a measured time, which is above zero.
func (o *jsonObject) duration(n string, d time.Duration) {
	if d <= 0 {
		return
	}
	o.name(n)
	o.dst = append(o.dst, '"')
	o.dst = strconv.AppendInt(o.dst, int64(d/time.Second), 10)
	o.dst = append(o.dst, '.')
	nanos := strconv.Itoa(int(d%time.Second) + 1e9) // a leading 1 keeps the zeros
	o.dst = append(o.dst, nanos[1:]...)
	o.dst = append(trimNanos(o.dst), 's', '"')
}

// trimNanos cuts nine fractional digits to six, three or none when the rest is zero.
func trimNanos(dst []byte) []byte {
	for range 3 {
		if !strings.HasSuffix(string(dst[len(dst)-3:]), "000") {
			return dst
		}
		dst = dst[:len(dst)-3]
	}
	return dst[:len(dst)-1] // the point
}

func (o *jsonObject) list(n string, values []string) {
	if len(values) == 0 {
		return
	}
	o.name(n)
	sep := byte('[')
	for _, v := range values {
		o.dst = append(o.dst, sep)
		o.dst = appendString(o.dst, v)
		sep = ','
	}
	o.dst = append(o.dst, ']')
}

// pair is one entry of a map.
type pair struct{ Name, Value string }

// pairs writes a map sorted by key.
func (o *jsonObject) pairs(n string, entries []pair) {
	if len(entries) == 0 {
		return
	}
	slices.SortFunc(entries, func(a, b pair) int { return strings.Compare(a.Name, b.Name) })
	o.name(n)
	sep := byte('{')
	for _, e := range entries {
		o.dst = append(o.dst, sep)
		o.dst = appendString(o.dst, e.Name)
		o.dst = append(o.dst, ':')
		o.dst = appendString(o.dst, e.Value)
		sep = ','
	}
	o.dst = append(o.dst, '}')
}

// appendString appends a JSON string. Bytes that are not UTF-8 (a client may put any in a URL or a
// header) become U+FFFD, one for each run of them.
func appendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	dst = append(dst, '"')
	plain := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[plain:i]...)
		dst = appendEscape(dst, c)
		plain = i + 1
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, c byte) []byte {
	const lowerHex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15])
}

package app

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// fileReader reads the YAML file into a Config by the tags of its fields. It goes on after a problem, so
// that all are told at once, and notes the line of every value.
type fileReader struct {
	name     string
	origins  origins
	anchors  map[string]ast.Node
	secret   bool // what is being read must not be shown
	problems []error
}

func (r *fileReader) file(into reflect.Value, text []byte) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		r.syntax(err)
		return
	}
	if len(file.Docs) > 1 {
		r.refuse(file.Docs[1].Start.Position.Line, "", "a second document: want one")
		return
	}
	r.anchors = make(map[string]ast.Node)
	for _, doc := range file.Docs {
		if doc.Body != nil {
			r.value(into, doc.Body, "")
		}
	}
}

func (r *fileReader) syntax(err error) {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		r.refuse(1, "", "%s", err)
		return
	}
	r.refuse(at.GetToken().Position.Line, "", "%s", at.GetMessage())
}

func (r *fileReader) place(line int) origin {
	return origin{place: fmt.Sprintf("%s:%d", r.name, line), inFile: true}
}

func (r *fileReader) refuse(line int, key, format string, args ...any) {
	r.problems = append(r.problems, problem(r.place(line), key, format, args...))
}

// value reads a node into what its key stands for.
func (r *fileReader) value(into reflect.Value, n ast.Node, key string) {
	line := n.GetToken().Position.Line
	switch node := n.(type) {
	case *ast.AnchorNode:
		r.value(into, node.Value, key)
		r.anchors[node.Name.GetToken().Value] = node.Value // only now: it cannot hold itself
	case *ast.AliasNode:
		name := node.Value.GetToken().Value
		if target, ok := r.anchors[name]; ok {
			r.value(into, target, key)
			return
		}
		if r.secret {
			name = mask
		}
		r.refuse(line, key, "*%s has no anchor &%s before it", name, name)
	case *ast.MappingNode:
		r.mapping(into, node, key)
	case *ast.SequenceNode:
		r.sequence(into, node, key)
	case *ast.NullNode:
		r.refuse(line, key, "empty: want %s, or no such key for the default", wanted(into.Type()))
	default:
		r.scalar(into, n, key)
	}
}

func (r *fileReader) mapping(into reflect.Value, n *ast.MappingNode, key string) {
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		if d, ok := reflect.TypeAssert[defaulter](into); ok {
			d.SetDefaults()
		}
		into = into.Elem()
	}
	if into.Kind() == reflect.Map {
		r.table(into, n, key)
		return
	}
	if into.Kind() != reflect.Struct {
		r.refuse(n.GetToken().Position.Line, key, "a mapping: want %s", wanted(into.Type()))
		return
	}
	r.merge(into, n, key)
	for _, entry := range n.Values {
		if entry.Key.IsMergeKey() {
			continue
		}
		line, name := entry.Key.GetToken().Position.Line, entry.Key.GetToken().Value
		field, secret, ok := fieldOf(into, name)
		if !ok {
			r.refuse(line, join(key, name), "unknown key: known here are %s", strings.Join(keysOf(into.Type()), ", "))
			continue
		}
		r.origins[join(key, name)] = r.place(line)
		r.secret = secret
		r.value(field, entry.Value, join(key, name))
		r.secret = false
	}
}

// defaulter is a part of the configuration that is there only if the file names it.
type defaulter interface{ SetDefaults() }

// table reads a mapping whose keys are the operator's own.
func (r *fileReader) table(into reflect.Value, n *ast.MappingNode, key string) {
	into.Set(reflect.MakeMap(into.Type()))
	for _, entry := range n.Values {
		line, name := entry.Key.GetToken().Position.Line, entry.Key.GetToken().Value
		value := reflect.New(into.Type().Elem()).Elem()
		r.origins[join(key, name)] = r.place(line)
		r.value(value, entry.Value, join(key, name))
		into.SetMapIndex(reflect.ValueOf(name), value)
	}
}

// merge reads what "<<" brings in; the mapping's own keys come after it and win.
func (r *fileReader) merge(into reflect.Value, n *ast.MappingNode, key string) {
	for _, entry := range n.Values {
		if entry.Key.IsMergeKey() {
			r.value(into, entry.Value, key)
		}
	}
}

func (r *fileReader) sequence(into reflect.Value, n *ast.SequenceNode, key string) {
	if into.Kind() != reflect.Slice {
		r.refuse(n.GetToken().Position.Line, key, "a list: want %s", wanted(into.Type()))
		return
	}
	list := reflect.MakeSlice(into.Type(), len(n.Values), len(n.Values))
	into.Set(list)
	for i, value := range n.Values {
		at := fmt.Sprintf("%s[%d]", key, i)
		r.origins[at] = r.place(value.GetToken().Position.Line)
		if endpoint, ok := reflect.TypeAssert[*Endpoint](list.Index(i).Addr()); ok {
			*endpoint = DefaultEndpoint()
		}
		r.value(list.Index(i), value, at)
	}
}

func (r *fileReader) scalar(into reflect.Value, n ast.Node, key string) {
	line, text := n.GetToken().Position.Line, n.GetToken().Value
	if literal, ok := n.(*ast.LiteralNode); ok {
		text = literal.Value.Value
	}
	if !fits(into, n) {
		r.refuse(line, key, "%s is %s: want %s", r.shown(n, text), kindOf(n), wanted(into.Type()))
		return
	}
	if err := setText(into, text); err != nil {
		r.refuse(line, key, "%s", err)
	}
}

func (r *fileReader) shown(n ast.Node, text string) string {
	switch {
	case r.secret:
		return mask
	case kindOf(n) == "text":
		return strconv.Quote(text)
	}
	return text
}

// fits reports whether a word of this kind can become a value.
func fits(into reflect.Value, n ast.Node) bool {
	if _, ok := reflect.TypeAssert[encoding.TextUnmarshaler](into.Addr()); ok {
		return kindOf(n) != "a tag"
	}
	switch into.Kind() {
	case reflect.String:
		return kindOf(n) == "text"
	case reflect.Int:
		return kindOf(n) == "a number"
	case reflect.Bool:
		return kindOf(n) == "true or false"
	}
	return false
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	}
	return "a tag"
}

// wanted says what a value of a type looks like in the file.
func wanted(t reflect.Type) string {
	switch reflect.Zero(t).Interface().(type) {
	case Size:
		return "a size such as 1MiB"
	case Duration:
		return "a time such as 30s"
	case Level:
		return "debug, info, warn or error"
	case Listener:
		return "an address such as \":8080\", or a mapping with the keys " + strings.Join(keysOf(t), ", ")
	case FileMode:
		return "a file mode such as 0660"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "a mapping"
	case reflect.Struct:
		return "a mapping with the keys " + strings.Join(keysOf(t), ", ")
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	}
	return "text"
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

func fieldOf(v reflect.Value, key string) (field reflect.Value, secret, ok bool) {
	for _, f := range reflect.VisibleFields(v.Type()) {
		if name := yamlKey(f); name != "" && name == key {
			_, secret = f.Tag.Lookup("secret")
			return v.FieldByIndex(f.Index), secret, true
		}
	}
	return reflect.Value{}, false, false
}

func keysOf(t reflect.Type) (keys []string) {
	for _, field := range reflect.VisibleFields(t) {
		if key := yamlKey(field); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

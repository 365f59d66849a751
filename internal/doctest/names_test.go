package doctest_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/holdfast-broker/holdfast/proto/holdfast/v1" // for its place in the registry
)

var (
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notInSlug = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	inline    = regexp.MustCompile("`([^`\n]+)`")
)

// markdown lists every Markdown file of the repository.
func markdown(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root &&
			(strings.HasPrefix(name, ".") || slices.Contains([]string{"node_modules", "build", "dist", "bin"}, name)) {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			paths = append(paths, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
		}
		return nil
	})
	if err != nil || len(paths) < 6 {
		t.Fatalf("%v: %v", paths, err)
	}
	return paths
}

// slug is the anchor of a heading.
func slug(heading string) string {
	return strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

func TestLinksLeadSomewhere(t *testing.T) {
	for _, path := range markdown(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, path).text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(path), file))
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: nothing is at %s", path, m[1])
				continue
			}
			if anchor == "" || !strings.HasSuffix(target, ".md") {
				continue
			}
			if !slices.ContainsFunc(read(t, target).headings, func(h string) bool { return slug(h) == anchor }) {
				t.Errorf("%s: %s has no heading for #%s", path, target, anchor)
			}
		}
	}
}

// schema has the names of the public schema: RPCs by service, and the values of enums.
func schema() (rpcs map[string]bool, values map[string]bool) {
	rpcs, values = make(map[string]bool), make(map[string]bool)
	protoregistry.GlobalFiles.RangeFilesByPackage("holdfast.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				rpcs[string(s.FullName())+"/"+string(s.Methods().Get(j).Name())] = true
			}
		}
		enums := []protoreflect.EnumDescriptors{f.Enums()}
		for i := range f.Messages().Len() {
			enums = append(enums, f.Messages().Get(i).Enums())
		}
		for _, of := range enums {
			for i := range of.Len() {
				for j := range of.Get(i).Values().Len() {
					values[string(of.Get(i).Values().Get(j).Name())] = true
				}
			}
		}
		return true
	})
	return rpcs, values
}

// capitals matches what looks like the name of a reason, a cause, a fault or a status code.
var capitals = regexp.MustCompile(`^[A-Z][A-Z0-9_]{3,}$`)

// otherCapitals are names of others: of gRPC's health, Go's memory, and the algorithms of RFC 7518.
var otherCapitals = []string{
	"SERVING", "GOGC", "GOMEMLIMIT",
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
}

func TestNamesAreThoseOfTheSchema(t *testing.T) {
	rpcs, values := schema()
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		values[upper(c.String())] = true
	}
	for _, d := range documents(t) {
		all := d.whole()
		for _, m := range regexp.MustCompile(`holdfast\.v1\.\w+/\w+`).FindAllString(all, -1) {
			if !rpcs[m] {
				t.Errorf("%s: there is no RPC %s", d.path, m)
			}
		}
		for _, m := range inline.FindAllStringSubmatch(d.text, -1) {
			name := strings.TrimSuffix(m[1], ":")
			if capitals.MatchString(name) && !values[name] && !slices.Contains(otherCapitals, name) && !strings.HasPrefix(name, "HOLDFAST_") {
				t.Errorf("%s: the schema has no %s", d.path, name)
			}
		}
	}
}

// upper makes "DeadlineExceeded" "DEADLINE_EXCEEDED".
func upper(name string) string {
	return strings.ToUpper(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(name, "${1}_$2"))
}

func TestTheReadmeHasEveryVerb(t *testing.T) {
	var got []string
	for _, r := range read(t, "README.md").table(t, "The verbs") {
		for _, cell := range r {
			for _, word := range words(cell) {
				if regexp.MustCompile(`^[A-Z][a-z]`).MatchString(word) {
					got = append(got, word)
				}
			}
		}
	}
	rpcs, _ := schema()
	for _, verb := range got {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(rpcs)), func(rpc string) bool { return strings.HasSuffix(rpc, "/"+verb) }) {
			t.Errorf("there is no verb %s", verb)
		}
	}
	if len(got) != len(rpcs) {
		t.Errorf("the README has %d verbs, the schema %d", len(got), len(rpcs))
	}
}

// otherFlags are flags of other programs, and of one command of the broker, by document.
var otherFlags = map[string][]string{
	"docs/cluster.md":    {"nats", "force"},
	"examples/README.md": {"control", "nats", "namespace", "prefix"},
}

// otherVariables are not settings of the broker; the last one is a stream.
var otherVariables = []string{"HOLDFAST_CONTROL", "HOLDFAST_NATS", "HOLDFAST_NAMESPACE", "HOLDFAST_LIFE"}

func TestFlagsVariablesAndMetricsExist(t *testing.T) {
	known, metrics := flags(t), ownMetrics(t, stimulated(t))
	variables := slices.Clone(otherVariables)
	for _, f := range known {
		variables = append(variables, f.variable)
	}
	for _, d := range documents(t) {
		all := d.whole()
		for _, name := range regexp.MustCompile(`holdfast_[a-z_]+[a-z]`).FindAllString(all, -1) {
			if _, there := metrics[name]; !there {
				t.Errorf("%s: there is no metric %s", d.path, name)
			}
		}
		for _, name := range regexp.MustCompile(`HOLDFAST_[A-Z_]+[A-Z]`).FindAllString(all, -1) {
			if !slices.Contains(variables, name) {
				t.Errorf("%s: there is no variable %s", d.path, name)
			}
		}
		if slices.Contains(measurements, d.path) {
			continue // they tell of other programs
		}
		for _, m := range regexp.MustCompile(`(?:^|[\s'"`+"`"+`(])--([a-z][a-z-]*)`).FindAllStringSubmatch(all, -1) {
			if _, there := known[m[1]]; !there && m[1] != "help" && !slices.Contains(otherFlags[d.path], m[1]) {
				t.Errorf("%s: there is no flag --%s", d.path, m[1])
			}
		}
	}
}

// TestSettingsExist finds every setting that a document names, or the section of settings.
func TestSettingsExist(t *testing.T) {
	there := make(map[string]bool)
	for key := range documentedKeys(t) {
		for key = withinEntry(key); !there[key]; key = key[:max(0, strings.LastIndexByte(key, '.'))] {
			there[key] = true
		}
	}
	setting := regexp.MustCompile(`^(clients|control|ops|nats|drain|log|endpoints|admission|compression|heartbeat|limits|rates)\.[a-z_.]+$`)
	for _, d := range documents(t) {
		for _, m := range inline.FindAllStringSubmatch(d.text, -1) {
			if name := withinEntry(m[1]); setting.MatchString(name) && !there[name] {
				t.Errorf("%s: there is no setting %s", d.path, m[1])
			}
		}
	}
}

// withinEntry is a key below an entry of a list, as documents write it that speak of one endpoint or namespace.
func withinEntry(key string) string {
	return strings.TrimPrefix(strings.TrimPrefix(key, "endpoints[]."), "namespaces[].")
}

func TestTargetsOfMakeExist(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range documents(t) {
		for _, m := range regexp.MustCompile("[`\n]make ([a-z-]+)").FindAllStringSubmatch("\n"+d.text, -1) {
			if !strings.Contains("\n"+string(b), "\n"+m[1]+":") {
				t.Errorf("%s: there is no make %s", d.path, m[1])
			}
		}
	}
}

// TestProofsExist finds every test that a document names.
func TestProofsExist(t *testing.T) {
	there := make(map[string]bool)
	for _, top := range []string{"internal", "cmd", "bench", "chaos", "examples"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(b), -1) {
				there[m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range documents(t) {
		for _, m := range inline.FindAllStringSubmatch(d.text, -1) {
			if regexp.MustCompile(`^Test[A-Z]\w+$`).MatchString(m[1]) && !there[m[1]] && m[1] != "TestName" {
				t.Errorf("%s: there is no test %s", d.path, m[1])
			}
		}
	}
}

// TestTheReadmeIsShort keeps the first page one.
func TestTheReadmeIsShort(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n > 200 {
		t.Errorf("README.md has %d lines", n)
	}
}

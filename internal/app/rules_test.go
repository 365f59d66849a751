package app

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/holdfast-broker/holdfast/"

// rules are the walls of the house: what each package may import of ours and of others, and why.
var rules = []struct {
	pkg     string
	ours    []string // packages of this module
	others  []string // prefixes of modules
	because string
}{
	{
		pkg:     "internal/hub",
		because: "the core must be testable with two fakes and outlive every transport",
	},
	{
		pkg:     "internal/ws/wire",
		because: "the protocol is bytes and state; with I/O in it, it could not be tested at every split of its input",
	},
	{
		pkg: "internal/ws", ours: []string{"internal/ws/wire"}, others: []string{"golang.org/x/sys/"},
		because: "it is a WebSocket library that could be published tomorrow: no NATS, gRPC, protobuf or hub",
	},
	{
		pkg: "internal/bus", ours: []string{"internal/hub", "proto/holdfast/v1"},
		others:  []string{"github.com/nats-io/", "google.golang.org/protobuf/"},
		because: "it turns events into subjects and payloads, and sees no socket and no status code",
	},
	{
		pkg: "internal/rpc", ours: []string{"internal/hub", "proto/holdfast/v1"},
		others: []string{
			"google.golang.org/grpc", "google.golang.org/protobuf/", "google.golang.org/genproto/googleapis/rpc",
		},
		because: "it validates, calls the hub and answers, and sees no frame and no subject",
	},
	{
		pkg: "internal/demo", ours: []string{"proto/holdfast/v1"},
		others:  []string{"google.golang.org/grpc", "google.golang.org/protobuf/", "google.golang.org/genproto/googleapis/rpc", "github.com/nats-io/nats.go"},
		because: "it shows what anybody can build: it speaks the public contracts alone",
	},
	{
		pkg: "cmd/broker", ours: []string{"internal/app"},
		others:  []string{"github.com/alecthomas/kong", "github.com/goccy/go-yaml"},
		because: "it only parses and exits",
	},
}

// noIO are packages of the standard library that the protocol without I/O must not see.
var noIO = []string{"net", "net/http", "os", "time", "sync", "sync/atomic", "io", "bufio", "context"}

type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	GoFiles    []string
	Dir        string
}

func packages(t *testing.T) map[string]goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Standard,Imports,GoFiles,Dir", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := make(map[string]goPackage)
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		found[strings.TrimPrefix(p.ImportPath, module)] = p
	}
}

func TestImportsKeepTheWalls(t *testing.T) {
	all := packages(t)
	for _, r := range rules {
		p, ok := all[r.pkg]
		if !ok {
			t.Errorf("the rule for %s is about a package that no longer exists", r.pkg)
		}
		for _, imported := range p.Imports {
			own, isOurs := strings.CutPrefix(imported, module)
			standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
			allowed := standard || isOurs && slices.Contains(r.ours, own) ||
				slices.ContainsFunc(r.others, func(prefix string) bool { return strings.HasPrefix(imported, prefix) })
			if !allowed {
				t.Errorf("%s imports %s: %s", r.pkg, imported, r.because)
			}
		}
	}
}

func TestWireDoesNoIO(t *testing.T) {
	for _, imported := range packages(t)["internal/ws/wire"].Imports {
		if slices.Contains(noIO, imported) {
			t.Errorf("internal/ws/wire imports %s: bytes and state in, frames and faults out", imported)
		}
	}
}

// TestOnlyAppKnowsEveryone: nothing but the door imports the room that knows all others.
func TestOnlyAppKnowsEveryone(t *testing.T) {
	for name, p := range packages(t) {
		if name != "cmd/broker" && name != "internal/app" && slices.Contains(p.Imports, module+"internal/app") {
			t.Errorf("%s imports internal/app: only cmd/broker may", name)
		}
	}
}

// starters are the files that may contain a go statement or its like, with what they start. Every
// other goroutine would have nobody who waits for it.
var starters = map[string]string{
	"internal/app/app.go": "the listeners; stop waits for them",
}

// TestEveryGoroutineHasAnOwner looks at the packages that own none of their own.
func TestEveryGoroutineHasAnOwner(t *testing.T) {
	for _, dir := range []string{"../app", "../ws/wire"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if _, ok := n.(*ast.GoStmt); ok {
					name := "internal/" + strings.TrimPrefix(filepath.ToSlash(path), "../")
					if _, known := starters[name]; !known {
						t.Errorf("%s starts a goroutine: see starters", name)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

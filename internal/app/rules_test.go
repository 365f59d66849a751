package app

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
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
		pkg: "internal/ws/deflate", ours: []string{"internal/ws/wire"},
		others:  []string{"github.com/klauspost/compress/flate"},
		because: "it is bytes in, bytes out, with bounded memory; who sends them is none of its business",
	},
	{
		pkg: "internal/ws", ours: []string{"internal/ws/wire", "internal/ws/deflate"}, others: []string{"golang.org/x/sys/"},
		because: "it is a WebSocket library that could be published tomorrow: no NATS, gRPC, protobuf or hub",
	},
	{
		pkg: "internal/ws/opening", ours: []string{"internal/ws/wire"},
		because: "it passes handshakes and connections on; who may connect, and what becomes of them, is none of its business",
	},
	{
		pkg: "internal/bus/life", ours: []string{"internal/hub"}, others: []string{"google.golang.org/protobuf/encoding/protowire"},
		because: "it decides who may speak for a connection; it must be tested with a log and a clock that a test steers",
	},
	{
		pkg: "internal/bus", ours: []string{"internal/bus/life", "internal/hub", "proto/holdfast/v1"},
		others:  []string{"github.com/nats-io/", "google.golang.org/protobuf/"},
		because: "it turns events into subjects and payloads, and sees no socket and no status code",
	},
	{
		pkg: "internal/admission", ours: []string{"internal/hub", "internal/jwt", "internal/ws/wire", "proto/holdfast/v1"},
		others:  []string{"google.golang.org/protobuf/"},
		because: "it judges requests, and reaches nobody but by what it is given",
	},
	{
		pkg:     "internal/proxy",
		because: "it is bytes, headers and addresses; who is limited or told by them is none of its business",
	},
	{
		pkg: "internal/rpc", ours: []string{"internal/hub", "proto/holdfast/v1"},
		others: []string{
			"google.golang.org/grpc", "google.golang.org/protobuf/", "google.golang.org/genproto/googleapis/rpc",
		},
		because: "it validates, calls the hub and answers, and sees no frame and no subject",
	},
	{
		pkg:     "internal/jwt",
		others:  []string{"github.com/golang-jwt/jwt/v5"},
		because: "it says whether a token is good, and neither what for nor to whom",
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
	ImportPath string   `json:"ImportPath"`
	Imports    []string `json:"Imports"`
	GoFiles    []string `json:"GoFiles"`
	Dir        string   `json:"Dir"`
}

func packages(t *testing.T) map[string]goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,GoFiles,Dir", module+"...").Output()
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

// starters are the files that may start a goroutine, with who waits for it. Any other goroutine would
// have nobody who does.
var starters = map[string]string{
	"cmd/broker/main.go":              "the second signal; ends with the process",
	"internal/app/app.go":             "what listens; stop waits",
	"internal/bus/groups.go":          "subscribing to groups and delivering their messages; Bus.Close waits",
	"internal/bus/nodejoin.go":        "the clock, the announcer, greetings; Bus.Close waits",
	"internal/bus/life/record.go":     "the writer of the life record; Record.Stop waits",
	"internal/bus/recorded.go":        "the watcher of others' records, and of replicas; Bus.CloseLife waits",
	"internal/app/memory.go":          "the look at the memory; stop waits",
	"internal/app/reclaim.go":         "what gives memory back; stop waits",
	"internal/app/progress.go":        "the lines about a drain; drain waits",
	"internal/bus/notices.go":         "callbacks to the application; Publisher.Close waits",
	"internal/bus/publisher.go":       "the one that publishes; Publisher.Close waits",
	"internal/bus/serverstop.go":      "the embedded server's end; Shutdown waits as long as it may",
	"internal/bus/session.go":         "confirmer and watchdog of one connection to NATS; the session's end waits",
	"internal/demo/actions.go":        "calls of the demo; Run waits",
	"internal/hub/parts.go":           "the parts of a broadcast; Broadcast waits",
	"internal/hub/shutdown.go":        "the wait for the last connection; Shutdown waits",
	"internal/jwt/remote.go":          "the fetcher of keys; Remote.Close waits",
	"internal/rpc/guests.go":          "calls of other nodes; Stop waits as long as it may, and then the bus ends them",
	"internal/rpc/observe.go":         "the end of streams when the server stops; Stop waits",
	"internal/rpc/server.go":          "the graceful stop; Stop waits",
	"internal/rpc/stream.go":          "the receiver of a SendStream; Stop waits",
	"internal/ws/clock.go":            "the clock; Engine.Close waits",
	"internal/ws/opening/listener.go": "what accepts, and the reader of a handshake; Listener.Wait waits",
	"internal/ws/opening/presence.go": "the look whether a client is still there; the end of its handshake waits",
	"internal/ws/loop_linux.go":       "a loop of the epoll driver; Engine.Close waits",
	"internal/ws/portable.go":         "the reader of a connection, for which Engine.Close waits, and the writer that waits for a full socket, for which the reader does",
}

// TestEveryGoroutineHasAnOwner finds go statements and calls of Go, as a WaitGroup has it.
func TestEveryGoroutineHasAnOwner(t *testing.T) {
	unseen := maps.Clone(starters)
	for name, p := range packages(t) {
		if !strings.HasPrefix(name, "internal/") && !strings.HasPrefix(name, "cmd/") || isTestKit(name) {
			continue
		}
		for _, f := range p.GoFiles {
			path := name + "/" + f
			if !startsGoroutine(t, filepath.Join(p.Dir, f)) {
				continue
			}
			if _, known := starters[path]; !known {
				t.Errorf("%s starts a goroutine: say in starters who waits for it", path)
			}
			delete(unseen, path)
		}
	}
	for path := range unseen {
		t.Errorf("%s no longer starts a goroutine", path)
	}
}

// isTestKit: packages that only tests import; their goroutines end with the test.
func isTestKit(name string) bool { return strings.HasSuffix(name, "test") }

func startsGoroutine(t *testing.T, path string) (found bool) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = true
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" {
				found = true
			}
		}
		return true
	})
	return found
}

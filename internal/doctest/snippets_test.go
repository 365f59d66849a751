package doctest_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// way is how a snippet is run, or why it is not.
type way struct {
	run     func(*testing.T, snippet)
	because string
}

// ways has every snippet of the documents.
var ways = map[string]way{
	"README.md#Holdfast/1":                   {because: "a picture"},
	"README.md#Run it/1":                     {run: demo}, // but for "make test", which runs this
	"README.md#A first message/1":            {run: browserConsole},
	"README.md#A first message/2":            {run: firstMessage},
	"README.md#A first message/3":            {run: natsEcho},
	"README.md#Ten lines in your language/1": {run: tenLinesPython},
	"README.md#Ten lines in your language/2": {run: tenLinesNode},
	"README.md#Ten lines in your language/3": {run: tenLinesGo},

	"README.md#Groups, users, many nodes/1": {run: helloAll},

	"docs/admission.md#Backend/1":            {run: answerAccepts},
	"docs/admission.md#Backend/2":            {run: answerRefuses},
	"docs/admission.md#In Python and Node/1": {run: doorkeeperPython},
	"docs/admission.md#In Python and Node/2": {run: doorkeeperNode},
	"docs/admission.md#By token/1":           {run: admissionByToken},
	"docs/admission.md#By token/2":           {because: "admissionByToken runs it"},

	"docs/cluster.md#Brokers on NATS servers of their own/1": {run: externalFile},
	"docs/cluster.md#Permissions/1":                          {run: permissions},

	"docs/cluster.md#On one machine, to try it/1": {run: embeddedCluster},
	"docs/cluster.md#On one machine, to try it/2": {because: "embeddedCluster runs it"},
	"docs/cluster.md#On one machine, to try it/3": {because: "embeddedCluster compares it"},
	"docs/cluster.md#On three machines/1":         {run: clusterFile},
	"docs/cluster.md#Replacing a machine/1":       {because: "embeddedCluster runs it"},

	"docs/cluster.md#Roles of the embedded server/1": {run: rolesFile},

	"docs/configuration.md#Configuration/1": {run: configCommands},
	"docs/configuration.md#An example/1":    {run: exampleFile},
	"docs/configuration.md#Namespaces/1":    {run: namespacesFile},
	"docs/configuration.md#TLS/1":           {run: tlsFile},
	"docs/configuration.md#TLS/2":           {run: tlsFlag},

	"docs/events.md#What you can rely on/1":  {run: natsSub},
	"docs/events.md#Several workers/1":       {run: partition},
	"docs/events.md#Storing them/1":          {run: stream},
	"docs/events.md#Answering/1":             {run: verdictTaken},
	"docs/events.md#Answering/2":             {run: verdictRefused},
	"docs/events.md#To a group, over NATS/1": {run: toAGroup},

	"docs/guarantees.md#Use it/1": {run: whoIsThere},

	"docs/security.md#Who may command/1":     {run: whoMayCommand},
	"docs/security.md#Callers with tokens/1": {run: callersWithTokens},
	"docs/security.md#Callers with tokens/2": {because: "callersWithTokens shows it"},

	"docs/scale.md#Scale/1": {because: "the test of bench/scale compares what it prints"},

	"docs/operating.md#Ports/1":  {run: readyLine},
	"docs/operating.md#Health/1": {run: health},

	"examples/README.md#Examples/1":                 {run: examplesConsole},
	"examples/README.md#A cluster on one machine/1": {run: clusterExample},
}

// measurements are documents whose snippets take minutes and tell about one machine.
var measurements = []string{"docs/performance.md", "docs/node-grpc-library.md", "docs/chaos.md"}

func TestSnippets(t *testing.T) {
	left := make(map[string]bool)
	for key := range ways {
		left[key] = true
	}
	for _, d := range documents(t) {
		for _, s := range d.snippets {
			w, known := ways[s.key]
			delete(left, s.key)
			switch {
			case w.run != nil:
				t.Run(strings.ReplaceAll(s.key, "/", ","), func(t *testing.T) { w.run(t, s) })
			case known, slices.Contains(measurements, d.path):
			default:
				t.Errorf("%s:%d: nobody runs this snippet: give %q a way in ways", d.path, s.line, s.key)
			}
		}
	}
	for key := range left {
		t.Errorf("no document has the snippet %s", key)
	}
}

// brokerCommand is how the documents call the broker.
const brokerCommand = "go run ./cmd/broker"

// asBroker makes "go run ./cmd/broker" and "broker" in a snippet of shell the binary under test.
func asBroker(t *testing.T, text string) string {
	t.Helper()
	return "broker() { '" + brokertest.Binary(t) + "' \"$@\"; }\n" + strings.ReplaceAll(text, brokerCommand, "broker")
}

// natsTool matches the tools that take the server's address as a flag.
var natsTool = regexp.MustCompile(`nats\.go/examples/[\w-]+`)

// demo starts the broker as the README says, but for the ports, and looks for the page.
func demo(t *testing.T, s snippet) {
	first, rest, _ := strings.Cut(s.text, "\n")
	if !strings.HasPrefix(rest, "make test ") || strings.Count(rest, "\n") != 1 {
		t.Errorf("%q is not run", rest)
	}
	if !strings.Contains(first, "http://127.0.0.1:8080") {
		t.Errorf("%q does not say where the page is", first)
	}
	p := bash(t, "", asBroker(t, first), "HOLDFAST_LISTEN=127.0.0.1:0", "HOLDFAST_CONTROL_LISTEN=127.0.0.1:0",
		"HOLDFAST_OPS_LISTEN=127.0.0.1:0", "HOLDFAST_NATS_LISTEN=127.0.0.1:0", "HOLDFAST_DATA_DIR="+t.TempDir())
	p.await(`"ready":true`)
	var ready brokertest.Ready
	line := regexp.MustCompile(`(?m)^\{"ready".*\}$`).FindString(p.said())
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		t.Fatal(err)
	}
	if status, page := get(t, strings.Replace(ready.Listen[0], "ws://", "http://", 1)); status != http.StatusOK || !strings.Contains(page, "<html") {
		t.Errorf("the page is %d:\n%s", status, page)
	}
}

// console is a JavaScript console in which WebSocket is what it is in a browser.
func console(t *testing.T) *program {
	t.Helper()
	return start(t, t.TempDir(), []string{"NODE_REPL_HISTORY="}, node(t), "--experimental-websocket", "-i")
}

// onlyConnection waits until the broker has a connection, and answers its ID.
func onlyConnection(t *testing.T, b *brokertest.Broker) string {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < brokertest.Patience; time.Sleep(10 * time.Millisecond) {
		list, err := control(b).List(t.Context(), &holdfastv1.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Connections) == 1 {
			return list.Connections[0].Id
		}
	}
	t.Fatal("nobody connects")
	return ""
}

func text(s string) *holdfastv1.Message {
	return &holdfastv1.Message{Payload: &holdfastv1.Message_Text{Text: s}}
}

func browserConsole(t *testing.T, s snippet) {
	b := brokertest.Start(t)
	p := console(t)
	p.typed(here(b, s.text))
	id := onlyConnection(t, b)
	if _, err := control(b).Send(t.Context(), &holdfastv1.SendRequest{ConnectionId: id, Message: text("hello from a test")}); err != nil {
		t.Fatal(err)
	}
	p.await("hello from a test")
}

// examplesConsole types the line, with an echo behind it.
func examplesConsole(t *testing.T, s snippet) {
	b := brokertest.Start(t)
	echo := bash(t, "", here(b, "go run ./examples/go/echo --control=127.0.0.1:7400 --nats=nats://127.0.0.1:4222"))
	echo.await("echoing")
	p := console(t)
	said := len(p.said())
	p.typed(strings.ReplaceAll(here(b, s.text), "hello", "hel"+`"+"`+"lo")) // what is typed may be repeated by the console
	for begin := time.Now(); !strings.Contains(p.said()[said:], "hello"); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > brokertest.Patience {
			t.Fatalf("no echo:\n%s", p.said())
		}
	}
}

func firstMessage(t *testing.T, s snippet) {
	b := brokertest.Start(t)
	peer := wstest.Dial(t, b.URL("/"), nil)
	id := onlyConnection(t, b)
	if !strings.Contains(s.text, `"ID"`) {
		t.Error("the snippet has no place for the ID")
	}
	out := bash(t, "", here(b, strings.ReplaceAll(s.text, `"ID"`, `"`+id+`"`))).end()
	if !strings.Contains(out, `"id": "`+id+`"`) {
		t.Errorf("the list does not show the ID as the text says:\n%s", out)
	}
	peer.Expect(wire.Text, "hello from a shell")
}

func helloAll(t *testing.T, s snippet) {
	b := brokertest.Start(t)
	peer := wstest.Dial(t, b.URL("/"), nil)
	onlyConnection(t, b)
	if out := bash(t, "", here(b, s.text)).end(); !strings.Contains(out, `"succeeded": "1"`) {
		t.Errorf("it answers %s", out)
	}
	peer.Expect(wire.Text, "hello, all")
}

func natsEcho(t *testing.T, s snippet) {
	b := brokertest.Start(t)
	bash(t, "", here(b, s.text)).await("listening")
	peer := wstest.Dial(t, b.URL("/"), nil)
	peer.Send(wstest.Text("anybody there?"))
	peer.Expect(wire.Text, "anybody there?")
}

func natsSub(t *testing.T, s snippet) {
	b := brokertest.Start(t)
	p := bash(t, "", here(b, s.text))
	p.await("Listening")
	peer := wstest.Dial(t, b.URL("/"), nil)
	peer.Send(wstest.Text("see me"))
	p.await("holdfast.default.open.")
	p.await("see me")
}

func tenLinesPython(t *testing.T, s snippet) {
	interpreter, b := python(t), brokertest.Start(t)
	file := write(t, t.TempDir(), "ten.py", here(b, s.text))
	greetsAndEchoes(t, b, start(t, root, nil, interpreter, file))
}

func tenLinesNode(t *testing.T, s snippet) {
	interpreter, dir, b := node(t), withNodeClient(t), brokertest.Start(t)
	file := write(t, dir, "ten.mjs", here(b, s.text))
	greetsAndEchoes(t, b, start(t, dir, nil, interpreter, file))
}

func tenLinesGo(t *testing.T, s snippet) {
	b := brokertest.Start(t)
	greetsAndEchoes(t, b, start(t, root, nil, goProgram(t, here(b, s.text))))
}

// greetsAndEchoes fails the test unless the program does.
func greetsAndEchoes(t *testing.T, b *brokertest.Broker, p *program) {
	t.Helper()
	first := wstest.Dial(t, b.URL("/"), nil)
	ready := make(chan struct{})
	asked := make(chan struct{})
	go func() { // what comes before it listens is lost
		defer close(asked)
		for {
			select {
			case <-ready:
				return
			case <-time.After(50 * time.Millisecond):
				_ = first.TrySend(wstest.Text("ready?"))
			}
		}
	}()
	f, err := first.TryReceive()
	close(ready)
	<-asked
	if err != nil || string(f.Payload) != "ready?" && !strings.HasPrefix(string(f.Payload), "hello ") {
		t.Fatalf("it answers %q, %v:\n%s", f.Payload, err, p.said())
	}
	second := wstest.Dial(t, b.URL("/"), nil)
	greeting := string(second.Receive().Payload)
	id, ok := strings.CutPrefix(greeting, "hello ")
	if _, err := control(b).Get(t.Context(), &holdfastv1.GetRequest{ConnectionId: id}); !ok || err != nil {
		t.Errorf("the greeting is %q (%v)", greeting, err)
	}
	second.Send(wstest.Text("grüß dich"), wstest.Binary([]byte{0, 0xff}))
	// Both events may be handled at once, so the answers may come in either order.
	got := map[string]wire.Opcode{}
	for range 2 {
		f := second.Receive()
		got[string(f.Payload)] = f.Opcode
	}
	if got["grüß dich"] != wire.Text || got["\x00\xff"] != wire.Binary {
		t.Errorf("the echoes are %v", got)
	}
}

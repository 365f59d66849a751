package main_test

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/bus/bustest"
)

// Other people's clients exchange text and binary messages, small ones and of 1 MiB, compressed and not, over every
// kind of listener, with an echo behind NATS. The programs in testdata/clients compare what comes back; whether it
// was compressed is what the open event says.
func TestOtherPeoplesClients(t *testing.T) {
	e := newEcho(t)
	page := openBrowser(t)
	programs := map[string]func(t *testing.T, url, compression, socket string){
		"Node ws":           nodeClient,
		"Python websockets": pythonClient("python_websockets.py"),
		"Python aiohttp":    pythonClient("python_aiohttp.py"),
		"Chromium": func(t *testing.T, url, _, _ string) {
			page.play(t, url)
		},
	}
	for name, play := range programs {
		for listener, at := range e.listeners {
			if name == "Chromium" && listener == "Unix socket" {
				continue // no browser connects to one
			}
			for _, compression := range []string{"deflate", "plain"} {
				t.Run(name+"/"+listener+"/"+compression, func(t *testing.T) {
					play(t, at.url+"/"+compression, compression, at.socket)
					if got := e.nextOpen(t); (compression == "deflate") != slices.Contains(got, "permessage-deflate") {
						t.Errorf("the connection had the extensions %q", got)
					}
				})
			}
		}
	}
}

// echo is a broker with an echo, and an endpoint that compresses everything beside one that compresses nothing.
type echo struct {
	listeners map[string]listener
	opens     *bustest.Recorder
	opened    int
}

type listener struct{ url, socket string }

func newEcho(t *testing.T) *echo {
	dir := t.TempDir()
	cert, key, socket := filepath.Join(dir, "cert"), filepath.Join(dir, "key"), filepath.Join(dir, "s.sock")
	writeCertificate(t, cert, key, 1)
	b := brokertest.Start(t, "--listen=127.0.0.1:0?cert="+cert+"&key="+key, "--listen=unix:"+socket, brokertest.Config(t, `
endpoints:
  - {path: /deflate, compression: {enabled: true, threshold: 0B}}
  - {path: /plain}
`))
	nc := bustest.Dial(t, b.NATS)
	if _, err := nc.Subscribe("holdfast.default.message.*", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return &echo{
		listeners: map[string]listener{
			"ws": {url: b.Listen[0]}, "wss": {url: b.Listen[1]}, "Unix socket": {url: "ws://localhost", socket: socket},
		},
		opens: bustest.Record(t, b.NATS, "holdfast.default.open.*"),
	}
}

// nextOpen answers the extensions of the next connection.
func (e *echo) nextOpen(t *testing.T) (extensions []string) {
	t.Helper()
	e.opened++
	var opened struct {
		Extensions string `json:"extensions"`
	}
	event := e.opens.Wait(e.opened)[e.opened-1]
	if err := json.Unmarshal(event.Data, &opened); err != nil {
		t.Fatalf("open event %q: %v", event.Data, err)
	}
	return strings.Split(opened.Extensions, ";")
}

func nodeClient(t *testing.T, url, compression, socket string) {
	t.Helper()
	node, err := exec.LookPath("node")
	need(t, "HOLDFAST_REQUIRE_CLIENTS", err == nil, "there is no node")
	modules := inRepository(t, "clients/node/node_modules")
	_, err = os.Stat(filepath.Join(modules, "ws"))
	need(t, "HOLDFAST_REQUIRE_CLIENTS", err == nil, "clients/node has no ws")
	run(t, []string{"NODE_PATH=" + modules}, node, "node_ws.cjs", url, compression, socket)
}

var hasPythonClients = func() func(string) bool {
	var once sync.Once
	var there bool
	return func(python string) bool {
		once.Do(func() { there = exec.Command(python, "-c", "import aiohttp, websockets").Run() == nil })
		return there
	}
}()

func pythonClient(program string) func(t *testing.T, url, compression, socket string) {
	return func(t *testing.T, url, compression, socket string) {
		t.Helper()
		python := inRepository(t, ".venv/bin/python")
		need(t, "HOLDFAST_REQUIRE_CLIENTS", hasPythonClients(python), ".venv has no aiohttp or no websockets")
		run(t, nil, python, program, url, compression, socket)
	}
}

// run runs a client's program, which must end well.
func run(t *testing.T, env []string, interpreter, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*brokertest.Patience)
	defer cancel()
	args = slices.DeleteFunc(args, func(arg string) bool { return arg == "" })
	cmd := exec.CommandContext(ctx, interpreter, append([]string{filepath.Join("testdata", "clients", program)}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func inRepository(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// need skips the test, or fails it where that variable is set, because something is not installed.
func need(t *testing.T, variable string, there bool, what string) {
	t.Helper()
	switch {
	case there:
	case os.Getenv(variable) != "":
		t.Fatalf("%s: run \"make setup\"", what)
	default:
		t.Skipf("%s: run \"make setup\"", what)
	}
}

// browser is a headless browser with one page; nil where there is none.
type browser struct{ page context.Context }

func openBrowser(t *testing.T) *browser {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROME_BIN"), "chromium", "google-chrome", inRepository(t, ".cache/chromium/chromium")} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.Flag("headless", "new"),
			chromedp.NoSandbox, // tests may run as root, and the page is ours
			chromedp.DisableGPU, chromedp.Flag("disable-component-update", true),
			chromedp.WSURLReadTimeout(2*brokertest.Patience),
			chromedp.IgnoreCertErrors) // the certificate is not what is tested
		ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
		t.Cleanup(cancel)
		ctx, cancel = chromedp.NewContext(ctx)
		t.Cleanup(cancel)
		if err := chromedp.Do(ctx); err != nil {
			t.Fatal("browser: ", err)
		}
		return &browser{ctx}
	}
	return nil
}

// play runs the client in a page of the broker's own origin, from which every endpoint accepts browsers.
func (b *browser) play(t *testing.T, at string) {
	t.Helper()
	need(t, "HOLDFAST_REQUIRE_BROWSER", b != nil, "no browser")
	origin, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	origin.Scheme = strings.Replace(origin.Scheme, "ws", "http", 1)
	origin.Path = "/there-is-no-page-but-its-origin-counts"
	program, err := os.ReadFile(filepath.Join("testdata", "clients", "browser.js"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.page, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(origin.String())); err != nil {
		t.Fatal(err)
	}
	call := "(" + strings.TrimRight(string(program), ";\n") + ")(" + strconv.Quote(at) + ")"
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[string](call, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
}

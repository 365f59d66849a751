package demo_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a page may take to show what a test expects.
const patience = time.Minute

// browserPath finds a browser. Without one the test is skipped, or fails where one is required.
func browserPath(t *testing.T) string {
	t.Helper()
	names := []string{
		os.Getenv("CHROME_BIN"), "chromium", "google-chrome", "google-chrome-stable", "chromium-browser",
		filepath.Join("..", "..", ".cache", "chromium", "chromium"), // what tools/chromium unpacks
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			if path, err = filepath.Abs(path); err == nil {
				return path
			}
		}
	}
	const none = "no browser: set CHROME_BIN to the one that tools/chromium prints, or install chromium"
	if os.Getenv("HOLDFAST_REQUIRE_BROWSER") != "" {
		t.Fatal(none)
	}
	t.Skip(none)
	return ""
}

// startBrowser starts a headless browser that ends with the test.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(browserPath(t)),
		chromedp.Flag("headless", "new"),
		chromedp.NoSandbox, // tests may run as root, and the page is ours
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(patience),
		chromedp.WindowSize(1280, 1000),
	)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal("browser: ", err)
	}
	return ctx
}

// tab is one page in the browser.
type tab struct {
	t   *testing.T
	ctx context.Context
	id  string // of its connection
}

// open opens the demo in a new tab and waits until it has its ID. Whatever the page complains about in
// its console fails the test; the browser's own lines about lost connections do not.
func open(t *testing.T, browser context.Context, url string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := &tab{t: t, ctx: ctx}
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("exception in the page: %+v", e.ExceptionDetails)
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError && !strings.Contains(e.Entry.Text, "WebSocket connection to") {
				t.Error("error in the page: ", e.Entry.Text)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Navigate(url))
	p.awaitID("")
	return p
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("tab %s: %v", cmp.Or(p.id, "(new)"), err)
	}
}

// evaluate answers with the value of an expression in the page.
func evaluate[T any](p *tab, format string, args ...any) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](fmt.Sprintf(format, args...), chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("tab %s: %v", cmp.Or(p.id, "(new)"), err)
	}
	return value
}

// waiting is a promise that an expression becomes true: it looks whenever the page changes. An
// expression that throws, about an element that is not there yet, is not true yet.
const waiting = `new Promise((resolve) => {
	const holds = () => { try { return %s } catch { return false } };
	const look = () => { if (holds()) { observer.disconnect(); clearTimeout(late); resolve(true); } };
	const observer = new MutationObserver(look);
	observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
	const late = setTimeout(() => { observer.disconnect(); resolve(holds()); }, %d);
	look();
})`

// untilf waits until an expression is true in the page.
func (p *tab) untilf(format string, args ...any) {
	p.t.Helper()
	expression := fmt.Sprintf(format, args...)
	if !evaluate[bool](p, waiting, expression, (patience / 2).Milliseconds()) {
		p.shot("failed")
		p.t.Fatalf("tab %s never showed %s\n%s", cmp.Or(p.id, "(new)"), expression, p.text("body"))
	}
}

// shows waits until an element's text contains words.
func (p *tab) shows(selector, words string) {
	p.t.Helper()
	p.untilf(`document.querySelector(%q).textContent.includes(%q)`, selector, words)
}

func (p *tab) text(selector string) string {
	p.t.Helper()
	return evaluate[string](p, "document.querySelector(%q).innerText", selector)
}

func (p *tab) count(selector string) int {
	p.t.Helper()
	return evaluate[int](p, "document.querySelectorAll(%q).length", selector)
}

// awaitID waits until the tab has an ID that is not the one before.
func (p *tab) awaitID(before string) {
	p.t.Helper()
	p.untilf(`![%q, "—"].includes(document.querySelector("#me").textContent)`, before)
	p.id = p.text("#me")
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector)))
}

// fill puts text in a field.
func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.do(chromedp.Clear(chromedp.CSS(selector)), chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (p *tab) say(text string) {
	p.t.Helper()
	p.fill("#text", text)
	p.click("#chat button")
}

// pick chooses a connection in the panel.
func (p *tab) pick(id string) {
	p.t.Helper()
	p.untilf(`document.querySelector("[data-id='%s']") !== null`, id)
	p.click(fmt.Sprintf("[data-id='%s'] input", id))
}

// act picks a connection and presses a button of the panel.
func (p *tab) act(id, action string) {
	p.t.Helper()
	p.pick(id)
	p.click(fmt.Sprintf("[data-action='%s']", action))
}

// shot keeps a picture of the whole page for people, where `go test -artifacts` keeps such things.
func (p *tab) shot(name string) {
	p.t.Helper()
	picture, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Errorf("picture %s: %v", name, err)
		return
	}
	path := filepath.Join(p.t.ArtifactDir(), name+".png")
	if err := os.WriteFile(path, picture, 0o600); err != nil {
		p.t.Error(err)
		return
	}
	p.t.Log("picture: ", path)
}

// resize makes the tab as wide as a device.
func (p *tab) resize(width, height int64) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height))
}

// scheme is light or dark.
func (p *tab) scheme(name string) {
	p.t.Helper()
	p.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	}))
}

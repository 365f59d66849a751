package main_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
	"github.com/holdfast-broker/holdfast/internal/ws/wstest"
)

// foreignPage is a page of another origin than the broker's, which has one path for each kind of page.
func foreignPage(t *testing.T) string {
	t.Helper()
	const inner = `<script>
	addEventListener("message", async (e) => { parent.postMessage(await (new Function("return " + e.data))(), "*") })
	parent.postMessage("ready", "*")
	</script>`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		switch r.URL.Path {
		case "/inner":
			_, _ = fmt.Fprint(w, inner)
		case "/sandboxed": // its frame has the origin "null"
			_, _ = fmt.Fprint(w, `<script>
			window.ready = new Promise((f) => addEventListener("message", () => f(), { once: true }))
			window.inFrame = async (code) => {
				await ready
				return new Promise((f) => {
					addEventListener("message", (e) => f(e.data), { once: true })
					document.querySelector("iframe").contentWindow.postMessage(code, "*")
				})
			}
			</script><iframe sandbox="allow-scripts" src="/inner"></iframe>`)
		default:
			_, _ = fmt.Fprint(w, "<p>a page")
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// dials says how a page's attempt to connect ends: "open " and the subprotocol, or "closed ".
func dials(url string, protocols ...string) string {
	return fmt.Sprintf(`new Promise((end) => {
		const s = new WebSocket(%q, %s)
		s.onopen = () => { end("open " + s.protocol); s.close() }
		s.onclose = (e) => end("closed " + e.code)
	})`, url, strings.ReplaceAll(fmt.Sprintf("%q", protocols), "\" \"", "\", \""))
}

// at runs code in a page and answers what its promise becomes.
func (b *browser) at(t *testing.T, page, code string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.page, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(page)); err != nil {
		t.Fatal(err)
	}
	got, err := chromedp.Run(ctx, chromedp.Evaluate[string](code, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestForeignPageCannotConnect is cross-site WebSocket hijacking, tried by a real browser on a broker that nobody
// has configured, and on one whose operator has allowed one kind of page and no other.
func TestForeignPageCannotConnect(t *testing.T) {
	browser := openBrowser(t)
	need(t, "HOLDFAST_REQUIRE_BROWSER", browser != nil, "no browser")
	foreign := foreignPage(t)
	unconfigured := brokertest.Start(t)
	allowing := brokertest.Start(t, brokertest.Config(t, fmt.Sprintf(`
endpoints:
- {path: /one, origins: [%q]}
- {path: /null, origins: ["null"]}
`, foreign)))
	inFrame := func(code string) string { return fmt.Sprintf("inFrame(%q)", code) }
	own := "http" + strings.TrimPrefix(unconfigured.Listen[0], "ws") + "/no-page"
	for _, test := range []struct{ name, page, code, want string }{
		{"a page of its own", own, dials(unconfigured.URL("/")), "open "},
		{"another origin", foreign, dials(unconfigured.URL("/")), "closed 1006"},
		{"a sandboxed frame", foreign + "/sandboxed", inFrame(dials(unconfigured.URL("/"))), "closed 1006"},
		{"the origin that is allowed", foreign, dials(allowing.URL("/one")), "open "},
		{"null is another than that", foreign + "/sandboxed", inFrame(dials(allowing.URL("/one"))), "closed 1006"},
		{"null that is allowed", foreign + "/sandboxed", inFrame(dials(allowing.URL("/null"))), "open "},
		{"an origin where null is allowed", foreign, dials(allowing.URL("/null")), "closed 1006"},
	} {
		if got := browser.at(t, test.page, test.code); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	for _, part := range []string{"origin=" + foreign, "setting=endpoints[0].origins"} {
		unconfigured.AwaitLog(part)
	}
}

// TestRefusedOriginsDoNotFillTheLog: the line is for the operator, and strangers can cause it.
func TestRefusedOriginsDoNotFillTheLog(t *testing.T) {
	b := brokertest.Start(t, brokertest.Config(t, "endpoints: [{path: /a}, {path: /b}]\n"))
	for i := range 50 {
		for _, path := range []string{"/a", "/b"} {
			origin := fmt.Sprintf("https://n%d.example/%s", i, strings.Repeat("x", 4000))
			_, r := wstest.TryDial(t, b.URL(path), http.Header{"Origin": {origin}})
			_ = r.Body.Close()
			if r.StatusCode != http.StatusForbidden {
				t.Fatalf("%s is answered with %d, want 403", path, r.StatusCode)
			}
		}
	}
	b.Stop()
	for i := range 2 {
		if n := strings.Count(b.Stderr(), fmt.Sprintf("setting=endpoints[%d].origins", i)); n == 0 || n > 10 {
			t.Errorf("%d lines about endpoints[%d]", n, i)
		}
	}
	if strings.Contains(b.Stderr(), strings.Repeat("x", 300)) {
		t.Error("the log repeats all of a long header")
	}
}

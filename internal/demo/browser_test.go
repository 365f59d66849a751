package demo_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/brokertest"
)

// page is the address of the demo page of a broker.
func page(b *brokertest.Broker) string {
	return "http" + strings.TrimPrefix(b.Listen[0], "ws") + "/"
}

// TestDemoInABrowser is what a newcomer does with `broker --demo`, with real tabs, the real broker and
// the real backend.
func TestDemoInABrowser(t *testing.T) {
	browser := startBrowser(t)
	url := page(brokertest.Start(t, "--demo"))
	one, two := open(t, browser, url), open(t, browser, url)
	if one.id == two.id {
		t.Fatalf("both tabs are %s", one.id)
	}
	for _, step := range []struct {
		name string
		run  func(one, two *tab)
	}{
		{"both tabs see both connections", seeEachOther},
		{"they chat both ways", chatBothWays},
		{"text is never markup", noMarkup},
		{"a line to one alone", privateLine},
		{"ping shows the round trip", pingShowsTime},
		{"get shows facts", getShowsFacts},
		{"events are shown with their seq", eventsAreShown},
		{"pause holds messages until resume", pauseAndResume},
		{"close shows code and reason", closeWithCode},
		{"terminate is a lost connection, and the tab comes back", terminateAndReturn},
	} {
		// Steps build on each other, as a person's do.
		ok := t.Run(step.name, func(t *testing.T) {
			one.t, two.t = t, t
			step.run(one, two)
		})
		if !ok {
			t.Fatal("the steps that follow need this one")
		}
	}
	one.t, two.t = t, t
	takePictures(one, two)
	t.Run("a connection that is gone is named", func(t *testing.T) {
		one.t, two.t = t, t
		actOnGone(one, two)
	})
}

// takePictures shows the page as a person sees it: two widths, two colour schemes.
func takePictures(one, two *tab) {
	one.act(two.id, "get")
	one.shows("#facts", two.id)
	for _, look := range []string{"light", "dark"} {
		one.scheme(look)
		one.resize(1280, 900)
		one.shot("desktop-" + look)
		one.resize(390, 844)
		one.shot("phone-" + look)
	}
	if wide := evaluate[int](one, "document.documentElement.scrollWidth"); wide > 390 {
		one.t.Errorf("on a phone the page is %d pixels wide", wide)
	}
}

func seeEachOther(one, two *tab) {
	for _, p := range []*tab{one, two} {
		p.shows("#count", "2")
		p.untilf(`document.querySelectorAll("[data-id='%s'], [data-id='%s']").length === 2`, one.id, two.id)
		p.untilf(`document.querySelector("[data-id='%s'] .tags").textContent === "this tab"`, p.id)
	}
}

func chatBothWays(one, two *tab) {
	one.say("Hello from the first tab")
	two.shows("#log", "Hello from the first tab")
	one.untilf(`document.querySelectorAll("#log .mine:not(.pending)").length === 1`)
	two.say("And hello back")
	one.shows("#log", "And hello back")
	two.untilf(`document.querySelectorAll("#log .mine:not(.pending)").length === 1`)
	if n := one.count("#log .mine"); n != 1 {
		one.t.Errorf("the first tab shows %d lines of its own, want 1", n)
	}
}

func noMarkup(one, two *tab) {
	const line = `<img src=x onerror=alert(1)> & "quotes"`
	one.say(line)
	two.shows("#log", line)
	if n := two.count("#log img"); n != 0 {
		one.t.Errorf("a chat line made %d elements", n)
	}
}

func privateLine(one, two *tab) {
	one.pick(two.id)
	one.fill("#line", "only for you")
	one.click("#receipt")
	one.click("#private button")
	two.shows("#log .private", "only for you")
	one.shows("#result", "received by its browser")
	if n := one.count("#log .private"); n != 0 {
		one.t.Error("the private line came to its writer, too")
	}
}

func pingShowsTime(one, two *tab) {
	one.act(two.id, "ping")
	one.untilf(`/rtt \d+\.\d\d ms/.test(document.querySelector("#result").textContent)`)
}

func getShowsFacts(one, two *tab) {
	one.act(two.id, "get")
	one.shows("#facts", two.id)
	one.shows("#facts", "messages_in")
	one.untilf(`document.querySelector("#facts-box").open`)
}

func eventsAreShown(one, two *tab) {
	one.untilf(`[...document.querySelectorAll("#events tr")].some((row) => row.cells[0].textContent === "1"
		&& row.cells[1].textContent === "open" && row.querySelector(".who").title === %q)`, two.id)
	one.shows("#events .kind-message", "message")
}

func pauseAndResume(one, two *tab) {
	one.act(two.id, "pause")
	two.untilf(`!document.querySelector("#paused").hidden`)
	one.untilf(`document.querySelector("[data-id='%s']").dataset.paused === "true"`, two.id)

	two.say("said while paused")
	two.click("#fill")
	two.untilf(`Number(document.querySelector("#buffered").dataset.bytes) > 0`)
	one.t.Log("bufferedAmount: ", two.text("#buffered"))
	two.shot("paused")

	// What needs the client's answer is refused, with the reason; sending goes on.
	one.act(two.id, "ping")
	one.shows("#result", "CONNECTION_PAUSED")
	one.say("you still hear me")
	two.shows("#log", "you still hear me")
	if log := one.text("#log"); strings.Contains(log, "said while paused") {
		one.t.Error("a message came out of a paused connection")
	}

	one.act(two.id, "resume")
	one.shows("#log", "said while paused")
	two.untilf(`document.querySelector("#paused").hidden && document.querySelector("#buffered").dataset.bytes === "0"`)
	two.untilf(`document.querySelectorAll("#log .pending").length === 0`)
}

func closeWithCode(one, two *tab) {
	before := two.id
	one.pick(two.id)
	one.fill("#code", "4000")
	one.fill("#reason", "enough for today")
	one.click("#close button")
	two.shows("#status", "4000, enough for today")
	two.untilf(`document.querySelector("#status").dataset.state === "closed"`)
	one.untilf(`document.querySelector("[data-id='%s']") === null`, before)
	one.shows("#facts", one.id) // which is selected now
	one.shows("#result", "clean, its code was 4000")
	one.shows("#log", `BACKEND_CLOSE 4000 "enough for today"`)
	two.click("#connect")
	two.awaitID(before)
}

func terminateAndReturn(one, two *tab) {
	before := two.id
	one.act(two.id, "terminate")
	two.shows("#log", "Connection lost (1006")
	two.awaitID(before)
	one.shows("#log", "BACKEND_TERMINATE 1006")
	one.untilf(`document.querySelector("[data-id='%s']") !== null`, two.id)
}

func actOnGone(one, two *tab) {
	// The panel would not offer it: this is what a slower person meets.
	one.pick(two.id)
	evaluate[bool](one, `(() => {
		const radio = document.querySelector("[data-id='%s'] input");
		radio.value = %q;
		return radio.dispatchEvent(new Event("change", {bubbles: true}));
	})()`, two.id, two.id[:11]+"aaaaaaaaaaaaaaaa")
	one.click("[data-action='ping']")
	one.shows("#result", "CONNECTION_NOT_FOUND")
}

// TestPageSurvivesARestartOfTheBroker: 1012, back-off, and the same page with a new ID.
func TestPageSurvivesARestartOfTheBroker(t *testing.T) {
	browser := startBrowser(t)
	first := brokertest.Start(t, "--demo")
	p := open(t, browser, page(first))
	before := p.id
	first.Stop()
	p.shows("#log", "The broker restarts (1012")
	p.untilf(`document.querySelector("#me").textContent === "—"`)
	brokertest.Start(t, "--demo", "--listen="+strings.TrimPrefix(first.Listen[0], "ws://"))
	p.awaitID(before)
	p.shows("#log", "before it was")
	p.say("still here")
	p.untilf(`document.querySelectorAll("#log .mine:not(.pending)").length === 1`)
}

// TestPageIsServedByTheBroker: plain HTTP on the client port.
func TestPageIsServedByTheBroker(t *testing.T) {
	url := page(brokertest.Start(t, "--demo"))
	for _, path := range []string{"", "app.js", "style.css", "icon.svg"} {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("/%s: %s", path, answer.Status)
		}
	}
}

package hub_test

import (
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
)

func watch(t testing.TB, h *hub.Hub, f hub.WatchFilter) *hub.Watch {
	t.Helper()
	w, err := h.Watch(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

func TestWatchTakesWhatMatches(t *testing.T) {
	h, _ := node()
	c, s := open(t, h, chat)
	other, _ := open(t, h, &hub.Endpoint{Path: "/", Namespace: "other"})
	id := c.ID()
	user := "ann"
	if _, err := c.Update(hub.Update{User: &user}); err != nil {
		t.Fatal(err)
	}
	watches := map[string]*hub.Watch{
		"message2c message2o close3": watch(t, h, hub.WatchFilter{}),
		"message2c close3":           watch(t, h, hub.WatchFilter{ID: &id}),
		"message2o":                  watch(t, h, hub.WatchFilter{Namespace: "other"}),
		"message2c message2o":        watch(t, h, hub.WatchFilter{Kinds: []hub.Kind{hub.KindOpen, hub.KindMessage}}),
		"close3":                     watch(t, h, hub.WatchFilter{User: "ann", Kinds: []hub.Kind{hub.KindClose}}),
	}
	payload := []byte("c")
	c.Message(hub.Text, payload)
	payload[0] = 'x' // the caller's again
	other.Message(hub.Text, []byte("o"))
	s.End(hub.End{})
	for want, w := range watches {
		<-w.Ready()
		events, err := w.Take()
		if got := story(events); got != want || err != nil {
			t.Errorf("took %q, %v; want %q", got, err, want)
		}
		if events, err := w.Take(); len(events) != 0 || err != nil {
			t.Errorf("took %v, %v twice", events, err)
		}
	}
}

func TestRefusedEventIsNotWatched(t *testing.T) {
	h, p := node()
	c, _ := open(t, h, chat)
	w := watch(t, h, hub.WatchFilter{})
	p.Fill()
	c.Message(hub.Text, []byte("a"))
	p.Drain()
	c.Message(hub.Text, []byte("a"))
	if events, _ := w.Take(); story(events) != "message2a" {
		t.Errorf("took %q", story(events))
	}
}

func TestWatchLags(t *testing.T) {
	h, _ := node()
	c, _ := open(t, h, chat)
	w, brisk := watch(t, h, hub.WatchFilter{}), watch(t, h, hub.WatchFilter{})
	payload := make([]byte, 1<<20)
	for range 9 {
		c.Message(hub.Binary, payload)
		if events, err := brisk.Take(); len(events) != 1 || err != nil {
			t.Fatalf("the brisk watch took %d, %v", len(events), err)
		}
	}
	events, err := w.Take()
	if len(events) != 7 || err != nil { // 8 of them and what each counts beside are more than 8 MiB
		t.Errorf("took %d, %v", len(events), err)
	}
	<-w.Ready()
	_, err = w.Take()
	wantReason(t, err, hub.WatchLagged)
	c.Message(hub.Text, nil) // nothing follows the gap
	events, err = w.Take()
	if wantReason(t, err, hub.WatchLagged); len(events) != 0 {
		t.Errorf("took %d after the gap", len(events))
	}
	if st := h.Stats(); st.Watches != 2 || st.Lagged != 1 {
		t.Errorf("%d watches, %d lagged", st.Watches, st.Lagged)
	}
	w.Stop()
	w.Stop()
	if st := h.Stats(); st.Watches != 1 {
		t.Errorf("%d watches after Stop", st.Watches)
	}
}

func TestWatchEndsWithTheHubAfterTheLastEvents(t *testing.T) {
	h, _ := node()
	w := watch(t, h, hub.WatchFilter{})
	_, s := open(t, h, chat)
	s.End(hub.End{})
	h.Shutdown(t.Context(), 0)
	<-w.Ready()
	if events, err := w.Take(); story(events) != "open1 close2" || err != nil {
		t.Errorf("took %q, %v", story(events), err)
	}
	<-w.Ready()
	_, err := w.Take()
	wantReason(t, err, hub.NodeStopping)
	_, err = h.Watch(hub.WatchFilter{})
	wantReason(t, err, hub.NodeStopping)
}

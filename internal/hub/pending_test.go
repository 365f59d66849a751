package hub_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/hub/hubtest"
)

// announced is a connection that is being admitted, as others find it.
func announced(t *testing.T, h *hub.Hub) *hub.Pending {
	t.Helper()
	p := h.Expect(chat)
	if !p.Announce() {
		t.Fatal("there is no room")
	}
	_, err := h.Lookup(p.ID().String())
	if found, ok := errors.AsType[*hub.Pending](err); !ok || found != p {
		t.Fatalf("found %v, %v", found, err)
	}
	return p
}

// then has a message sent when the connection is open.
func then(t *testing.T, p *hub.Pending, text string) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	waits, err := p.Then(len(text), func(c *hub.Conn, err error) {
		if err == nil {
			_, err = c.Send(&hub.Message{Opcode: hub.Text, Payload: []byte(text)}, "", nil)
		}
		ended <- err
	})
	if !waits || err != nil {
		t.Fatalf("%s waits: %v, %v", text, waits, err)
	}
	return ended
}

// Nobody overtakes those who have waited: until they are done the connection is pending for others.
func TestPendingKeepsTheOrder(t *testing.T) {
	h, _ := node()
	p := announced(t, h)
	first := then(t, p, "1")
	var second <-chan error
	if _, err := p.Then(0, func(*hub.Conn, error) { second = then(t, p, "3") }); err != nil {
		t.Fatal(err)
	}
	third := then(t, p, "2")
	s := &hubtest.Socket{}
	c, err := s.OpenAs(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.End()
	for _, ended := range []<-chan error{first, second, third} {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	var sent []byte
	for _, m := range s.Record().Messages {
		sent = append(sent, m.Payload...)
	}
	if string(sent) != "123" {
		t.Errorf("sent %s", sent)
	}
	if found, err := h.Lookup(p.ID().String()); found != c || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
	if waits, err := p.Then(0, nil); waits || err != nil {
		t.Errorf("what is over is waited for: %v, %v", waits, err)
	}
}

func TestPendingThatIsRefusedIsNotFound(t *testing.T) {
	h, _ := node()
	p := announced(t, h)
	ended := then(t, p, "1")
	p.End()
	wantReason(t, <-ended, hub.ConnectionNotFound)
	_, err := h.Lookup(p.ID().String())
	wantReason(t, err, hub.ConnectionNotFound)
}

// A close that waited ends the connection before anybody else can find it.
func TestPendingIsClosedByWhoWaited(t *testing.T) {
	h, publisher := node()
	p := announced(t, h)
	if _, err := p.Then(0, func(c *hub.Conn, _ error) { _ = c.Close(1000, "", hub.CauseBackendClose, nil, nil) }); err != nil {
		t.Fatal(err)
	}
	s := &hubtest.Socket{AnswerClose: true}
	c, err := s.OpenAs(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.End()
	if got := story(publisher.Of(c)); got != "open1 close2" {
		t.Errorf("events %s", got)
	}
	_, err = h.Lookup(p.ID().String())
	wantReason(t, err, hub.ConnectionNotFound)
}

func TestPendingIsBounded(t *testing.T) {
	h, _ := node()
	p := announced(t, h)
	var err error
	n := 0
	for waits := true; waits; n++ {
		waits, err = p.Then(0, func(*hub.Conn, error) {})
	}
	wantReason(t, err, hub.SendQueueFull)
	if n != 1025 {
		t.Errorf("%d wait", n-1)
	}
	other := announced(t, h) // has room of its own, but not for more bytes than all may have
	if _, err := other.Then(64<<20+1, nil); fmt.Sprint(err) != fmt.Sprint(hub.ErrQueueFull) {
		t.Errorf("too many bytes: %v", err)
	}
	if waits, err := other.Then(64<<20, func(*hub.Conn, error) {}); !waits || err != nil {
		t.Errorf("as many as may: %v, %v", waits, err)
	}
	_, err = other.Then(1, nil)
	wantReason(t, err, hub.SendQueueFull)
	other.End() // gives them back
	last := announced(t, h)
	if waits, err := last.Then(64<<20, func(*hub.Conn, error) {}); !waits || err != nil {
		t.Errorf("after the end: %v, %v", waits, err)
	}
	last.End()
	p.End()
}
